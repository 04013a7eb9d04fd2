"""Names of the sockets between the main process and its workers."""

import pytest

from mindspore_serving.server.channel.address import master_socket, worker_socket


def test_master() -> None:
    assert master_socket(17) == "unix_socket_files/serving_master_17"


@pytest.mark.parametrize(
    ("servable", "place", "path"),
    [
        ("add", "device3", "unix_socket_files/serving_worker_add_device3_17"),
        ("add", "extra0", "unix_socket_files/serving_worker_add_version2_extra0_17"),
        (
            "s" * 80,
            "device0",
            f"unix_socket_files/serving_worker_{'s' * 25}___{'s' * 29}_device0_17",
        ),
    ],
)
def test_worker(servable: str, place: str, path: str) -> None:
    assert worker_socket(servable, 2, place, 17) == path
