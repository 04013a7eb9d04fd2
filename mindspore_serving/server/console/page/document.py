"""What `/console/methods` says: servables, versions and methods with types, as data that `orjson` writes as it stands.

With thousands of methods it has the first ones that fit what is searched for, and says how many are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mindspore_serving.errors import excerpt
from mindspore_serving.server.access.identity import Identity
from mindspore_serving.server.access.right import Right
from mindspore_serving.server.service.catalog import ServableInfo, VersionInfo
from mindspore_serving.server.service.error_text import hidden
from mindspore_serving.signature import MethodSignature, TensorType

MOST_METHODS: Final = 100
MOST_VERSIONS: Final = 200
MOST_EXAMPLES: Final = 3
MOST_WORDS: Final = 16
LONGEST_DESCRIPTION: Final = 1000
"""Characters."""


@dataclass(frozen=True, slots=True)
class ShownValue:
    """An input or an output.

    Attributes:
        name: Its name.
        dtype: Name of its data type: `string`, `bytes`, `float32`; `unknown` for any.
        shape: Of one instance, -1 for a dimension of any size; null for any.
        content: What its bytes hold, as `image`; "" where that is not known.
        shared: Whether all instances of a request have one value in common.
        description: What it is, for people.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] | None
    content: str
    shared: bool
    description: str


@dataclass(frozen=True, slots=True)
class ShownMethod:
    """A method.

    Attributes:
        name: Its name.
        model: What the Open Inference Protocol calls it.
        rows: Whether the first dimension of a tensor counts instances there.
        description: What it does.
        inputs: What clients send.
        outputs: What they get.
        examples: Instances, each as JSON text.
    """

    name: str
    model: str
    rows: bool
    description: str
    inputs: tuple[ShownValue, ...]
    outputs: tuple[ShownValue, ...]
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShownVersion:
    """A version of a servable.

    Attributes:
        servable: Its name.
        version: Its number.
        state: Value of its `VersionState`.
        reason: Why it is not ready, without paths.
        methods: Those that fit.
    """

    servable: str
    version: int
    state: str
    reason: str
    methods: tuple[ShownMethod, ...]


@dataclass(frozen=True, slots=True)
class MethodsDocument:
    """The document.

    Attributes:
        versions: Those that fit, by name and number.
        versions_left_out: How many further ones there are.
        methods_left_out: How many further methods fit, of all versions.
        asks_for_keys: Whether clients of this listener need an API key, or a certificate that is listed.
        client: Name of the key of who asks; "" where none is needed.
        rights: What it may do.
        infers: Whether this listener runs methods.
    """

    versions: tuple[ShownVersion, ...]
    versions_left_out: int
    methods_left_out: int
    asks_for_keys: bool
    client: str
    rights: tuple[str, ...]
    infers: bool


def methods_document(
    servables: Sequence[ServableInfo], search: str, identity: Identity, *, keys: bool, infers: bool
) -> MethodsDocument:
    """What there is.

    Args:
        servables: All that is to be served.
        search: Words, all of which have to be in `SERVABLE/VERSION METHOD`, whatever their case; "" for all.
        identity: Who asks.
        keys: Whether this listener asks for keys.
        infers: Whether it runs methods.
    """
    words = search.lower().split()[:MOST_WORDS]
    shown: list[ShownVersion] = []
    room = MOST_METHODS
    versions = methods = 0
    for servable, version, fitting in _fitting(servables, words):
        versions += 1
        methods += len(fitting)
        if len(shown) < MOST_VERSIONS:
            shown.append(_shown_version(servable, version, fitting[:room]))
            room -= len(shown[-1].methods)
    return MethodsDocument(
        versions=tuple(shown),
        versions_left_out=versions - len(shown),
        methods_left_out=methods - (MOST_METHODS - room),
        asks_for_keys=keys,
        client=identity.name,
        rights=tuple(right.value for right in Right if right in identity.rights),
        infers=infers,
    )


def _fitting(
    servables: Sequence[ServableInfo], words: Sequence[str]
) -> Iterator[tuple[ServableInfo, VersionInfo, Sequence[MethodSignature]]]:
    """Versions with the methods that fit; one whose own name fits is there with all of them, or with none it has."""
    for servable in servables:
        for version in servable.versions:
            label = f"{servable.name}/{version.number}".lower()
            missing = [word for word in words if word not in label]
            methods = [
                one
                for one in version.methods
                if not missing or all(word in f"{label} {one.name}".lower() for word in words)
            ]
            if methods or not missing:
                yield servable, version, methods


def _shown_version(
    servable: ServableInfo, version: VersionInfo, methods: Sequence[MethodSignature]
) -> ShownVersion:
    return ShownVersion(
        servable.name,
        version.number,
        version.state.value,
        hidden(version.reason),
        tuple(
            [
                _shown_method(
                    one,
                    servable.name if len(version.methods) == 1 else f"{servable.name}.{one.name}",
                )
                for one in methods
            ]
        ),
    )


def _shown_method(method: MethodSignature, model: str) -> ShownMethod:
    return ShownMethod(
        method.name,
        model,
        method.rows,
        excerpt(method.description, LONGEST_DESCRIPTION),
        tuple([_shown_value(one) for one in method.inputs]),
        tuple([_shown_value(one) for one in method.outputs]),
        method.examples[:MOST_EXAMPLES],
    )


def _shown_value(one: TensorType) -> ShownValue:
    return ShownValue(
        one.name,
        one.dtype.name.lower(),
        one.shape,
        one.content,
        one.shared,
        excerpt(one.description, LONGEST_DESCRIPTION),
    )
