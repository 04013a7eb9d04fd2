"""`declare_model(..., runtime_options=...)`: each backend has a table of its options, and refuses all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from mindspore_serving.errors import StartUpError, excerpt

OptionValue = str | float
"""What a servable_config.py may give; a bool is one too."""


class Named(Protocol):
    """An output of a model."""

    @property
    def name(self) -> str:
        """Its name in the file."""
        ...


_Output = TypeVar("_Output", bound=Named)


class OptionKind(Protocol):
    """What values an option takes."""

    @property
    def expected(self) -> str:
        """The values, for the text of an error."""
        ...

    def takes(self, value: OptionValue) -> bool:
        """Whether a value is one of these."""
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several words.

    Attributes:
        words: They.
    """

    words: tuple[str, ...]

    @property
    def expected(self) -> str:
        """The words."""
        return " or ".join(map(repr, self.words))

    def takes(self, value: OptionValue) -> bool:
        """Whether it is one of them."""
        return value in self.words


@dataclass(frozen=True, slots=True)
class Number:
    """An integer.

    Attributes:
        least: The smallest.
    """

    least: int

    @property
    def expected(self) -> str:
        """From where on."""
        return f"an int from {self.least} on"

    def takes(self, value: OptionValue) -> bool:
        """Whether it is an integer from `least` on."""
        return isinstance(value, int) and not isinstance(value, bool) and value >= self.least


@dataclass(frozen=True, slots=True)
class Flag:
    """True or False."""

    expected = "True or False"

    def takes(self, value: OptionValue) -> bool:
        """Whether it is a bool."""
        return isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Words:
    """Text with names in it, separated by commas."""

    expected = "names separated by commas"

    def takes(self, value: OptionValue) -> bool:
        """Whether there are names."""
        return isinstance(value, str) and all(words_of(value))


def words_of(text: OptionValue) -> list[str]:
    """The names of an option of kind `Words`."""
    return [word.strip() for word in str(text).split(",")]


def check_options(
    options: Mapping[str, OptionValue], known: Mapping[str, OptionKind], library: str
) -> dict[str, OptionValue]:
    """Check options against the table of a backend.

    Args:
        options: As `declare_model` got them.
        known: The table, by name.
        library: What runs the model, for the text of an error.

    Returns:
        The options.

    Raises:
        StartUpError: A name is not known, or a value is none that the option takes; names it and what is expected.
    """
    for name, value in options.items():
        if name not in known:
            raise StartUpError(
                f"runtime_options of {library} has the unknown name {excerpt(repr(name))}, expected "
                f"{', '.join(map(repr, known))}"
            )
        if not known[name].takes(value):
            raise StartUpError(
                f"runtime_options of {library} has {name}={excerpt(repr(value))}, expected {known[name].expected}"
            )
    return dict(options)


def chosen_outputs(outputs: Sequence[_Output], names: OptionValue | None) -> list[_Output]:
    """The outputs that the option `outputs` wants, in its order.

    Args:
        outputs: All of the model.
        names: The option; None for all.

    Raises:
        StartUpError: There is none of a name.
    """
    if names is None:
        return list(outputs)
    by_name = {value.name: value for value in outputs}
    for name in words_of(names):
        if name not in by_name:
            raise StartUpError(
                f"runtime_options has outputs={names!r}, but the model has no output {name!r}, expected "
                f"{', '.join(map(repr, by_name))}"
            )
    return [by_name[name] for name in words_of(names)]
