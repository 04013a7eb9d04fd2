"""Bytes of clients to requests, and replies to bytes, within the limits of what clients may take.

No dialect is known here. This folder has what HTTP and gRPC share.
"""
