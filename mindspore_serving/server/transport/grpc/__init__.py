"""gRPC: the listening server, the calls to methods of dialects, and the limits that grpcio lacks.

Begin with `server` for the life of the server, with `calls` for the way of a call.
"""
