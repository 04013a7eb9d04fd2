"""Whether the server lives and is ready, as pages of REST and as the health service of gRPC."""
