"""Draws the pictures of docs/architecture.md from the package as it is.

    .venv/bin/python docs/images/draw.py

Which modules a request passes, and which process begins where, is written here. What each of them does is the first
line of its docstring, and which rooms a process loads is what its first module imports.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import wrap

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parents[1] / "mindspore_serving"
WIDTH = 860
_MARGIN = 20
_LINE = 17
_LETTER = 6.7
"""Width of a letter of the text, in pixels, rounded up."""
_COLUMN = 240
"""Width of the column with the names of modules."""

COLOURS = {
    "transport": "#dbe9f6",
    "dialect": "#e2f0d9",
    "dispatch": "#fff2cc",
    "channel": "#eeeeee",
    "worker": "#fbe5d6",
    "backend": "#ead7ee",
}
"""By room; rooms without an entry are white."""


@dataclass(frozen=True)
class Part:
    """A part of the way of a request.

    Attributes:
        title: What stands above its modules.
        modules: Files in the order in which a request passes them, relative to `server/`.
    """

    title: str
    modules: tuple[str, ...]


WAY = (
    Part(
        "main process: a transport reads a request, a dialect says what it asks for",
        (
            "transport/http/connection.py",
            "transport/http/answering.py",
            "transport/grpc/calls.py",
            "transport/routes.py",
            "dialect/native/rest.py",
            "dialect/native/predict.py",
            "dialect/open_inference/inference.py",
            "dialect/kserve_v1/predict.py",
        ),
    ),
    Part(
        "main process: from a request to a batch",
        (
            "dispatch/dispatcher.py",
            "dispatch/request.py",
            "dispatch/pump.py",
            "dispatch/queue_policy.py",
            "dispatch/copy.py",
        ),
    ),
    Part("between processes", ("channel/messages.py", "channel/frames.py", "channel/memory.py")),
    Part(
        "worker process: through the stages of the method",
        (
            "worker/serving_loop.py",
            "worker/engine.py",
            "worker/scheduling.py",
            "worker/stage_functions.py",
            "worker/model_runner.py",
            "backend/contract.py",
        ),
    ),
)
BACK = "results go back to the same Request, whose future the front end waits for"


@dataclass(frozen=True)
class Process:
    """A kind of process.

    Attributes:
        title: What it is called.
        starter: Who starts it.
        first: Its first module, relative to `server/`.
    """

    title: str
    starter: str
    first: str


PROCESSES = (
    Process("main process", "the script of the user", "start/server.py"),
    Process("worker, one per servable, version and device", "main", "worker/process.py"),
    Process("reader of large bodies", "main, at the first large body", "transport/http/body_process.py"),
    Process("distributed worker", "main", "distributed/worker_process.py"),
    Process("agent, one per rank", "startup_agents, on each machine", "distributed/agent.py"),
)


def main() -> None:
    """Write the pictures beside this file."""
    for name, picture in pictures().items():
        (HERE / name).write_text(picture, encoding="utf-8")
        print(f"docs/images/{name}")


def pictures() -> dict[str, str]:
    """File name to SVG."""
    return {"way_of_a_request.svg": way_of_a_request(), "processes.svg": processes()}


def way_of_a_request() -> str:
    """The modules that a request passes, from top to bottom."""
    canvas = Canvas()
    for number, part in enumerate(WAY):
        if number:
            canvas.arrow()
        canvas.box(part.title, [(module, first_line(module)) for module in part.modules])
    canvas.arrow(up=True, text=BACK)
    return canvas.picture("The way of a request")


def processes() -> str:
    """What each process begins with, and which rooms it loads."""
    canvas = Canvas()
    for process in PROCESSES:
        rooms = sorted({room for module in loaded(process.first) if (room := room_of(module))})
        lines = [
            (process.first, first_line(process.first)),
            ("started by", process.starter),
            ("loads", ", ".join(rooms)),
        ]
        canvas.box(process.title, lines)
    return canvas.picture("Processes")


def first_line(module: str) -> str:
    """The first sentence of the docstring of a module.

    Raises:
        FileNotFoundError: There is no such module.
    """
    text = ast.get_docstring(ast.parse((PACKAGE / "server" / module).read_text())) or ""
    return text.partition("\n\n")[0].replace("\n", " ")


def loaded(module: str) -> set[str]:
    """Files that a module of `server/` imports, and those that they import, relative to the package."""
    found: set[str] = set()
    waiting = [PACKAGE / "server" / module]
    while waiting:
        path = waiting.pop()
        name = str(path.relative_to(PACKAGE))
        if name not in found:
            found.add(name)
            waiting += imported(path)
    return found


def imported(path: Path) -> Iterator[Path]:
    """Files of the package that a file imports outside of functions and for more than its types."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE.name):
            for name in [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]:
                place = PACKAGE.parent / str(name).replace(".", "/")
                if place.with_suffix(".py").is_file():
                    yield place.with_suffix(".py")


