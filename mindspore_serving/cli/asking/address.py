"""Where a server is, and what it wants to see before it answers."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import grpc

from mindspore_serving.api_key import check_api_key
from mindspore_serving.cli.errors import CommandError
from mindspore_serving.cli.exit_codes import USAGE
from mindspore_serving.errors import InvalidParameter
from mindspore_serving.named_file import read_named_file

_FORMS = "expected http://HOST:PORT, https://HOST:PORT, grpc://HOST:PORT, grpcs://HOST:PORT, unix:PATH or HOST:PORT"
_PLAIN = re.compile(r"[!-\[\]-~]{0,2000}")
"""What addresses consist of: printable ASCII without spaces and backslashes."""
_SCHEMES = {
    "http": ("rest", False),
    "https": ("rest", True),
    "grpc": ("grpc", False),
    "grpcs": ("grpc", True),
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens.

    Attributes:
        over: `rest` or `grpc`; "" where the text does not say it.
        host: Name or IP address, or `unix:PATH`.
        port: 0 for a Unix socket.
        tls: Whether the connection is encrypted.
        prefix: Path in front of all paths of REST, without `/` at its end.
    """

    over: str
    host: str
    port: int = 0
    tls: bool = False
    prefix: str = ""

    @property
    def authority(self) -> str:
        """`host:port`, as gRPC and the header `Host` have it."""
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        if not self.over or not self.port:
            return self.authority
        scheme = next(name for name, value in _SCHEMES.items() if value == (self.over, self.tls))
        return f"{scheme}://{self.authority}{self.prefix}"


def parse_address(text: str, *, tls: bool = False) -> Address:
    """Read the address of a server.

    Args:
        text: As the user wrote it.
        tls: Whether `host:port` means an encrypted connection.

    Raises:
        CommandError: It is none.
    """
    if text.startswith("unix:"):
        return Address("grpc", text)
    if not _PLAIN.fullmatch(text):
        raise CommandError(f"{text!r} is no address: {_FORMS}", exit_code=USAGE)
    plain = "://" not in text
    try:
        parts = urlsplit(f"//{text}" if plain else text)
        host, port = parts.hostname, parts.port
    except ValueError as cause:
        raise CommandError(f"'{text}' is no address: {cause}", f"Give --url: {_FORMS}.", USAGE) from cause
    over, encrypted = ("", tls) if plain else _SCHEMES.get(parts.scheme, ("", None))
    if encrypted is None or not host or (plain and (port is None or parts.path not in ("", "/"))):
        raise CommandError(f"'{text}' is no address: {_FORMS}", exit_code=USAGE)
    if port is None:
        if over == "grpc":
            raise CommandError(f"'{text}' has no port: {_FORMS}", exit_code=USAGE)
        port = 443 if encrypted else 80
    return Address(over, host, port, encrypted or tls, parts.path.rstrip("/"))


@dataclass(frozen=True, slots=True)
class Access:
    """What opens a server.

    Attributes:
        api_key: Secret that is sent with each request; "" for none.
        ca: File with the root certificates that the server's certificate must come from, in PEM form; "" for those of
            this machine.
    """

    api_key: str = ""
    ca: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """Of each request, over REST and over gRPC."""
        return {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    def ssl_context(self) -> ssl.SSLContext:
        """For REST.

        Raises:
            CommandError: The file cannot be read.
        """
        try:
            return ssl.create_default_context(cafile=self.ca or None)
        except (OSError, ssl.SSLError) as cause:
            raise CommandError(
                f"--ca '{self.ca}' cannot be read as certificates: {cause}", exit_code=USAGE
            ) from cause

    def grpc_credentials(self) -> grpc.ChannelCredentials:
        """For gRPC.

        Raises:
            CommandError: The file cannot be read.
        """
        try:
            return grpc.ssl_channel_credentials(read_named_file(self.ca) if self.ca else None)
        except OSError as cause:
            raise CommandError(
                f"--ca '{self.ca}' cannot be read as certificates: {cause}", exit_code=USAGE
            ) from cause


def access_of(api_key: str, ca: str) -> Access:
    """What the user gave to open a server.

    Args:
        api_key: The key, `@FILE` for its file, or "".
        ca: As of `Access`.

    Raises:
        CommandError: The file cannot be read, or it is no key.
    """
    if api_key.startswith("@"):
        try:
            api_key = _first_key(Path(api_key[1:]).read_text())
        except (OSError, UnicodeDecodeError) as cause:
            raise CommandError(f"The API key cannot be read: {cause}", exit_code=USAGE) from cause
    if api_key:
        try:
            check_api_key("--api-key", api_key)
        except InvalidParameter as cause:
            raise CommandError(str(cause), exit_code=USAGE) from cause
    return Access(api_key, ca)


def _first_key(text: str) -> str:
    """The first key of a file as servers read it, without its name and rights; "" where there is none."""
    lines = (line.split() for line in text.splitlines() if not line.lstrip().startswith("#"))
    return next((words[0] for words in lines if words), "")
