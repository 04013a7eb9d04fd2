"""Server reflection of gRPC: tools such as grpcurl ask which services there are, and what their messages look like.

It knows descriptors only, and no dialect: `start/dialects.py` gives it those of all services. Begin with `dialect`.
"""
