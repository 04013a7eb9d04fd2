"""The board and the alerts of deploy/, asked of a real Prometheus that scrapes a real server under load."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.http_requests import send
from tests.support.serving import REPOSITORY, RunningServer, add_servable, free_port, serving
from tests.support.watch import wait_until

RULES = REPOSITORY / "deploy" / "prometheus" / "alerts.yml"
BOARD = REPOSITORY / "deploy" / "grafana" / "mindspore-serving.json"
LIMIT_S = 60.0
SERVABLE = """\
import time

from mindspore_serving.server import register

model = register.declare_model("tensor_add.mindir", "MindIR")


def sleep(x):
    time.sleep(0.2)
    return x


def failing(x):
    raise RuntimeError("on purpose")


@register.register_method(output_names=["y"])
def add(x1, x2):
    return register.add_stage(model, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def slow(x):
    return register.add_stage(sleep, x, outputs_count=1)


@register.register_method(output_names=["y"])
def fail(x):
    return register.add_stage(failing, x, outputs_count=1)
"""
ROW = {"x1": [1.0, 2.0], "x2": [3.0, 4.0]}
needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="prometheus and promtool are not installed: apt-get install -y prometheus",
)


def alerts() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    return list(group["rules"])


def compared(expression: str) -> str:
    """What an alert compares with its threshold."""
    found = re.fullmatch(r"(.*?)\s*(?:==|>)\s*[\d.]+\s*", expression, re.DOTALL)
    assert found is not None, expression
    return found[1]


def panels() -> dict[str, str]:
    """The queries of the board, with the variables as they are for all servers, by what they are for."""
    board = json.loads(BOARD.read_text())
    found = {}
    for panel in board["panels"]:
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", "10s").replace("$instance", ".*")
            query = query.replace("$servable", ".*")
            assert "$" not in query
            found[f"{panel['title']} {target['refId']}"] = query
    return found


class Load:
    """Clients that ask in every way: what goes well, what fails, what is refused, and what does not exist."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self._ended = threading.Event()

    def run(self) -> None:
        with ThreadPoolExecutor(6) as pool:
            while not self._ended.wait(0.05):
                asked = [pool.submit(self._ask, "slow", {"x": 1}) for _ in range(6)]
                for answer in asked:
                    answer.result()
                self._ask("add", ROW)
                self._ask("fail", {"x": 1})
                self._ask("nothing", {"x": 1})

    def _ask(self, method: str, instance: Mapping[str, Any]) -> None:
        send(self._server.rest, "POST", f"/model/net:{method}", {"instances": [instance]})

    def stop(self) -> None:
        self._ended.set()


@contextlib.contextmanager
def prometheus(folder: Path, target: str) -> Iterator[str]:
    """A Prometheus with the rules, which scrapes a server each second; gives its address."""
    address = f"127.0.0.1:{free_port()}"
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "mindspore-serving", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    with (folder / "prometheus.log").open("w") as output:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=output,
            stderr=output,
        )
    try:
        yield address
    finally:
        process.terminate()
        process.wait(LIMIT_S)


def asked(address: str, path: str, **parameters: str) -> Any:
    url = f"http://{address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.urlopen(url, timeout=LIMIT_S) as reply:
            return json.loads(reply.read())["data"]
    except ConnectionError:  # it has only begun
        return None
    except urllib.error.HTTPError as error:
        if error.code == 503:
            return None
        raise AssertionError(f"{parameters}: {error.read()!r}") from error
    except urllib.error.URLError as error:
        assert isinstance(error.reason, ConnectionError), error
        return None


@needs_prometheus
def test_each_panel_and_each_alert_has_data_of_a_server_under_load(tmp_path: Path) -> None:
    add_servable(tmp_path, "net", SERVABLE)
    settings = "server.master.context.set_max_enqueued_requests(3)"
    with serving(tmp_path, ['".", "net", device_ids=0'], settings=settings) as server:
        load = Load(server)
        clients = threading.Thread(target=load.run)
        clients.start()
        try:
            with prometheus(tmp_path, server.rest) as address:
                _check(address)
        finally:
            load.stop()
            clients.join()
        scrape = send(server.rest, "GET", "/metrics")
    lint = subprocess.run(
        ["promtool", "check", "metrics"], input=scrape.body, capture_output=True, timeout=LIMIT_S
    )
    assert (lint.returncode, lint.stdout, lint.stderr) == (0, b"", b"")


