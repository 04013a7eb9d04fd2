"""What a scrape of a real server says is what was sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from tests.support.http_requests import raw_connection, send
from tests.support.serving import RunningServer, add_servable, serving
from tests.support.watch import wait_until

SERVABLE = """\
from mindspore_serving.server import register

model = register.declare_model("tensor_add.mindir", "MindIR")


def failing(x):
    raise RuntimeError("on purpose")


@register.register_method(output_names=["y"])
def add(x1, x2):
    return register.add_stage(model, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def fail(x):
    return register.add_stage(failing, x, outputs_count=1)
"""
ROW = {"x1": [1.0, 2.0], "x2": [3.0, 4.0]}
OPENMETRICS = "application/openmetrics-text"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("metrics")
    add_servable(folder, "net", SERVABLE)
    options = "metrics_aliases=['triton', 'kserve', 'tfserving']"
    with serving(folder, ['".", "net", device_ids=0'], rest_options=options) as running:
        yield running


def ask(server: RunningServer, method: str, *instances: Any) -> int:
    return send(server.rest, "POST", f"/model/net:{method}", {"instances": instances}).status


def scrape(server: RunningServer, accept: str = "") -> dict[str, float]:
    """All samples, by name and labels as text; each line of the scrape can be read."""
    reply = send(server.rest, "GET", "/metrics", headers={"Accept": accept})
    assert reply.status == 200
    read: Any = read_openmetrics if accept == OPENMETRICS else read_text
    found = {}
    for family in read(reply.text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    lines = [line for line in reply.text.splitlines() if not line.startswith("#")]
    assert len(found) == len(lines)
    return found


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_what_is_shown_is_what_was_sent(server: RunningServer, accept: str) -> None:
    before = scrape(server, accept)
    assert [ask(server, "add", ROW) for _ in range(3)] == [200] * 3
    assert ask(server, "add", ROW, ROW, ROW) == 200
    assert ask(server, "add", {"x1": [1.0]}) == 400
    assert ask(server, "fail", {"x": 1}) == 500
    assert ask(server, "nothing", {"x": 1}) == 404
    after = before

    def is_counted() -> bool:  # a batch is over a little after its reply
        nonlocal after
        after = scrape(server, accept)
        return (
            increase("serving_phase_duration_seconds_count{method=add,phase=queue,servable=net,version=1}")
            == 4
        )

    def increase(name: str) -> float:
        return after[name] - before.get(name, 0.0)

    wait_until(is_counted, "all is counted")
    own = "method=add,{}servable=net,version=1"
    for name, labels, expected in (
        ("serving_requests_total", "method=add,outcome=ok,servable=net,version=1", 4),
        ("serving_instances_total", "method=add,outcome=ok,servable=net,version=1", 6),
        ("serving_requests_total", "method=fail,outcome=stage_failed,servable=net,version=1", 1),
        ("serving_method_refused_requests_total", "method=add,reason=invalid,servable=net,version=1", 1),
        ("serving_refused_requests_total", "reason=unknown_target", 1),
        ("serving_phase_duration_seconds_count", own.format("phase=total,"), 4),
        ("serving_batch_size_instances_sum", own.format(""), 6),
        ("serving_model_rows_total", own.format(""), 10),  # 3 x 2, and 2 x 2: its batches have two rows
        ("serving_padding_rows_total", own.format(""), 4),
        ("nv_inference_request_success", "model=net.add,version=1", 4),
        ("nv_inference_count", "model=net.add,version=1", 6),
        (":tensorflow:serving:request_count", "model_name=net.add,model_version=1,status=OK", 4),
        ("request_preprocess_seconds_count", "model_name=net.add,model_version=1", 4),
    ):  # fmt: skip
        assert increase(f"{name}{{{labels}}}") == expected, name
    assert increase("serving_phase_duration_seconds_sum{method=add,phase=total,servable=net,version=1}") > 0
    assert after["serving_ready"] == 1
    assert after["serving_version_ready{servable=net,version=1}"] == 1
    assert after["serving_pending_requests"] == 0
    assert any(name.startswith("serving_worker_memory_bytes{") and value > 0 for name, value in after.items())


def test_a_scraper_that_hangs_keeps_nobody_waiting(server: RunningServer) -> None:
    request = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
    with raw_connection(server.rest) as silent, raw_connection(server.rest) as greedy:
        silent.sendall(request[:20])  # and never the rest
        greedy.settimeout(20)
        greedy.sendall(request * 400)  # and never reads
        assert ask(server, "add", ROW) == 200
        assert scrape(server)["serving_ready"] == 1


def test_a_scrape_is_a_page_without_side_effects(server: RunningServer) -> None:
    assert send(server.rest, "HEAD", "/metrics").body == b""
    refused = send(server.rest, "POST", "/metrics", "x")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
