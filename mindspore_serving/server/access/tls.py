"""TLS of the servers: what the user configures, and what the two libraries need of it.

Certificates are read again when their files have changed, at the next connection. Files that do not fit together, as
while they are being replaced one after the other, change nothing.
"""

from __future__ import annotations

import copy
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import grpc

from mindspore_serving.check_type import check_and_as_str_tuple_list, check_bool, check_str
from mindspore_serving.errors import InvalidParameter, StartUpError
from mindspore_serving.named_file import find_named_file, read_named_file
from mindspore_serving.server.access.reloaded_files import ReloadedFiles

_CIPHERS_OF_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Those with forward secrecy and authenticated encryption; TLS 1.3 has no others."""
_T = TypeVar("_T")


class SSLConfig:
    """Certificate and key of a server. The files are read again when they change.

    Args:
        certificate: File with the PEM certificate chain of the server.
        private_key: File with its PEM private key, which has no passphrase.
        custom_ca: File with the PEM certificates that clients' certificates are checked against. Used, and
            needed, only with `verify_client`.
        verify_client: Refuse clients without a certificate that `custom_ca` vouches for.
        client_identities: Accept only clients whose certificate has one of these as its common name, or as a DNS, URI
            or mail name; where the front end has API keys, others that show a key as well. None for no such limit.
            Behind a name may stand ` rights=infer,view,manage`; without it, it has the rights infer and view.

    Raises:
        RuntimeError: A parameter has the wrong type, or is an empty str, or client_identities are given without
            verify_client.
    """

    def __init__(
        self,
        certificate: str,
        private_key: str,
        custom_ca: str | None = None,
        verify_client: bool = False,
        *,
        client_identities: Sequence[str] | None = None,
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
        self.client_identities = _identities(client_identities, verify_client)


def _identities(names: Sequence[str] | None, verify_client: bool) -> tuple[str, ...]:
    if names is None:
        return ()
    if not verify_client:
        raise InvalidParameter(
            "Parameter 'client_identities' needs verify_client=True and custom_ca: names in certificates that nobody "
            "has checked say nothing"
        )
    identities = check_and_as_str_tuple_list("client_identities", names)
    if not identities:
        raise InvalidParameter("Parameter 'client_identities' should hold at least one name, or be None")
    return identities


def grpc_credentials(config: SSLConfig) -> grpc.ServerCredentials:
    """What the gRPC server needs. TLS 1.2 or newer, and which ciphers, is gRPC's default.

    Raises:
        FileNotFoundError: A file is missing.
    """
    located = _located(config)
    files = _files_of(config, lambda: _checked_grpc_configuration(located))
    return grpc.dynamic_ssl_server_credentials(
        _grpc_configuration(config),
        files.look,  # type: ignore[arg-type]  # None, which gRPC admits, leaves all as it is
        config.verify_client,
    )


def ssl_context(config: SSLConfig) -> ssl.SSLContext:
    """What the servers on the event loop need: TLS 1.2 or newer.

    Raises:
        StartUpError: A file cannot be read or used; the text names it.
    """
    located = _located(config)
    files = _files_of(config, lambda: _new_context(located))
    return _ReloadedContext(files, _new_context(config))


class _ReloadedContext(ssl.SSLContext):
    """Gives every connection the context of the files as they are when it begins.

    To change the context of a connection later would not do: it would resume sessions of the first context, and so let
    in clients whose authority is trusted no more.
    """

    _files: ReloadedFiles[ssl.SSLContext]
    _current: ssl.SSLContext

    def __new__(cls, files: ReloadedFiles[ssl.SSLContext], first: ssl.SSLContext) -> _ReloadedContext:
        """Make one that itself offers nothing.

        Args:
            files: Say which context is next.
            first: Used until they have changed.
        """
        context = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        context._files, context._current = files, first
        return context

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Begin a connection; what the event loop calls."""
        self._current = self._files.look() or self._current
        return self._current.wrap_bio(incoming, outgoing, server_side, server_hostname, session)


def _files_of(config: SSLConfig, read: Callable[[], _T]) -> ReloadedFiles[_T]:
    names = [config.certificate, config.private_key, *([config.custom_ca] if config.custom_ca else [])]
    return ReloadedFiles(f"TLS files {', '.join(names)}", [Path(name).absolute() for name in names], read)


def _located(config: SSLConfig) -> SSLConfig:
    """The same files, wherever the working directory will be when they are read again."""
    located = copy.copy(config)
    located.certificate = str(Path(config.certificate).absolute())
    located.private_key = str(Path(config.private_key).absolute())
    located.custom_ca = str(Path(config.custom_ca).absolute()) if config.custom_ca else None
    return located


def _new_context(config: SSLConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS_OF_1_2)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    try:
        find_named_file(config.certificate)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(config.certificate)
    except (OSError, ssl.SSLError) as cause:
        raise StartUpError(
            f"Serving Error: load certificate_chain from {config.certificate} failed: {cause}"
        ) from cause
    try:
        find_named_file(config.private_key)
        # Without a password OpenSSL would ask for one at the terminal.
        context.load_cert_chain(config.certificate, config.private_key, password="")
    except (OSError, ssl.SSLError) as cause:
        raise StartUpError(
            f"Serving Error: load private_key from {config.private_key} failed: {cause}"
        ) from cause
    if config.verify_client and config.custom_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.num_tickets = 0  # a resumed session would outlive the trust in its certificate
        try:
            find_named_file(config.custom_ca)
            context.load_verify_locations(config.custom_ca)
        except (OSError, ssl.SSLError) as cause:
            raise StartUpError(
                f"Serving Error: load root certificate from {config.custom_ca} failed: {cause}"
            ) from cause
    return context


def _grpc_configuration(config: SSLConfig) -> grpc.ServerCertificateConfiguration:
    key = read_named_file(config.private_key)
    chain = read_named_file(config.certificate)
    authority = read_named_file(config.custom_ca) if config.custom_ca else None
    return grpc.ssl_server_certificate_configuration([(key, chain)], authority)


def _checked_grpc_configuration(config: SSLConfig) -> grpc.ServerCertificateConfiguration:
    """What the files say, if they fit together: gRPC would only log if not."""
    _new_context(config)
    return _grpc_configuration(config)
