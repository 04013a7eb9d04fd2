"""The pages in docs/: their examples run and print what the pages say, and the names in their tables are there.

A block of Python whose first line is a comment with a path is that file; any other block of Python or bash is run, and
a block of text right after it is what it prints, with `...` for anything. A script that starts a server, and
`mindspore-serving serve`, goes on until the end of the page, or until the page starts another one for clients.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import importlib
import importlib.util
import inspect
import json
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mindspore_serving.lite.installation import HOW_TO_BUILD, find_library
from tests.example.test_examples import Block, assert_output, blocks_of, run, wait_for_output
from tests.support.distributed_scripts import free_ports
from tests.support.serving import REPOSITORY, RunningScript, free_port, running_script

DOCS = REPOSITORY / "docs"
PAGES = sorted(page.name for page in DOCS.glob("*.md") if any(blocks_of(page.read_text())))
COMMAND = Path(sys.executable).with_name("mindspore-serving")
PAGE_TIMEOUT_S = 600
TABLES = ("coming-from-1.2.md", "coming-from-1.3.md", "coming-from-2.x.md")
PORTS = ("5500", "1500", "6100", "6200", "7000", "1600")
"""Ports in the pages; in a test each stands for one that is free."""
REST_PORT = PORTS[1]
AGENT_PORT = PORTS[4]
NOT_THERE = "Not there yet"

_STARTS_A_SERVER = re.compile(
    r"start_servables?\(|start_master_server\(|start_servable_in_master\(|startup_agents\("
)
_OLD_NAMES = re.compile(r"^\| old name \|.*\n\|[ -|]*\n((?:\|.*\n)+)", re.MULTILINE)
_NAME = re.compile(r"`([\w.]+)(?:\(([^`]*)\))?`")


class Page:
    """A page whose blocks are run one after the other in a folder of its own.

    Args:
        folder: The folder.
        environment: Takes what the page exports.
    """

    def __init__(self, folder: Path, environment: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._environment = environment
        # Agents take neighbouring ports from the one that they are given.
        self._ports = {port: str(free_ports(2) if port == AGENT_PORT else free_port()) for port in PORTS}
        self._servers: list[RunningScript] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, block: Block) -> None:
        """Write the file that a block is, or run it and compare what it prints."""
        text, output = self._with_free_ports(block.text), self._with_free_ports(block.output)
        path = re.match(r"# ([\w./-]+\.py)$", text.splitlines()[0]) if block.language == "python" else None
        if path:
            file = self._folder / path[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        elif block.language == "python":
            (self._folder / "snippet.py").write_text(text)
            assert_output(run("python snippet.py", self._folder), output)
        else:
            if "mindspore_serving.lite" in text and find_library() is None:
                pytest.skip(f"MindSpore Lite is not built: {HOW_TO_BUILD}")
            script = self._server_script(text)
            if script:
                self._start(script, output)
            elif text.startswith("mindspore-serving serve ") and "--print-" not in text:
                self._serve(text.split()[1:], output)
            else:
                self._export(text)
                if text.startswith("openssl") and shutil.which("openssl") is None:
                    pytest.skip("openssl is not installed")
                assert_output(run(text, self._folder), output)

    def post(self, path: str, body: str) -> tuple[int, str]:
        """HTTP status and body of the reply of the REST server that runs."""
        connection = http.client.HTTPConnection("127.0.0.1", int(self._ports[REST_PORT]), timeout=30)
        with contextlib.closing(connection):
            connection.request("POST", path, body.encode())
            reply = connection.getresponse()
            return reply.status, reply.read().decode()

    def _export(self, commands: str) -> None:
        """Keep what a block exports, as the terminal of a reader does."""
        for line in re.findall(r"^export (.*)$", commands, re.MULTILINE):
            for variable, value in re.findall(r"(\w+)=(\S+)", line):
                self._environment.setenv(variable, value)

    def _server_script(self, command: str) -> Path | None:
        words = command.split()
        script = self._folder / words[-1]
        is_script = words[:-1] == ["python"] and script.is_file()
        return script if is_script and _STARTS_A_SERVER.search(script.read_text()) else None

    def _start(self, script: Path, output: str) -> None:
        if self._listens_for_clients(script):
            self._stop_servers()
        server = self._stack.enter_context(running_script(script))
        self._servers.append(server)
        wait_for_output(server, output)

    def _serve(self, arguments: list[str], output: str) -> None:
        """`mindspore-serving serve`, at the ports of the page; other verbs ask there, as they do without options."""
        self._stop_servers()
        grpc, rest = (f"127.0.0.1:{self._ports[port]}" for port in PORTS[:2])
        self._environment.setenv("SERVING_URL", rest)
        words = [*arguments, "--grpc", grpc, "--rest", rest]
        server = self._stack.enter_context(running_script(COMMAND, *words, folder=self._folder))
        self._servers.append(server)
        wait_for_output(server, output)

    def _stop_servers(self) -> None:
        for server in self._servers:
            server.signal(signal.SIGINT)
            server.wait()
        self._servers.clear()

    def _listens_for_clients(self, script: Path) -> bool:
        return any(self._ports[port] in script.read_text() for port in PORTS[:2])

    def _with_free_ports(self, text: str) -> str:
        return re.sub(rf"\b({'|'.join(PORTS)})\b", lambda found: self._ports[found[0]], text)


@pytest.mark.timeout(PAGE_TIMEOUT_S)
@pytest.mark.parametrize("name", PAGES)
def test_page_as_it_says(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "import mindspore as" in (DOCS / name).read_text() and importlib.util.find_spec("mindspore") is None:
        pytest.skip("MindSpore is not installed")
    with Page(tmp_path, monkeypatch) as page:
        for block in blocks_of((DOCS / name).read_text()):
            page.run(block)


def test_rest_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (DOCS / "rest.md").read_text()
    with Page(tmp_path, monkeypatch) as page:
        for block in blocks_of(text.split("## Request")[0]):
            page.run(block)
        for value, _, reply in rows_under("| value | tensor | reply |", text):
            body = f'{{"instances": [{{"x": {value}}}]}}'
            assert page.post("/model/add:echo", body) == (200, f'{{"instances":[{{"y":{reply}}}]}}'), value
        for value, error in rows_under("| value | error |", text):
            body = f'{{"instances": [{{"x": {value}}}]}}'
            assert_error(page.post("/model/add:echo", body), 400, f"Parser request failed, {error}")
        for body, status, error in rows_under("| body | status | error |", text):
            assert_error(page.post("/model/add:echo", body.replace("(empty)", "")), int(status), error)
        for path, status, error in rows_under("| path | status | error |", text):
            assert_error(page.post(path, '{"instances": [{"x": 1}]}'), int(status), error)


def rows_under(header: str, text: str) -> list[list[str]]:
    """The cells of all tables that have this header, without backticks."""
    tables = re.findall(re.escape(header) + r"\n\|[ -|]*\n((?:\|.*\n)+)", text)
    rows = [line.strip("| ").split(" | ") for line in "".join(tables).splitlines()]
    assert rows
    return [[cell.strip("`") for cell in row] for row in rows]


def assert_error(reply: tuple[int, str], status: int, error: str) -> None:
    """The reply has this status and error text, in which `...` stands for anything at the end."""
    assert reply[0] == status, reply
    text = json.loads(reply[1])["error_msg"]
    assert text.startswith(error[:-3]) if error.endswith("...") else text == error


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="MkDocs is not installed")
def test_site_is_built_without_warnings(tmp_path: Path) -> None:
    run(f"NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict --quiet --site-dir {tmp_path}", REPOSITORY)
    assert "mindspore_serving.server.start_servables" in (tmp_path / "api" / "server.html").read_text()


@pytest.mark.parametrize("page", TABLES)
def test_every_old_name_is_there_or_said_not_to_be(page: str) -> None:
    rows = list(old_names(page))
    assert len(rows) > 10
    for name, parameters, is_there in rows:
        found = find(name)
        assert (found is not None) == is_there, (
            f"{name}: {'not ' * (found is None)}found, the page says otherwise"
        )
        if found is not None and parameters:
            now = list(inspect.signature(found).parameters)
            assert [p for p in parameters if p in now] == parameters, f"{name} has the parameters {now}"


def old_names(page: str) -> Iterator[tuple[str, list[str], bool]]:
    """(name, its parameters as far as the page has them, whether it is said to be there) of each row."""
    tables = _OLD_NAMES.findall((DOCS / page).read_text())
    assert tables
    for row in "".join(tables).splitlines():
        names, meaning = row.strip("| ").split(" | ", 1)
        for name, parameters in _NAME.findall(names):
            listed = [part.split("=")[0].strip(" *") for part in parameters.split(",")]
            yield name, [part for part in listed if part.isidentifier()], NOT_THERE not in meaning


def attribute(owner: object, name: str) -> object | None:
    """An attribute; a field that a dataclass has without a default is one of its objects alone."""
    if isinstance(owner, type) and dataclasses.is_dataclass(owner):
        found = {field.name: field for field in dataclasses.fields(owner)}.get(name)
        if found is not None:
            return found
    return getattr(owner, name, None)


def find(name: str) -> object | None:
    """What a name below `mindspore_serving` stands for; None where there is no such thing."""
    parts = name.split(".")
    for end in range(len(parts), -1, -1):
        try:
            found: object = importlib.import_module(".".join(["mindspore_serving", *parts[:end]]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = attribute(found, part)
        return found
    return None