def room_of(module: str) -> str:
    """The room of `server/` that a file lies in; empty for others."""
    parts = Path(module).parts
    return parts[1] if parts[0] == "server" and len(parts) > 2 else ""


class Canvas:
    """Boxes below each other."""

    def __init__(self) -> None:
        self._shapes: list[str] = []
        self._y = _MARGIN

    def box(self, title: str, lines: Sequence[tuple[str, str]]) -> None:
        """Draw a box.

        Args:
            title: Its first line.
            lines: Name and text of each further line; a module has the colour of its room.
        """
        rows = [(name, list(_wrapped(text))) for name, text in lines]
        height = _LINE * (2 + sum(len(texts) for _, texts in rows)) + 3 * len(rows)
        self._rectangle(_MARGIN, self._y, WIDTH - 2 * _MARGIN, height, "#fafafa")
        self._text(_MARGIN + 10, self._y + _LINE, title, bold=True)
        y = self._y + _LINE + 8
        for name, texts in rows:
            colour = COLOURS.get(name.partition("/")[0], "#ffffff")
            self._rectangle(_MARGIN + 8, y, WIDTH - 2 * _MARGIN - 16, _LINE * len(texts) + 1, colour)
            self._text(_MARGIN + 16, y + _LINE - 4, name)
            for text in texts:
                y += _LINE
                self._text(_MARGIN + 16 + _COLUMN, y - 4, text)
            y += 3
        self._y += height + 10

    def arrow(self, *, up: bool = False, text: str = "") -> None:
        """Draw an arrow to the next box, or one that points back up."""
        x, top, end = WIDTH // 2, self._y - 8, self._y + 16
        tip, base = (top, top + 8) if up else (end, end - 8)
        self._shapes.append(
            f'<path d="M{x} {top}V{end}M{x - 5} {base}L{x} {tip}L{x + 5} {base}" fill="none" stroke="#555"/>'
        )
        if text:
            self._text(_MARGIN + 10, end + _LINE, text)
            self._y += _LINE
        self._y += 20

    def picture(self, title: str) -> str:
        """All of it as SVG."""
        height = self._y + 10
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
            f' font-family="sans-serif" font-size="12">\n<title>{escape(title)}</title>\n'
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n'
            + "\n".join(self._shapes)
            + "\n</svg>\n"
        )

    def _rectangle(self, x: int, y: int, width: int, height: int, fill: str) -> None:
        self._shapes.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" fill="{fill}" stroke="#999"/>'
        )

    def _text(self, x: int, y: int, text: str, *, bold: bool = False) -> None:
        weight = ' font-weight="bold"' if bold else ""
        self._shapes.append(f'<text x="{x}" y="{y}"{weight} fill="#222">{escape(text)}</text>')


def _wrapped(text: str) -> Iterable[str]:
    return wrap(text, int((WIDTH - 2 * _MARGIN - 32 - _COLUMN) / _LETTER))


if __name__ == "__main__":
    main()
