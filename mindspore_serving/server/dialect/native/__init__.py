"""What MindSpore Serving speaks: `Predict` of gRPC, and `POST /model/{name}:{method}` of REST.

Its texts and forms are those of MindSpore Serving, and stay. Begin with `predict` for gRPC, with `rest` for REST.
"""
