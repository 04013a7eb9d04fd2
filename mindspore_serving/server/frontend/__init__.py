"""The interfaces to clients: gRPC and REST, each thin over the dispatcher."""
