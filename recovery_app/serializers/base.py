"""The interface of a serializer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Serializer(Protocol):
    """Any object with these two methods, which several threads may call at once.

    It may also have a ``name``, which is stored in the snapshots that it writes.
    """

    def dumps(self, state: Mapping[str, Any], /) -> bytes:
        """Return a state as bytes; raise ``UnserializableState``."""

    def loads(self, data: bytes, /) -> dict[str, Any]:
        """Return the state in the bytes that ``dumps`` returned; raise ``SnapshotCorrupt``."""


def serializer_name(serializer: Serializer) -> str:
    """Return the ``name`` of a serializer, or the dotted path of its class if it has none."""
    name = getattr(serializer, "name", None)
    if isinstance(name, str) and name:
        return name
    kind = type(serializer)
    return f"{kind.__module__}.{kind.__qualname__}"
