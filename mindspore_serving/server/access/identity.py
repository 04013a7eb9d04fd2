"""Who a client is once it is authenticated, and what it may do: a name, and rights.

A key or the name of a certificate may be followed by both, as in `KEY name=dashboard rights=view`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from mindspore_serving.errors import InvalidParameter, excerpt
from mindspore_serving.server.access.right import Right

FORM: Final = "[name=NAME] [rights=infer,view,manage]"
"""What may stand behind a key, or the name of a certificate."""
_FIELD: Final = re.compile(r"\s+(name|rights)=(\S*)$")
_NAME: Final = re.compile(r"[\w.@:/+-]{1,64}", re.ASCII)
_GIVEN: Final = {right.value: right for right in (Right.INFER, Right.VIEW, Right.MANAGE)}
_USUAL: Final = frozenset((Right.NONE, Right.INFER, Right.VIEW))


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a client is.

    Attributes:
        name: As logs call it, never the key; "" where nobody has to say who it is, or nobody knows.
        rights: What it may do, always with `Right.NONE`.
    """

    name: str
    rights: frozenset[Right]

    def refusal(self, right: Right) -> str:
        """What a client reads that lacks a right."""
        lacks = f"Not allowed, this needs the right '{right.value}'"
        if not self.name:
            return f"{lacks}, which only API keys and client certificates can have: this server asks for none"
        rights = ", ".join(f"'{one.value}'" for one in _GIVEN.values() if one in self.rights)
        return f"{lacks}, but '{self.name}' has only {rights}: use a key that has it, or add it to its rights"


STRANGER: Final = Identity("", frozenset((Right.NONE,)))
"""A client that is not authenticated, of a server that asks for that."""
ANYBODY: Final = Identity("", _USUAL)
"""Each client of a server that asks for nothing."""


class Described(NamedTuple):
    """What a key, or the name of a certificate, is followed by.

    Attributes:
        subject: The key, or the name.
        name: As given; "" where none is.
        rights: As given, or the usual ones.
    """

    subject: str
    name: str
    rights: frozenset[Right]


def described(place: str, text: str) -> Described:
    """Split a key, or the name of a certificate, from what stands behind it.

    Args:
        place: What error texts call it; the subject is never in one, as it may be a key.
        text: `SUBJECT [name=NAME] [rights=RIGHT,...]`.

    Raises:
        InvalidParameter: A name or a right is none, or one of the two is there twice.
    """
    fields: dict[str, str] = {}
    while match := _FIELD.search(text):
        field, value = match.groups()
        if field in fields:
            raise InvalidParameter(f"{place} has '{field}=' twice, expected is {FORM}")
        fields[field], text = value, text[: match.start()]
    name = fields.get("name", "")
    if "name" in fields and not _NAME.fullmatch(name):
        raise InvalidParameter(
            f"{place} has name={excerpt(name)!r}, expected are 1 to 64 letters, digits and any of _ . @ : / + -"
        )
    return Described(text, name, _rights(place, fields["rights"]) if "rights" in fields else _USUAL)


def _rights(place: str, text: str) -> frozenset[Right]:
    words = text.split(",")
    unknown = [word for word in words if word not in _GIVEN]
    if unknown:
        raise InvalidParameter(
            f"{place} has rights={excerpt(text)!r}, of which {excerpt(unknown[0])!r} is none; expected are one or more "
            f"of {', '.join(_GIVEN)}, separated by commas"
        )
    return frozenset((Right.NONE, *(_GIVEN[word] for word in words)))
