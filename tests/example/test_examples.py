"""The commands of the READMEs, run as they stand there but for the ports, print what the READMEs say.

A block of bash or Python is run, and a block of text right after it is what it prints, with `...` for anything.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.distributed_scripts import free_ports
from tests.support.serving import REPOSITORY, RunningScript, free_port, running_script

EXAMPLES = (
    "tensor_add",
    "tensor_add_encrypted",
    "add_sub_pipeline",
    "matmul_multi_subgraphs",
    "pipeline_servable",
    "detect_and_classify",
    "incremental_inference",
    "matmul_distributed",
    "pipeline_distributed",
)
MADE = (
    *(
        "*.mindir",
        "*.onnx",
        "*.joblib",
        "characters.txt",
        "tokenizer.json",
        "settings.json",
        "types.json",
        "build",
    ),
    *("serving_logs", "__pycache__", "temp_rank_table"),
)
"""What scripts and servers leave in the folder of an example."""
LENET = "lenet/1/lenet.mindir"
COMMAND_TIMEOUT_S = 400
DEMO_TIMEOUT_S = 300

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("mindspore") is None, reason="MindSpore is not installed"),
    pytest.mark.timeout(400),
]


@dataclass(frozen=True)
class Block:
    """Something to run, and what it prints, if that is said."""

    language: str
    text: str
    output: str


@dataclass(frozen=True)
class Addresses:
    """Where a server listens in a test, instead of where the READMEs say."""

    grpc: str
    rest: str
    distributed: str
    agent_port: int

    @classmethod
    def free(cls) -> Addresses:
        """Addresses that nothing listens on."""
        grpc, rest, distributed = (f"127.0.0.1:{free_port()}" for _ in range(3))
        return cls(grpc, rest, distributed, free_ports(2))

    def put_into(self, text: str) -> str:
        """The text with these addresses."""
        text = text.replace("127.0.0.1:6200", self.distributed)
        return text.replace("127.0.0.1:5500", self.grpc).replace("127.0.0.1:1500", self.rest)

    def options_of(self, script: Path) -> list[str]:
        """These addresses as options of a script, as far as it has them."""
        options = (
            ("--grpc", self.grpc),
            ("--rest", self.rest),
            ("--distributed", self.distributed),
            ("--agent_port", str(self.agent_port)),
        )
        source = script.read_text()
        return [word for option in options if option[0] in source for word in option]


@pytest.fixture
def addresses() -> Addresses:
    return Addresses.free()


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """The examples as in a fresh clone, without exported models."""
    return copy_of_examples(REPOSITORY / "example", tmp_path / "example")


@pytest.fixture(scope="module")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model that the commands of the README of lenet have made, and served."""
    folder = copy_of_examples(REPOSITORY / "example" / "lenet", tmp_path_factory.mktemp("lenet") / "lenet")
    follow_readme(folder, Addresses.free())
    return folder / LENET


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory, lenet: Path) -> tuple[RunningScript, Path]:
    """`demo.py --check` in a clone that has LeNet already, at its end, and the folder of the examples."""
    folder = copy_of_examples(REPOSITORY / "example", tmp_path_factory.mktemp("demo") / "example")
    (folder / "lenet" / LENET).parent.mkdir(exist_ok=True)
    shutil.copy(lenet, folder / "lenet" / LENET)
    with running_script(folder / "demo.py", "--check") as demo:
        assert demo.wait(DEMO_TIMEOUT_S) == 0, demo.output
    return demo, folder


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", EXAMPLES)
def test_example_as_its_readme_says(examples: Path, addresses: Addresses, name: str) -> None:
    follow_readme(examples / name, addresses)


@pytest.mark.timeout(900)
def test_lenet_as_its_readme_says(lenet: Path) -> None:
    assert lenet.is_file()


def test_what_the_main_readme_types(examples: Path, addresses: Addresses) -> None:
    readme = (REPOSITORY / "README.md").read_text()
    sections = (
        readme.split(f"## {title}\n")[1] for title in ("Three things to type", "Everybody's client works")
    )
    start_script, *calls = (block for section in sections for block in blocks_of(section.split("\n## ")[0]))
    folder = examples / "tensor_add"
    run("python export_model/add_model.py", folder)
    (folder / "start.py").write_text(addresses.put_into(start_script.text))
    with running_script(folder / "start.py") as server:
        server.wait_for_line("RESTful server start success")
        for call in calls:
            line = addresses.put_into(call.text)
            if call.language == "python":
                (folder / "client.py").write_text(line)
                line = "python client.py"
            assert_output(run(line, folder), call.output)


def test_demo_check_exports_what_is_missing_serves_and_compares(checked: tuple[RunningScript, Path]) -> None:
    demo, _ = checked
    for text in (
        "Exporting the Add model",
        "gRPC lenet.predict",
        "Unix socket add.add_cast",
    ):
        assert text in demo.output
    assert "Exporting LeNet" not in demo.output
    assert "WRONG" not in demo.output
    assert re.search(r"^==> All 9 replies were right", demo.output, re.MULTILINE)


