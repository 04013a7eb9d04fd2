"""gRPC: the listening server, and the limits that grpcio lacks. Begin with `service`."""
