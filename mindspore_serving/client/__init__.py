"""The client of MindSpore Serving: sends instances over gRPC and returns their results."""

from mindspore_serving.client.python.async_client import AsyncClient
from mindspore_serving.client.python.client import Client
from mindspore_serving.client.python.transport import SSLConfig

__all__ = ["AsyncClient", "Client", "SSLConfig"]
