"""gRPC: the listening server, the calls to methods of dialects, and the limits that grpcio lacks.

Begin with `server` for the life of the server, with `calls` for the way of a call. `library` says what both need of a
gRPC library; `choice` takes one of two, `on_core` or `on_aio`. `core_poller` and `core_call` are the way of a call on
the core. Only `core_surface` imports what grpcio does not document.
"""
