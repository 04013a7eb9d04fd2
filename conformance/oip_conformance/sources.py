"""The public documents that checks stand on, by name and heading."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A place in a public document."""

    document: str
    heading: str

    def __str__(self) -> str:
        return f"{self.document}, {self.heading}"


_REST = "Open Inference Protocol, inference_rest.md"
_GRPC = "Open Inference Protocol, inference_grpc.md"
_V2 = "KServe, Predict Protocol Version 2, required_api.md"
_TRITON = "Triton protocol"

PATHS = Source(_REST, "HTTP/REST, table of paths")
HEALTH = Source(_V2, "HTTP/REST, Health")
READY_BODY = Source(_REST, "Server Ready and Server Live Response JSON Object")
MODEL_READY_BODY = Source(_REST, "Model Ready Response JSON Object")
SERVER_METADATA = Source(_REST, "Server Metadata Response JSON Object")
SERVER_PATH = Source("Open Inference Protocol, open_inference_rest.yaml", "paths")
MODEL_METADATA = Source(_REST, "Model Metadata Response JSON Object")
METADATA_ERROR = Source(_REST, "Model Metadata Response JSON Error Object")
STRINGS = Source(_V2, "HTTP/REST, All strings are case-sensitive")
INFER_REQUEST = Source(_REST, "Inference Request JSON Object")
INPUT = Source(_REST, "Request Input")
OUTPUT = Source(_REST, "Request Output")
INFER_REPLY = Source(_REST, "Inference Response JSON Object")
REPLY_OUTPUT = Source(_V2, "Response Output")
INFER_ERROR = Source(_V2, "Inference Response JSON Error Object")
PARAMETERS = Source(_V2, "Parameters")
TENSOR_DATA = Source(_V2, "Tensor Data")
DATATYPES = Source(_GRPC, "Tensor Data Types")
JSON_NUMBERS = Source("RFC 8259", "6, Numbers")
HTTP_CODES = Source("RFC 9110", "15.5, Client Error 4xx")
HTTP_PATHS = Source("RFC 3986", "6.2.2.2, Percent-Encoding Normalization")
HTTP_CONNECTIONS = Source("RFC 9112", "9.3, Persistence")
HTTP_CHUNKS = Source("RFC 9112", "7.1, Chunked Transfer Coding")
HTTP_CODINGS = Source("RFC 9110", "8.4, Content-Encoding")
ACCEPT_CODINGS = Source("RFC 9110", "12.5.3, Accept-Encoding")

GRPC_API = Source(_GRPC, "API Definitions")
GRPC_HEALTH = Source(_GRPC, "Health")
GRPC_METADATA = Source(_GRPC, "Metadata")
GRPC_INFER = Source(_GRPC, "Inference")
GRPC_DATA = Source(_GRPC, "Tensor Data")
GRPC_PARAMETERS = Source(_GRPC, "Parameters")
GRPC_CODES = Source("gRPC", "Status codes and their use in gRPC")
GRPC_HEALTH_SERVICE = Source("gRPC", "Health Checking Protocol")
GRPC_REFLECTION = Source("gRPC", "Server Reflection Protocol")
GRPC_COMPRESSION = Source("gRPC", "Compression")

TRITON_CODES = Source(_TRITON, "README.md, Mapping Triton Server Error Codes to HTTP Status Codes")
BINARY = Source(_TRITON, "extension_binary_data.md, Binary Tensor Data Extension")
CLASSIFICATION = Source(_TRITON, "extension_classification.md, Classification Extension")
STATISTICS = Source(_TRITON, "extension_statistics.md, Statistics Response JSON Object")
CONFIGURATION = Source(_TRITON, "extension_model_configuration.md, HTTP/REST")
REPOSITORY = Source(_TRITON, "extension_model_repository.md, Index")
REPOSITORY_LOAD = Source(_TRITON, "extension_model_repository.md, Load")
SHARED_MEMORY = Source(_TRITON, "extension_shared_memory.md, System Shared Memory")
GENERATE = Source(_TRITON, "extension_generate.md, generate vs. generate_stream")
GENERATE_REPLY = Source(_TRITON, "extension_generate.md, Generate Response JSON Object")
TRACE = Source(_TRITON, "extension_trace.md, HTTP/REST")
LOGGING = Source(_TRITON, "extension_logging.md, HTTP/REST")
TRITON_PARAMETERS = Source(_TRITON, "extension_parameters.md, Parameters Extension")
TRITON_PROTO = Source("Triton, grpc_service.proto", "ModelStreamInfer")
TRITON_RAW = Source("Triton, grpc_service.proto", "ModelInferResponse")
TRITON_CLIENT = Source("tritonclient", "InferenceServerClient and InferResult")
TRITON_EXTENSIONS = Source(_TRITON, "README.md, HTTP/REST and GRPC Protocol")
KSERVE_CLIENT = Source("KServe Python SDK", "InferenceRESTClient")
KSERVE_MODELS = Source("KServe Python server", "GET /v2/models")
MLSERVER_STREAM = Source("MLServer", "Streaming, POST infer_stream")
