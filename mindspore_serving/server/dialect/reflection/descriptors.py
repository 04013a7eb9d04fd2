"""The files that declare services, found by their names and by the names in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto


class ServedFiles:
    """Files of protobuf, each with those that it imports before it.

    Args:
        files: Serialised FileDescriptorProtos; an imported one stands before those that import it.

    Attributes:
        services: Full names of the services in them, sorted.
    """

    def __init__(self, files: Iterable[bytes]) -> None:
        self._serialized: dict[str, bytes] = {}
        self._imports: dict[str, Sequence[str]] = {}
        self._file_of: dict[str, str] = {}
        services: list[str] = []
        for serialized in files:
            file = FileDescriptorProto.FromString(serialized)
            self._serialized[file.name] = serialized
            self._imports[file.name] = list(file.dependency)
            self._file_of.update(dict.fromkeys(_names_in(file), file.name))
            services += [f"{file.package}.{service.name}" for service in file.service]
        self.services: Sequence[str] = sorted(services)

    def file(self, name: str) -> list[bytes] | None:
        """A file, and those that it imports, directly or not; None where there is none of that name.

        Args:
            name: As descriptors have it.

        Returns:
            Serialised FileDescriptorProtos, the one that was asked for first.
        """
        if name not in self._serialized:
            return None
        names = [name]
        for found in names:  # which grows meanwhile
            names += [one for one in self._imports[found] if one not in names and one in self._serialized]
        return [self._serialized[found] for found in names]

    def file_of(self, symbol: str) -> list[bytes] | None:
        """The file that declares a name, as of `file`; None where none does.

        Args:
            symbol: Full name of a service, a method, a message, a field, an enum or one of its values.
        """
        name = self._file_of.get(symbol)
        return None if name is None else self.file(name)

    def declare(self, symbol: str) -> bool:
        """Whether a full name is declared in the files."""
        return symbol in self._file_of


def renamed(serialized: bytes, package: str) -> bytes:
    """A file whose package has another name, as of a version of an interface that differs in nothing else.

    Args:
        serialized: FileDescriptorProto.
        package: The other name.
    """
    file = FileDescriptorProto.FromString(serialized)
    text = text_format.MessageToString(file).replace(f".{file.package}.", f".{package}.")
    other = FileDescriptorProto()
    text_format.Parse(text, other)
    other.package = package
    other.name = f"{package.replace('.', '/')}/{file.name.rpartition('/')[2]}"
    return bytes(other.SerializeToString(deterministic=True))


def _names_in(file: FileDescriptorProto) -> Iterator[str]:
    """Full names of all that a file declares."""
    before = f"{file.package}." if file.package else ""
    for service in file.service:
        yield before + service.name
        for method in service.method:
            yield f"{before}{service.name}.{method.name}"
    for message in file.message_type:
        yield from _names_in_message(message, before)
    for enum in file.enum_type:
        yield from _names_in_enum(enum, before)


def _names_in_message(message: DescriptorProto, before: str) -> Iterator[str]:
    name = before + message.name
    yield name
    for field in message.field:
        yield f"{name}.{field.name}"
    for choice in message.oneof_decl:
        yield f"{name}.{choice.name}"
    for nested in message.nested_type:
        yield from _names_in_message(nested, f"{name}.")
    for enum in message.enum_type:
        yield from _names_in_enum(enum, f"{name}.")


def _names_in_enum(enum: EnumDescriptorProto, before: str) -> Iterator[str]:
    yield before + enum.name
    for value in enum.value:
        yield before + value.name  # protobuf has values beside their enum
