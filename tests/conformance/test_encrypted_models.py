"""Sections 9 and 11.3: servables that are started with a key, whatever decrypts their models.

What a key opens is shown with MindSpore, in tests/mindspore/test_encrypted_models.py.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import numpy as np

from mindspore_serving.client import Client
from tests.conformance.row import stands_for
from tests.support.servables import ADD
from tests.support.serving import add_servable, serving
from tests.support.traces import traces, traces_in


@stands_for("9-key-extra-workers", "11.3-test_start_servables-dec")
def test_versions_with_keys_of_their_own_start(tmp_path: Path) -> None:
    folder = tmp_path / "served"
    add_servable(folder, "add", ADD.format(batch=False), ("1/tensor_add.mindir", "2/tensor_add.mindir"))
    keys = [secrets.token_hex(length // 2).encode() for length in (16, 32)]
    for version, key in enumerate(keys, 1):
        (tmp_path / f"key_{version}").write_bytes(key)

    def config(version: int, mode: str) -> str:
        key = f'open({str(tmp_path / f"key_{version}")!r}, "rb").read()'
        arguments = f"version_number={version}, num_parallel_workers=2, dec_key={key}, dec_mode={mode!r}"
        return f'".", "add", device_ids={version}, {arguments}'

    environment = {"GLOG_v": "0"}
    with serving(folder, [config(1, "AES-GCM"), config(2, "AES-CBC")], environment=environment) as running:
        assert len(running.workers()) == 4
        for version in (1, 2):
            with Client(running.grpc, "add", "add_cast", version) as client:
                [reply] = client.infer({"x1": np.ones((2, 2)), "x2": np.ones((2, 2))})
            assert reply["y"].tolist() == [[2, 2], [2, 2]]
        for key in keys:
            assert traces(key, folder) == []
    assert all(traces_in(key, running.output) == [] for key in keys)
