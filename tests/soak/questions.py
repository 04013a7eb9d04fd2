"""Requests whose replies are known: values are functions of the request, and no two requests have the same values."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from tests.soak.servables import LATE_TEXT, POISON_TEXT, SERVABLES

Values: TypeAlias = "dict[str, Any]"

NUMBERS = [
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
]
_AFFINE = ("affine", "affine_batch", "reused", "reused_batch")
_PROCESS_SPAN = 1 << 40
_INT32_SPAN = 1 << 24
"""Of int32, whose numbers begin again from time to time."""
_LARGEST_REQUEST_BYTES = 8 << 20


@dataclass(frozen=True)
class Fails:
    """An instance that must be answered with an error whose text ends with this one."""

    text: str


@dataclass(frozen=True)
class Question:
    """A request, and what must come back.

    Attributes:
        servable: Name of the servable.
        method: Name of the method.
        instances: Input name to value: array, text or bytes.
        expected: By instance, output name to value, or the error.
    """

    servable: str
    method: str
    instances: list[Values]
    expected: list[Values | Fails]

    @property
    def may_be_away(self) -> bool:
        """Whether it may be refused because the only worker is being started again."""
        return SERVABLES[self.servable].may_be_away

    def __str__(self) -> str:
        first = ", ".join(f"{name}={_short(value)}" for name, value in self.instances[0].items())
        return f"{self.servable}.{self.method}, {len(self.instances)} instances, the first {first}"


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)} {value.ravel()[:3]!s}"
    return f"{value!r:.40}"


class Author:
    """Writes requests.

    Args:
        draw: Source of all choices.
        process: A number that no other author of the test has, 0 to 63.
    """

    def __init__(self, draw: random.Random, process: int) -> None:
        self._draw = draw
        self._process = process
        self._numbers = itertools.count(process * _PROCESS_SPAN)
        self._arrays = np.random.default_rng(draw.getrandbits(32))

    def any(self) -> Question:
        """A request of any kind that ends no worker."""
        writers: list[tuple[int, Callable[[], Question]]] = [
            (8, self.numbers),
            (5, self.echo),
            (2, self.large),
            (5, self.picky),
            (1, self.slow),
            (5, self.steps),
            (3, self.deadly),
            (3, self.endless),
            (4, self.rows),
        ]
        weights, functions = zip(*writers, strict=True)
        question: Question = self._draw.choices(functions, weights)[0]()
        return question

    def one_of_each(self) -> list[Question]:
        """A request to every method of every servable."""
        found = [self.numbers(name, method) for name in ("plain", "copies") for method in _AFFINE]
        for name in ("plain", "copies"):
            found += [self.echo(name, "echo"), self.echo(name, "identity"), self.slow(name)]
            found += [self.picky(name, "picky"), self.picky(name, "picky_batch")]
        found += [self.steps(method) for method in ("add", "add_twice", "three_stages", "add_three_times")]
        found += [self.deadly("die"), self.deadly("die_batch")]
        return [*found, self.endless("wait"), self.endless("wait_batch"), *self.rows_of_each()]

    def numbers(self, servable: str = "", method: str = "") -> Question:
        """Single numbers, up to thousands of them."""
        method = method or self._draw.choice(_AFFINE)
        return self._affine(servable or self._servable(), method, self._count(4000))

    def rows(self, servable: str = "", method: str = "") -> Question:
        """Rows for dialects that have tensors: of a method with types, or of a model."""
        method = method or self._draw.choices(["rows", "rows_picky", "add"], [3, 1, 2])[0]
        if method == "add":
            return self.steps("add")
        servable = servable or self._servable()
        if method == "rows_picky":
            return self._some_marked(self._affine(servable, method, self._count(200), np.int64))
        return self._affine(servable, method, self._count(2000), np.int64)

    def rows_of_each(self) -> list[Question]:
        """A request to each method that has rows."""
        found = [self.rows(name, method) for name in ("plain", "copies") for method in ("rows", "rows_picky")]
        return [*found, self.rows(method="add")]

    def slow(self, servable: str = "") -> Question:
        """A method that takes 20 ms per instance."""
        return self._affine(servable or "copies", "slow", self._draw.randint(1, 3))

    def deadly(self, method: str = "") -> Question:
        """Harmless instances for the servable that ends at others."""
        return self._affine("deadly", method or self._draw.choice(["die", "die_batch"]), self._count(100))

    def poison(self) -> Question:
        """One instance that ends each worker it meets, among harmless ones."""
        return self._with_one_marked(self.deadly(), POISON_TEXT)

    def endless(self, method: str = "") -> Question:
        """Harmless instances for the servable whose calls do not end for others."""
        method = method or self._draw.choice(["wait", "wait_batch"])
        return self._affine("endless", method, self._count(100))

    def hanging(self) -> Question:
        """One instance for which no call ends, among harmless ones."""
        return self._with_one_marked(self.endless(), LATE_TEXT)

    def _with_one_marked(self, question: Question, error: str) -> Question:
        at = self._draw.randrange(len(question.instances))
        question.instances[at] = {"x": np.array(-self._number(np.dtype(np.int64)) - 1)}
        question.expected[at] = Fails(error)
        return question

    def picky(self, servable: str = "", method: str = "") -> Question:
        """Numbers of which some are refused, each with an error of its own."""
        method = method or self._draw.choice(["picky", "picky_batch"])
        return self._some_marked(self._affine(servable or self._servable(), method, self._count(200)))

    def _some_marked(self, question: Question) -> Question:
        share = self._draw.choice([0.1, 0.5, 1.0])
        for i, instance in enumerate(question.instances):
            if self._draw.random() < share:
                marked = np.array(-instance["x"] - 1)
                question.instances[i] = {"x": marked}
                question.expected[i] = Fails(f"error msg: marked {marked}")
        return question

    def _affine(self, servable: str, method: str, count: int, of: Any = None) -> Question:
        dtype = np.dtype(of or self._draw.choice([np.int32, np.int64]))
        numbers = [self._number(dtype) for _ in range(count)]
        answers: list[Values | Fails] = [{"y": np.array(x * 2 + 1)} for x in numbers]
        return Question(servable, method, [{"x": x} for x in numbers], answers)

    def echo(self, servable: str = "", method: str = "") -> Question:
        """Values of all types and many shapes, which come back as they are."""
        method = method or self._draw.choice(["echo", "identity"])
        count = self._count(300)
        write = self._draw.choice([self._array, self._array, self._text, self._bytes])
        values = [write() for _ in range(count)]
        return self._returned(servable or self._servable(), method, values)

    def large(self) -> Question:
        """A few values of up to some MB."""
        size = int(10 ** self._draw.uniform(4, 6.6))
        count = max(1, min(self._draw.randint(1, 4), _LARGEST_REQUEST_BYTES // size))
        write = self._draw.choice([self._large_array, self._bytes, self._text])
        values = [write(size) for _ in range(count)]
        return self._returned(self._servable(), self._draw.choice(["echo", "identity"]), values)

    def _returned(self, servable: str, method: str, values: list[Any]) -> Question:
        answers: list[Values | Fails] = [
            # A function gets bytes as an array.
            {"y": np.frombuffer(x, np.uint8) if isinstance(x, bytes) and method == "identity" else x}
            for x in values
        ]
        return Question(servable, method, [{"x": x} for x in values], answers)

    def steps(self, method: str = "") -> Question:
        """Requests to models."""
        method = method or self._draw.choice(["add", "add_twice", "three_stages", "add_three_times"])
        count = min(self._count(100), 8 if method == "add_three_times" else 100)
        if method == "three_stages":
            return self._three_stages(count)
        times = {"add": 1, "add_twice": 2, "add_three_times": 3}[method]
        pairs = [(self._pair(), self._pair()) for _ in range(count)]
        answers: list[Values | Fails] = [{"y": x1 + times * x2} for x1, x2 in pairs]
        return Question("steps", method, [{"x1": x1, "x2": x2} for x1, x2 in pairs], answers)

    def _three_stages(self, count: int) -> Question:
        instances: list[Values] = []
        answers: list[Values | Fails] = []
        for _ in range(count):
            token, x1, x2 = self._token(), self._pair(), self._pair()
            sums = x1 + x2
            instances.append({"text": f"{token} {x1[0]:.0f} {x1[1]:.0f}", "x2": x2})
            answers.append({"sum": sums, "text": f"{token} {sums[0]:.0f} {sums[1]:.0f}"})
        return Question("steps", "three_stages", instances, answers)

    def _servable(self) -> str:
        return self._draw.choice(["plain", "copies", "copies"])

    def _count(self, most: int) -> int:
        """Mostly few instances, sometimes many."""
        limit = self._draw.choices([4, 64, 512, most], [70, 20, 9, 1])[0]
        return self._draw.randint(1, min(limit, most))

    def _number(self, dtype: np.dtype[Any]) -> Any:
        number = next(self._numbers)
        if dtype == np.int32:
            number = self._process * _INT32_SPAN + number % _INT32_SPAN
        return np.array(number, dtype)

    def _pair(self) -> Any:
        """Two whole numbers whose sums are exact in float32."""
        number = next(self._numbers)
        return np.array([number % (1 << 20), self._draw.randrange(1 << 20)], np.float32)

    def _token(self) -> str:
        return f"{next(self._numbers)}-{self._draw.getrandbits(32):08x}"

    def _text(self, size: int = 0) -> str:
        filler = self._draw.choice(["x", "é", "中", "\U0001f600", '"\\\n'])
        return self._token() + ":" + filler * ((size or self._size()) // len(filler.encode()))

    def _bytes(self, size: int = 0) -> bytes:
        return self._token().encode() + self._arrays.bytes(size or self._size())

    def _large_array(self, size: int) -> Any:
        dtype = np.dtype(self._draw.choice(["uint8", "float32", "int64"]))
        return self._filled(dtype, (max(1, size // dtype.itemsize),))

    def _array(self) -> Any:
        shape = self._draw.choice([(), (1,), (3,), (2, 3), (2, 2, 2), (17,), (0,), (2, 0)])
        return self._filled(np.dtype(self._draw.choice(NUMBERS)), shape)

    def _filled(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
        if dtype.kind == "f":
            return np.asarray(self._arrays.uniform(-1000, 1000, shape)).astype(dtype)
        if dtype.kind == "b":
            return np.asarray(self._arrays.integers(0, 2, shape)).astype(dtype)
        limits = np.iinfo(dtype)
        drawn = self._arrays.integers(limits.min, limits.max, shape, dtype, endpoint=True)
        return np.asarray(drawn, dtype)

    def _size(self) -> int:
        return int(10 ** self._draw.choices([1, 2, 3, 4], [50, 30, 15, 5])[0] * self._draw.uniform(1, 3))
