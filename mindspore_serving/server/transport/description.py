"""What dialects and pages say of their paths, as data, for who describes the server to clients.

A dialect without `describe` is answered all the same: of its routes, verb and pattern are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from mindspore_serving.signature import MethodSignature

JsonSchema: TypeAlias = Mapping[str, Any]
"""A schema as JSON Schema 2020-12 has it."""
JSON: Final = "application/json"
OK: Final = 200
TEXT_SCHEMA: Final[JsonSchema] = {"type": "string"}
ANYTHING: Final[JsonSchema] = {}


@dataclass(frozen=True, slots=True)
class DescribedServable:
    """A servable, as far as it is to be described.

    Attributes:
        name: Its name.
        methods: Of the version that answers requests without a version; the first ones, where there are very many.
    """

    name: str
    methods: tuple[MethodSignature, ...]

    @property
    def models(self) -> Iterator[tuple[str, MethodSignature]]:
        """What its methods are called by dialects that know models: `servable`, or `servable.method` of several."""
        for method in self.methods:
            yield (self.name if len(self.methods) == 1 else f"{self.name}.{method.name}"), method


@dataclass(frozen=True, slots=True)
class Content:
    """A body that clients may send, or are answered.

    Attributes:
        schema: What it must be; of what is no JSON, a string or the parts of a form.
        type: Media type.
        examples: Whole bodies, as JSON has them.
        part_types: Media types of the parts of a form, by name.
    """

    schema: JsonSchema
    type: str = JSON
    examples: Sequence[Any] = ()
    part_types: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a request says outside its body.

    Attributes:
        name: A name in braces of the path, a header, or a key of the query string.
        place: `path`, `header` or `query`.
        description: What it means.
        schema: What its value must be.
        example: A value; None for none.
    """

    name: str
    place: str
    description: str
    schema: JsonSchema = field(default_factory=lambda: TEXT_SCHEMA)
    example: Any = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One verb at one path, or at all paths of a pattern.

    Attributes:
        verb: HTTP method.
        pattern: Of the route that answers.
        summary: What it does, in a few words.
        path: Where clients ask, percent-encoded, with names in braces; "" for the pattern.
        description: More of it; as Markdown, escaped by who writes it.
        parameters: Beside those of the path, of which the names alone are known.
        takes: Bodies that it takes, the usual one first; none where it reads none.
        gives: Bodies of replies that are no errors, by HTTP status.
        tag: Group, where that is another one than the dialect: a servable.
    """

    verb: str
    pattern: str
    summary: str
    path: str = ""
    description: str = ""
    parameters: Sequence[Parameter] = ()
    takes: Sequence[Content] = ()
    gives: Mapping[int, Sequence[Content]] = field(default_factory=dict)
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Description:
    """What a dialect answers.

    Attributes:
        operations: Made one after the other, as they are asked for.
        error: Body of a reply to a request that has failed.
        error_type: Its media type.
        unlisted: Patterns that are not listed: they mean the same as others that are, or are refused whatever is asked.
    """

    operations: Iterable[Operation]
    error: JsonSchema
    error_type: str = JSON
    unlisted: frozenset[str] = frozenset()


@runtime_checkable
class SelfDescribing(Protocol):
    """A dialect or page that knows its paths."""

    def describe(self, servables: Sequence[DescribedServable]) -> Description:
        """What it answers.

        Args:
            servables: Those to be described.
        """


def object_schema(properties: Mapping[str, JsonSchema], **more: Any) -> dict[str, Any]:
    """The schema of an object that has all of some keys, and may have others.

    Args:
        properties: Schema by key.
        more: Further keywords.
    """
    return {"type": "object", "required": list(properties), "properties": dict(properties), **more}


def error_schema(key: str) -> dict[str, Any]:
    """The schema of a reply that holds a text alone.

    Args:
        key: Where it is.
    """
    return object_schema({key: {"type": "string", "description": "What was wrong, got and expected."}})