def _check(address: str) -> None:
    wanted = panels() | {alert["alert"]: compared(alert["expr"]) for alert in alerts()}
    without = dict(wanted)

    def all_have_data() -> bool:
        for name, query in list(without.items()):
            found = asked(address, "query", query=query)
            if found is None or not any(sample["value"][1] != "NaN" for sample in found["result"]):
                return False
            del without[name]
        return True

    try:
        wait_until(all_have_data, "each query has data", LIMIT_S)
    finally:
        print(f"without data: {without}")
    [group] = asked(address, "rules")["groups"]
    assert [rule["name"] for rule in group["rules"]] == [alert["alert"] for alert in alerts()]
    assert {rule["health"] for rule in group["rules"]} <= {"ok", "unknown"}
    assert [target["health"] for target in asked(address, "targets")["activeTargets"]] == ["up"]


FIRING: dict[str, dict[str, str]] = {
    "ServingDown": {'up{job="mindspore-serving"}': "0x10"},
    "ServingNotReady": {"serving_ready": "0x10"},
    "ServingVersionNotReady": {'serving_version_ready{servable="a",version="1"}': "0x10"},
    "ServingErrors": {
        'serving_requests_total{servable="a",outcome="ok"}': "0+90x20",
        'serving_requests_total{servable="a",outcome="stage_failed"}': "0+10x20",
    },
    "ServingQueueDominates": {
        'serving_phase_duration_seconds_sum{servable="a",method="m",phase="queue"}': "0+8x30",
        'serving_phase_duration_seconds_sum{servable="a",method="m",phase="total"}': "0+10x30",
    },
    "ServingQueueNearlyFull": {
        "serving_pending_requests": "90x10",
        "serving_limit_pending_requests": "100x10",
    },
    "ServingRefusesRequests": {'serving_refused_requests_total{reason="requests"}': "0+1x20"},
    "ServingWorkerRestarts": {'serving_worker_restarts_total{worker="w"}': "0+1x20"},
    "ServingWorkerMemoryGrows": {'serving_worker_memory_bytes{worker="w"}': "0+10000000x300"},
    "ServingMemoryGrows": {"serving_memory_bytes": "0+10000000x300"},
    "ServingConnectionsNearlyUsedUp": {
        'serving_connections{kind="rest"}': "95x20",
        'serving_limit_connections{kind="rest"}': "100x20",
    },
}
CALM = {
    'up{job="mindspore-serving"}': "1x300",
    "serving_ready": "1x300",
    'serving_version_ready{servable="a",version="1"}': "1x300",
    'serving_requests_total{servable="a",outcome="ok"}': "0+70x300",
    'serving_requests_total{servable="a",outcome="invalid"}': "0+20x300",
    'serving_requests_total{servable="a",outcome="cancelled"}': "0+10x300",
    'serving_phase_duration_seconds_sum{servable="a",method="m",phase="queue"}': "0+5x300",
    'serving_phase_duration_seconds_sum{servable="a",method="m",phase="total"}': "0+10x300",
    "serving_pending_requests": "50x300",
    "serving_limit_pending_requests": "100x300",
    'serving_refused_requests_total{reason="unknown_target"}': "0+9x300",
    'serving_refused_requests_total{reason="requests"}': "7x300",
    'serving_worker_restarts_total{worker="w"}': "1x300",
    'serving_worker_memory_bytes{worker="w"}': "0+1000000x300",
    "serving_memory_bytes": "0+1000000x300",
    'serving_connections{kind="rest"}': "50x300",
    'serving_limit_connections{kind="rest"}': "100x300",
}


@needs_prometheus
def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    assert list(FIRING) == [alert["alert"] for alert in alerts()]
    cases = [(series, [name]) for name, series in FIRING.items()] + [(CALM, [])]
    tests = []
    for series, names in cases:
        longest = max(int(values.rpartition("x")[2]) for values in series.values())
        firing = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in names]
        tests.append(
            {
                "interval": "1m",
                "input_series": [{"series": key, "values": values} for key, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                        "eval_time": f"{longest}m",
                        "exp_samples": firing,
                    }
                ],
            }
        )
    document = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(document))
    for command in (["check", "rules", str(RULES)], ["test", "rules", str(tmp_path / "rules.yml")]):
        ran = subprocess.run(["promtool", *command], capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "lint" not in ran.stdout + ran.stderr


def test_each_metric_of_the_board_and_the_alerts_has_a_sample_name_of_ours() -> None:
    queries = [*panels().values(), *(alert["expr"] for alert in alerts())]
    names = {name for query in queries for name in re.findall(r"\b(?:serving|process)_\w+", query)}
    assert len(names) > 20
    documented = (REPOSITORY / "docs" / "metrics.md").read_text()
    missing = {name for name in names if re.sub("_(bucket|sum|count)$", "", name) not in documented}
    assert missing == set()
