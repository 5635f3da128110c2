"""Own what a serializer is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Serializer(Protocol):
    """Anything with these two methods; it may be called by several threads at once.

    It may also have a ``name``, which goes into the snapshots that it writes.
    """

    def dumps(self, state: Mapping[str, Any], /) -> bytes:
        """Encode a state, or raise ``UnserializableState``."""

    def loads(self, data: bytes, /) -> dict[str, Any]:
        """Decode what ``dumps`` gave, or raise ``SnapshotCorrupt``."""


def serializer_name(serializer: Serializer) -> str:
    """Name a serializer: by its ``name``, else by the dotted path of its class."""
    name = getattr(serializer, "name", None)
    if isinstance(name, str) and name:
        return name
    kind = type(serializer)
    return f"{kind.__module__}.{kind.__qualname__}"
