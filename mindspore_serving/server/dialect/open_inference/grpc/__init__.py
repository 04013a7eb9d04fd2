"""Open Inference Protocol over gRPC: `inference.GRPCInferenceService`.

Requests and replies, which are many, are read and written field by field (`request`, `reply`); all else by the classes
of protobuf. Begin with `service`.
"""
