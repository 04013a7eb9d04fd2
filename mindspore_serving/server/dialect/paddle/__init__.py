"""What clients of Paddle Serving speak: GeneralModelService over HTTP and gRPC, and pipelines."""
