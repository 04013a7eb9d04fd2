"""TLS of the servers: what the user configures, and what the two libraries need of it."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc

from mindspore_serving.check_type import check_bool, check_str
from mindspore_serving.errors import StartUpError


class SSLConfig:
    """Certificate and key of a server.

    Args:
        certificate: File with the PEM certificate chain of the server.
        private_key: File with its PEM private key.
        custom_ca: File with the PEM certificates that clients' certificates are checked against. Used, and
            needed, only with `verify_client`.
        verify_client: Refuse clients without a certificate that `custom_ca` vouches for.

    Raises:
        RuntimeError: A parameter has the wrong type, or is an empty str.
    """

    def __init__(
        self,
        certificate: str,
        private_key: str,
        custom_ca: str | None = None,
        verify_client: bool = False,
    ) -> None:
        check_str("certificate", certificate)
        check_str("private_key", private_key)
        check_bool("verify_client", verify_client)
        if verify_client:
            check_str("custom_ca", custom_ca)
        self.certificate = certificate
        self.private_key = private_key
        self.custom_ca = custom_ca if verify_client else None
        self.verify_client = verify_client


def grpc_credentials(config: SSLConfig) -> grpc.ServerCredentials:
    """What the gRPC server needs.

    Raises:
        FileNotFoundError: A file is missing.
    """
    key = Path(config.private_key).read_bytes()
    chain = Path(config.certificate).read_bytes()
    authority = Path(config.custom_ca).read_bytes() if config.custom_ca else None
    return grpc.ssl_server_credentials([(key, chain)], authority, config.verify_client)


def ssl_context(config: SSLConfig) -> ssl.SSLContext:
    """What the REST server needs: TLS 1.2 or newer.

    Raises:
        StartUpError: A file cannot be read or used; the text names it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(config.certificate)
    except (OSError, ssl.SSLError) as cause:
        raise StartUpError(
            f"Serving Error: load certificate_chain from {config.certificate} failed: {cause}"
        ) from cause
    try:
        context.load_cert_chain(config.certificate, config.private_key)
    except (OSError, ssl.SSLError) as cause:
        raise StartUpError(
            f"Serving Error: load private_key from {config.private_key} failed: {cause}"
        ) from cause
    if config.verify_client and config.custom_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(config.custom_ca)
        except (OSError, ssl.SSLError) as cause:
            raise StartUpError(
                f"Serving Error: load root certificate from {config.custom_ca} failed: {cause}"
            ) from cause
    return context
