"""Whether the server lives and is ready, as pages of REST and as the health service of gRPC.

What it says comes from the catalog (`service/readiness.py`); nothing is decided here. Begin with `dialect`.
"""
