"""Bytes of clients to requests, and replies to bytes, within the limits of what clients may take.

No dialect is known here. Begin with `routes`, what a dialect gives to the transports; with `http_routes` and
`grpc_routes` it is all that dialects know of this room. The rest of this folder is what HTTP and gRPC share.
"""
