"""What a client asks for: which method of which servable, where, with what key and what TLS files."""

from __future__ import annotations

import grpc

from mindspore_serving import log
from mindspore_serving.api_key import check_api_key
from mindspore_serving.check_type import check_int, check_str
from mindspore_serving.client.python.proxy import route_to
from mindspore_serving.client.python.reply import ReplyReader
from mindspore_serving.client.python.request import Instances, encode_request
from mindspore_serving.errors import InvalidParameter, ServingError
from mindspore_serving.named_file import read_named_file


class SSLConfig:
    """TLS settings of a client.

    Args:
        certificate: File with the client's certificate chain in PEM form, for servers that ask for one.
        private_key: File with the private key of that certificate in PEM form.
        custom_ca: File with the root certificates that the server's certificate must come from in PEM form; None
            takes gRPC's default roots.

    Raises:
        InvalidParameter: A parameter is neither None nor a str that is not empty, or certificate and private_key
            are not given together.

    Examples:
        >>> from mindspore_serving.client import Client, SSLConfig
        >>> client = Client("localhost:5500", "add", "add_common", ssl_config=SSLConfig(custom_ca="ca.crt"))
    """

    def __init__(
        self, certificate: str | None = None, private_key: str | None = None, custom_ca: str | None = None
    ) -> None:
        for name, path in (
            ("certificate", certificate),
            ("private_key", private_key),
            ("custom_ca", custom_ca),
        ):
            if path is not None:
                check_str(name, path)
        if (certificate is None) != (private_key is None):
            raise InvalidParameter("The certificate and private_key should be passed at the same time")
        self.certificate = certificate
        self.private_key = private_key
        self.custom_ca = custom_ca

    def credentials(self) -> grpc.ChannelCredentials:
        """The contents of the files, as a gRPC channel takes them.

        Raises:
            OSError: A file cannot be read.
        """
        return grpc.ssl_channel_credentials(
            root_certificates=_contents(self.custom_ca),
            private_key=_contents(self.private_key),
            certificate_chain=_contents(self.certificate),
        )


def _contents(path: str | None) -> bytes | None:
    return None if path is None else read_named_file(path)


class MethodTarget:
    """The method that a client calls, and the address of its server: what both kinds of client have in common.

    Attributes:
        address: `ip:port`, `host:port` or `unix:path`.
        servable_name: Name of the servable.
        method_name: Name of the method.
        version_number: Version of the servable; 0 for the newest that runs.
    """

    def __init__(
        self,
        address: str,
        servable_name: str,
        method_name: str,
        version_number: int = 0,
        ssl_config: SSLConfig | None = None,
        api_key: str | None = None,
    ) -> None:
        check_str("address", address)
        check_str("servable_name", servable_name)
        check_str("method_name", method_name)
        check_int("version_number", version_number, 0)
        if ssl_config is not None and not isinstance(ssl_config, SSLConfig):
            raise InvalidParameter("The type of ssl_config should be type of SSLConfig")
        self.address = address
        self.servable_name = servable_name
        self.method_name = method_name
        self.version_number = version_number
        self._credentials = None if ssl_config is None else ssl_config.credentials()
        self._metadata = None if api_key is None else self._metadata_of(api_key)
        self._reader = ReplyReader()
        self._closed = False

    def _metadata_of(self, api_key: str) -> tuple[tuple[str, str], ...]:
        check_api_key("Parameter 'api_key'", api_key)
        if self._credentials is None:
            self._warn_of_readers()
        return (("authorization", f"Bearer {api_key}"),)

    def _warn_of_readers(self) -> None:
        route = route_to(self.address)
        if route.proxy is not None:
            log.warning(
                "An API key is sent to %s without TLS, through %s: it can read the key, and so can whoever listens",
                self.address,
                route.proxy,
            )
        elif not route.stays_here:
            log.warning(
                "An API key is sent to %s without TLS: whoever listens on the way can read it", self.address
            )

    def _encode(self, instances: Instances) -> bytes:
        if self._closed:
            raise ServingError(f"{self!r} is closed")
        return encode_request(self.servable_name, self.method_name, self.version_number, instances)

    @property
    def ip(self) -> str | None:
        """What precedes the port in the address; None where the address has no port."""
        return None if self.port is None else self.address.rpartition(":")[0]

    @property
    def port(self) -> int | None:
        """Port of the address; None where it has none, as a Unix socket."""
        tail = self.address.rpartition(":")[2]
        return int(tail) if tail.isdecimal() and not self.address.startswith("unix:") else None

    def __repr__(self) -> str:
        version = f" version {self.version_number}" if self.version_number else ""
        return f"<{type(self).__name__} {self.servable_name}.{self.method_name}{version} at {self.address}>"
