"""Open Inference Protocol v2 with Triton's extensions, over HTTP at `/v2` and as `inference.GRPCInferenceService`.

Both transports read a request into the same `InferRequest` (`messages`), `Inference` answers it (`inference`), and
`Models` describes what there is as the documents of REST (`models`). `http/` and `grpc/` read and write the forms of
each transport. Begin with `messages`.
"""