def test_demo_check_leaves_models_and_logs_only(checked: tuple[RunningScript, Path], examples: Path) -> None:
    logs = {
        f"serving_logs/log_{copy}_version1.log" for copy in ("add_device0", "add_device1", "lenet_device2")
    }
    models = {"tensor_add/add/1/tensor_add.mindir", "lenet/lenet/1/lenet.mindir"}
    assert files_in(checked[1]) - files_in(examples) == logs | models


def test_demo_check_fails_for_a_wrong_reply(checked: tuple[RunningScript, Path], tmp_path: Path) -> None:
    folder = tmp_path / "example"
    shutil.copytree(checked[1], folder)
    config = folder / "tensor_add" / "add" / "servable_config.py"
    config.write_text(config.read_text().replace("return x1.astype", "return 1 + x1.astype"))
    with running_script(folder / "demo.py", "--check") as demo:
        assert demo.wait(DEMO_TIMEOUT_S) == 1, demo.output
    assert "Exporting" not in demo.output
    assert "3 of 9 replies were wrong: gRPC add.add_cast, REST POST" in demo.output


def test_demo_says_what_to_do_about_a_busy_port(examples: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        address = f"127.0.0.1:{busy.getsockname()[1]}"
        with running_script(examples / "demo.py", "--grpc", address) as demo:
            assert demo.wait() == 1
    assert f"cannot listen on {address}" in demo.output
    assert "choose other addresses" in demo.output
    assert "Traceback" not in demo.output


def test_demo_serves_until_ctrl_c(checked: tuple[RunningScript, Path], addresses: Addresses) -> None:
    _, folder = checked
    with running_script(folder / "demo.py", "--grpc", addresses.grpc, "--rest", addresses.rest) as demo:
        demo.wait_for_line("Press Ctrl+C to stop")
        curls = [line for line in demo.lines if line.startswith("curl ")]
        assert [run(curl.replace("curl", "curl -sS", 1), folder) for curl in curls] == [
            '{"instances":[{"y":[[2.0,3.0],[4.0,5.0]]}]}',
            '{"instances":[{"label":7}]}',
        ]
        demo.signal(2)
        assert demo.wait() == 0
        assert not demo.workers()


def follow_readme(folder: Path, addresses: Addresses) -> dict[str, str]:
    """Run the commands of an example's README, its servers until the end; returns what each other command printed."""
    running: list[RunningScript] = []
    printed: dict[str, str] = {}
    with contextlib.ExitStack() as scripts:
        for block in blocks_of((folder / "README.md").read_text()):
            script = folder / block.text.split()[1]
            if script.name in ("serving_server.py", "serving_agent.py"):
                running.append(scripts.enter_context(running_script(script, *addresses.options_of(script))))
                wait_for_output(running[-1], addresses.put_into(block.output))
            else:
                if running:  # a distributed server opens its front ends when its agents are ready
                    running[0].wait_for_line("gRPC server start success")
                options = addresses.options_of(script) if script.is_file() else []
                command = block.text.strip()
                printed[command] = run(" ".join([addresses.put_into(command), *options]), folder)
                assert_output(printed[command], block.output)
    return printed


def copy_of_examples(source: Path, target: Path) -> Path:
    made = shutil.ignore_patterns(*MADE)
    shutil.copytree(source, target, ignore=made)
    return target


def files_in(folder: Path) -> set[str]:
    """Paths of all files but Python's caches."""
    files = (path for path in folder.rglob("*") if not path.is_dir() and path.parent.name != "__pycache__")
    return {str(path.relative_to(folder)) for path in files}


def blocks_of(markdown: str) -> Iterator[Block]:
    fences = list(re.finditer(r"^```(\w+)\n(.*?)^```\n?", markdown, re.MULTILINE | re.DOTALL))
    for i, fence in enumerate(fences):
        if fence[1] in ("bash", "python"):
            follows = (
                i + 1 < len(fences) and fences[i + 1].start() == fence.end() and fences[i + 1][1] == "text"
            )
            yield Block(fence[1], fence[2], fences[i + 1][2] if follows else "")


def run(command: str, folder: Path, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
    """Run a line of shell with this Python as `python`, and return what it prints."""
    if command.startswith(("curl", "bash v1_client.sh")) and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


def wait_for_output(server: RunningScript, expected: str) -> None:
    """Wait until the last of the expected lines has been printed, and compare all."""
    server.wait_for_line(expected.splitlines()[-1])
    assert_output(server.output, expected)


def assert_output(printed: str, expected: str) -> None:
    """Every expected line was printed, in order; other lines may stand between, as progress does."""
    lines = iter(re.split(r"[\r\n]", printed))
    for line in expected.splitlines():
        pattern = ".*".join(re.escape(part) for part in line.split("..."))
        assert any(re.fullmatch(pattern, other.rstrip()) for other in lines), f"{line!r} not in:\n{printed}"
