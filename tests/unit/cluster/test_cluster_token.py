"""Proofs of the shared token, and where a master listens with and without one."""

import pytest

from mindspore_serving.server.cluster.token import is_proof, listening_ip, new_nonce, proof
from mindspore_serving.server.host.settings import cluster_token


def test_a_proof_is_right_for_its_token_role_and_nonces_alone() -> None:
    given = proof("secret", "worker", "master's", "worker's")
    assert is_proof(given, "secret", "worker", "master's", "worker's")
    assert not is_proof(given, "other", "worker", "master's", "worker's")
    assert not is_proof(given, "", "worker", "master's", "worker's")
    assert not is_proof(given, "secret", "master", "master's", "worker's")
    assert not is_proof(given, "secret", "worker", "another", "worker's")
    assert not is_proof(given, "secret", "worker", "master's", "another")
    assert not is_proof("ü", "secret", "worker", "master's", "worker's")


def test_a_proof_is_the_hmac_that_is_documented() -> None:
    # printf 'worker\na\nb' | openssl dgst -sha256 -hmac secret
    expected = "35534524cac2d121d89ff1ff4c117a56d5a54d134937bf126be2e69dc3bb1723"
    assert proof("secret", "worker", "a", "b") == expected


def test_nonces_differ() -> None:
    nonces = {new_nonce() for _ in range(100)}
    assert len(nonces) == 100
    assert all(len(nonce) == 64 for nonce in nonces)


@pytest.mark.parametrize(
    ("ip", "token", "listens_on"),
    [
        ("0.0.0.0", "secret", "0.0.0.0"),
        ("10.0.0.7", "secret", "10.0.0.7"),
        ("0.0.0.0", "", "127.0.0.1"),
        ("10.0.0.7", "", "127.0.0.1"),
        ("host.example", "", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.9", "", "127.0.0.9"),
        ("localhost", "", "localhost"),
    ],
)
def test_without_a_token_a_master_listens_on_this_machine_alone(ip: str, token: str, listens_on: str) -> None:
    assert listening_ip(ip, token) == listens_on


@pytest.mark.parametrize(("environment", "token"), [({}, ""), ({"SERVING_CLUSTER_TOKEN": "x"}, "x")])
def test_the_token_comes_from_the_environment(environment: dict[str, str], token: str) -> None:
    assert cluster_token(environment) == token
