"""Conversion between states and their stored bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from recovery_app._core.metadata import check_size
from recovery_app.exceptions import (
    RecoveryError,
    SnapshotCorrupt,
    StateTooLarge,
    UnserializableState,
)
from recovery_app.serializers import BUILTIN, Serializer, serializer_name

ORJSON_BUFFER_BYTES = 4096


class StateCodec:
    """Serializes states with one serializer, and reads them with the one that wrote them.

    ``name`` is the name of the serializer in snapshots; ``max_state_bytes`` is the largest payload;
    ``fallbacks`` are serializers that only read.
    """

    __slots__ = ("_readers", "max_state_bytes", "name", "serializer")

    def __init__(
        self,
        serializer: Serializer,
        fallbacks: Iterable[Serializer] = (),
        *,
        max_state_bytes: int,
    ) -> None:
        self.serializer = _checked(serializer)
        self.max_state_bytes = check_size("max_state_bytes", max_state_bytes)
        self.name = serializer_name(serializer)
        self._readers = {
            **BUILTIN,
            **{serializer_name(each): _checked(each) for each in fallbacks},
            self.name: serializer,
        }

    def encode(self, state: Mapping[str, Any]) -> bytes:
        """Serialize a state; raise `UnserializableState` or `StateTooLarge`."""
        # A serializer of the application's own may raise anything. What it raised isn't
        # chained, as its text may hold parts of the state.
        try:
            payload: object = self.serializer.dumps(state)
        except RecoveryError:
            raise
        except Exception as error:
            problem = f"{self.name} raised {type(error).__name__}"
            raise UnserializableState("state", problem) from None
        if not isinstance(payload, bytes):
            problem = f"{self.name} returned {type(payload).__name__}, not bytes"
            raise UnserializableState("state", problem)
        if len(payload) > self.max_state_bytes:
            raise StateTooLarge(size_bytes=len(payload), limit_bytes=self.max_state_bytes)
        return trimmed(payload)

    def decode(self, payload: bytes, serializer: str | None = None) -> dict[str, Any]:
        """Return a state, read by the serializer of that name; raise `SnapshotCorrupt`."""
        name = self.name if serializer is None else serializer
        reader = self._readers.get(name)
        if reader is None:
            raise SnapshotCorrupt(
                f"{name!r} wrote it, RECOVERY['SERIALIZER'] is {self.name!r}, and "
                "RECOVERY['SERIALIZER_FALLBACKS'] has no serializer of that name"
            )
        try:
            state: object = reader.loads(payload)
        except RecoveryError:
            raise
        except Exception as error:
            raise SnapshotCorrupt(f"{name} raised {type(error).__name__}") from None
        if not isinstance(state, dict):
            raise SnapshotCorrupt(f"{name} returned {type(state).__name__}, not a dict")
        return state


def trimmed(data: bytes) -> bytes:
    """Return the same bytes without unused memory after them.

    orjson 3.11 and later leave a short text in a buffer of 4 KiB. A page keeps its last state
    and replies as long as it is open.
    """
    return b"".join((data, b"")) if len(data) < ORJSON_BUFFER_BYTES else data


def _checked(serializer: Serializer) -> Serializer:
    """Return a serializer; raise `ValueError` for what is none, or is the class of one."""
    if isinstance(serializer, type) or not isinstance(serializer, Serializer):
        given = serializer if isinstance(serializer, type) else type(serializer)
        what = f"the class {given.__name__}" if given is serializer else given.__name__
        raise ValueError(f"A serializer is an object with dumps() and loads(), not {what}.")
    return serializer
