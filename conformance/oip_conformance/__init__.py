"""Checks of a server of the Open Inference Protocol v2, over REST and gRPC.

- ``check``: what a check is, and what it may find
- ``sources``: the public documents that the checks stand on
- ``areas``: the checks, one module for each area of the protocol
- ``server``: the server under test: what it announces, and legal requests for its models
- ``rest``, ``rpc``, ``trail``, ``messages``, ``tensors``: the wire
- ``run``, ``report``, ``matrix``, ``command``: all checks in order, what is printed, and the command line
"""
