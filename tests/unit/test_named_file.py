"""Files that users name: an error says where one was looked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mindspore_serving import client
from mindspore_serving.errors import StartUpError
from mindspore_serving.server import SSLConfig
from mindspore_serving.server.access.tls import grpc_credentials, ssl_context
from mindspore_serving.worker._start import trust_of

HERE = "No such file or directory; 'no.crt' is relative to the working directory: '{folder}/no.crt'"

READERS: dict[str, Callable[[], object]] = {
    "client": client.SSLConfig(custom_ca="no.crt").credentials,
    "gRPC": lambda: grpc_credentials(SSLConfig("no.crt", "key.pem")),
    "REST": lambda: ssl_context(SSLConfig("no.crt", "key.pem")),
    "cluster": lambda: trust_of(client.SSLConfig(custom_ca="no.crt")),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key.pem").touch()
    return tmp_path


@pytest.mark.parametrize("reader", READERS)
def test_a_file_that_is_not_there(folder: Path, reader: str) -> None:
    with pytest.raises((OSError, StartUpError), match=re.escape(HERE.format(folder=folder))) as raised:
        READERS[reader]()
    if reader == "REST":
        assert str(raised.value).startswith("Serving Error: load certificate_chain from no.crt failed: ")


def test_a_path_from_the_root_is_told_as_it_is(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^\[Errno 2\] No such file or directory: '/no/such/file'$"):
        client.SSLConfig(custom_ca="/no/such/file").credentials()
