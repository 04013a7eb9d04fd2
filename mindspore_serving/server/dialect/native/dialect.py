"""The native dialect: what it answers over HTTP, and over gRPC."""

from __future__ import annotations

from mindspore_serving.server.dialect.native.description import Descriptions
from mindspore_serving.server.dialect.native.predict import Predict
from mindspore_serving.server.dialect.native.rest import NativeRest
from mindspore_serving.server.dispatch.dispatcher import Dispatcher
from mindspore_serving.server.service.catalog import Catalog


class NativeDialect(NativeRest):
    """What MindSpore Serving speaks.

    Args:
        dispatcher: Where instances go.
        catalog: Tells what there is.
        always_ok: Say HTTP 200 also for errors.
    """

    def __init__(self, dispatcher: Dispatcher, catalog: Catalog, *, always_ok: bool = False) -> None:
        super().__init__(dispatcher, always_ok=always_ok)
        self.routes = (*self.routes, *Descriptions(catalog).routes)
        self.grpc_methods = Predict(dispatcher).grpc_methods
