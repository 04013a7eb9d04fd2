"""What a scrape shows of statistics, and that everything of it can be read."""

from __future__ import annotations

import math
from typing import Any

import pytest
from prometheus_client import exposition
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from mindspore_serving.server.dispatch.method_statistics import MethodStatistics, Outcome
from mindspore_serving.server.service.server_statistics import ServerStatistics
from mindspore_serving.server.start.page_choice import METRICS_ALIASES
from mindspore_serving.server.telemetry.metrics.page import written
from mindspore_serving.server.telemetry.metrics.snapshot import MOST_METHODS, Snapshot
from tests.unit.telemetry.metrics.made import HOSTILE, method, server, version

TEXT = exposition.CONTENT_TYPE_PLAIN_0_0_4
OPENMETRICS = openmetrics.CONTENT_TYPE_LATEST
READERS: dict[str, Any] = {TEXT: read_text, OPENMETRICS: read_openmetrics}
OF_PROCESS = ("process_", "python_")
METHOD = {"servable": "add", "version": "1", "method": "sum"}


def samples(
    statistics: ServerStatistics, form: str = TEXT, *aliases: str, ready: bool = True
) -> dict[Any, float]:
    """All samples by name and labels; each is there once."""
    found = {}
    text = written(Snapshot(statistics, ready), form, aliases).decode()
    for family in READERS[form](text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def value(found: dict[Any, float], name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


@pytest.mark.parametrize("form", [TEXT, OPENMETRICS])
def test_both_forms_show_the_same(form: str) -> None:
    statistics = server(version(), version("add", 2), version("net"))
    one = {
        key: v
        for key, v in samples(statistics, TEXT, *METRICS_ALIASES).items()
        if not key[0].startswith(OF_PROCESS)
    }
    other = samples(statistics, form, *METRICS_ALIASES)
    assert len(one) > 300
    assert one == {key: v for key, v in other.items() if not key[0].startswith(OF_PROCESS)}


def test_what_is_shown_of_a_method() -> None:
    found = samples(server(version()))
    for name, labels, expected in (
        ("serving_requests_total", {"outcome": "ok"}, 5),
        ("serving_requests_total", {"outcome": "cancelled"}, 2),
        ("serving_requests_total", {"outcome": "model_failed"}, 3),
        ("serving_instances_total", {"outcome": "ok"}, 12),
        ("serving_instances_total", {"outcome": "deadline"}, 7),
        ("serving_method_refused_requests_total", {"reason": "requests"}, 9),
        ("serving_phase_duration_seconds_bucket", {"phase": "queue", "le": "0.001"}, 1),
        ("serving_phase_duration_seconds_bucket", {"phase": "queue", "le": "0.01"}, 3),
        ("serving_phase_duration_seconds_bucket", {"phase": "queue", "le": "1.0"}, 3),
        ("serving_phase_duration_seconds_bucket", {"phase": "queue", "le": "+Inf"}, 6),
        ("serving_phase_duration_seconds_count", {"phase": "queue"}, 6),
        ("serving_phase_duration_seconds_sum", {"phase": "queue"}, 0.5),
        ("serving_phase_duration_seconds_sum", {"phase": "total"}, 2.5),
        ("serving_batch_size_instances_bucket", {"le": "1.0"}, 1),
        ("serving_batch_size_instances_bucket", {"le": "2.0"}, 2),
        ("serving_batch_size_instances_bucket", {"le": "4.0"}, 3),
        ("serving_batch_size_instances_bucket", {"le": "1024.0"}, 3),
        ("serving_batch_size_instances_count", {}, 5),
        ("serving_batch_size_instances_sum", {}, 1 + 2 + 3 + 2 * 2000),
        ("serving_stage_duration_seconds_sum", {"stage": 'model "a"'}, 1.5),
        ("serving_stage_duration_seconds_count", {"stage": "preprocess"}, 4),
        ("serving_model_rows_total", {}, 20),
        ("serving_padding_rows_total", {}, 8),
        ("serving_cancelled_before_run_instances_total", {}, 1),
        ("serving_last_request_timestamp_seconds", {}, 1_700_000_000.5),
    ):  # fmt: skip
        assert math.isclose(value(found, name, **METHOD, **labels), expected), name


def test_what_is_shown_of_the_server() -> None:
    found = samples(server(version()))
    own = {"servable": "add", "version": "1"}
    worker = {**own, "worker": "add version 1 device0"}
    for name, labels, expected in (
        ("serving_build_info", {"version": "9.8"}, 1),
        ("serving_ready", {}, 1),
        ("serving_closing", {}, 0),
        ("serving_start_time_seconds", {}, 1_600_000_000.25),
        ("serving_uptime_seconds", {}, 12.5),
        ("serving_memory_bytes", {}, 1 << 27),
        ("serving_hidden_methods", {}, 0),
        ("serving_pending_requests", {}, 6),
        ("serving_pending_instances", {}, 7),
        ("serving_pending_bytes", {}, 8),
        ("serving_limit_pending_requests", {}, 1000),
        ("serving_limit_pending_bytes", {}, 1 << 31),
        ("serving_refused_requests_total", {"reason": "unknown_target"}, 2),
        ("serving_connections", {"kind": "rest", "address": "127.0.0.1:1500"}, 3),
        ("serving_connections", {"kind": "grpc", "address": "unix"}, 2),
        ("serving_limit_connections", {"kind": "rest", "address": "127.0.0.1:1500"}, 100),
        ("serving_version_ready", own, 1),
        ("serving_version_state", {**own, "state": "ready"}, 1),
        ("serving_version_pending_requests", own, 4),
        ("serving_version_pending_instances", own, 9),
        ("serving_version_waiting_instances", own, 5),
        ("serving_version_limit_pending", {**own, "of": "requests"}, 100),
        ("serving_worker_restarts_total", worker, 3),
        ("serving_worker_state", {**worker, "state": "ready"}, 1),
        ("serving_worker_memory_bytes", worker, 1 << 20),
        ("serving_worker_slots", worker, 2),
        ("serving_worker_slots_used", worker, 1),
    ):
        assert value(found, name, **labels) == expected, name
    names = {name for name, _ in found}
    assert {"process_cpu_seconds_total", "python_info", "process_resident_memory_bytes"} <= names
    assert "serving_limit_pending_instances" not in names  # there is no limit
    unknown = frozenset({"kind": "grpc", "address": "127.0.0.1:5500"}.items())
    assert ("serving_connections", unknown) not in found
    assert value(found, "serving_worker_restarts_total", **own, worker="elsewhere") == 0
    assert ("serving_worker_memory_bytes", frozenset({**own, "worker": "elsewhere"}.items())) not in found


def test_a_server_that_ends_is_shown_as_such() -> None:
    found = samples(server(closing="draining"), ready=False)
    assert (value(found, "serving_closing"), value(found, "serving_ready")) == (1, 0)


def test_no_path_is_shown() -> None:
    text = written(Snapshot(server(version()), True), TEXT).decode()
    assert "/home" not in text
    assert "secret" not in text


@pytest.mark.parametrize("form", [TEXT, OPENMETRICS])
def test_names_of_any_form_are_labels(form: str) -> None:
    methods = {HOSTILE: method()}
    shown = HOSTILE.encode(errors="backslashreplace").decode()
    found = samples(server(version(HOSTILE, methods=methods)), form, *METRICS_ALIASES)
    labels = {"servable": shown, "version": "1", "method": shown}
    assert value(found, "serving_model_rows_total", **labels) == 20
    assert value(found, "nv_inference_count", model=shown, version="1") == 12
    usual = samples(server(version()), form, *METRICS_ALIASES)
    assert {name for name, _ in found} == {name for name, _ in usual}
    assert len(found) == len(usual)


def test_a_method_that_nobody_has_called_has_few_lines() -> None:
    found = samples(server(version(methods={"idle": MethodStatistics()})))
    own = {key: v for key, v in found.items() if ("method", "idle") in key[1]}
    assert len(own) == 5
    labels = {"servable": "add", "version": "1", "method": "idle"}
    assert value(found, "serving_requests_total", **labels, outcome="ok") == 0
    assert set(own.values()) == {0.0}


def test_there_are_no_families_without_samples() -> None:
    text = written(Snapshot(server(), True), TEXT).decode()
    assert "serving_version_ready" not in text
    assert "serving_batch_size" not in text


# --- Many methods ---


def test_of_many_methods_those_are_shown_that_are_used_most() -> None:
    busy = {(3, 7), (99, 99), (50, 0)}
    versions = []
    for servable in range(100):
        methods = {f"m{at}": method(1000 if (servable, at) in busy else 0) for at in range(100)}
        versions.append(version(f"s{servable}", methods=methods))
    found = samples(server(*versions))
    shown = {
        (labels["servable"], labels["method"])
        for name, given in found
        if name == "serving_model_rows_total" and (labels := dict(given))
    }
    assert len(shown) == MOST_METHODS
    assert {(f"s{servable}", f"m{at}") for servable, at in busy} <= shown
    assert ("s0", "m0") in shown  # of equals the first ones, each time
    assert value(found, "serving_hidden_methods") == 10_000 - MOST_METHODS
    assert len(found) < 100 * MOST_METHODS


def test_a_long_scrape_lets_others_run_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    found = samples(server(version(methods={f"m{at}": method() for at in range(MOST_METHODS)})))
    assert len(pauses) > len(found) / 100


# --- Other names ---


def test_other_names_are_off_unless_asked_for() -> None:
    names = {name for name, _ in samples(server(version()))}
    assert all(name.startswith(("serving_", *OF_PROCESS)) for name in names)


def test_triton() -> None:
    found = samples(server(version()), TEXT, "triton")
    model = {"model": "add", "version": "1"}
    for name, labels, expected in (
        ("nv_inference_request_success", {}, 5),
        ("nv_inference_request_failure", {"reason": "CANCELED"}, 2),
        ("nv_inference_request_failure", {"reason": "BACKEND"}, 3),
        ("nv_inference_request_failure", {"reason": "REJECTED"}, 10),
        ("nv_inference_request_failure", {"reason": "OTHER"}, 1),
        ("nv_inference_count", {}, 12),
        ("nv_inference_exec_count", {}, 4),
        ("nv_inference_pending_request_count", {}, 4),
        ("nv_inference_request_duration_us", {}, 9000),
        ("nv_inference_queue_duration_us", {}, 2000),
        ("nv_inference_compute_infer_duration_us", {}, 3000),
        ("nv_inference_compute_output_duration_us", {}, 0),
        ("nv_inference_queue_duration_histogram_us_bucket", {"le": "1000.0"}, 1),
        ("nv_inference_queue_duration_histogram_us_sum", {}, 500_000),
        ("nv_inference_request_duration_histogram_us_count", {}, 6),
    ):
        assert value(found, name, **model, **labels) == expected, name


def test_kserve() -> None:
    found = samples(server(version()), TEXT, "kserve")
    model = {"model_name": "add", "model_version": "1"}
    assert value(found, "request_preprocess_seconds_count", **model) == 6
    assert ("request_predict_seconds_count", frozenset(model.items())) not in found  # none was computed


def test_tensorflow_serving() -> None:
    found = samples(server(version()), TEXT, "tfserving")
    model = {"model_name": "add", "model_version": "1"}
    counts = {
        status: value(found, ":tensorflow:serving:request_count", **model, status=status)
        for status in ("OK", "INVALID_ARGUMENT", "CANCELLED", "INTERNAL")
    }
    assert counts == {"OK": 5, "INVALID_ARGUMENT": 1, "CANCELLED": 2, "INTERNAL": 3}
    latency = value(found, ":tensorflow:serving:request_latency_sum", **model, API="Predict", entrypoint="")
    assert latency == 2_500_000


def test_a_model_is_called_as_clients_call_it() -> None:
    found = samples(server(version(methods={"sum": method(), "cast": method()})), TEXT, "triton")
    models = {dict(labels)["model"] for name, labels in found if name == "nv_inference_count"}
    assert models == {"add.sum", "add.cast"}


def test_each_outcome_has_a_status_and_a_reason() -> None:
    counted = MethodStatistics(requests=dict.fromkeys(Outcome, 1))
    found = samples(server(version(methods={"sum": counted})), TEXT, "triton", "tfserving")
    for name in ("nv_inference_request_failure", ":tensorflow:serving:request_count"):
        of_ok = name.startswith(":")
        total = sum(number for (own, _), number in found.items() if own == name)
        assert total == len(Outcome) - (0 if of_ok else 1)
