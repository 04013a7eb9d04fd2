"""What MindSpore Serving speaks: `Predict` of gRPC, and `POST /model/{name}:{method}` of REST.

Begin with `predict` for gRPC, with `rest` for REST.
"""
