"""Own the way between a state and the bytes that are stored of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recovery_app.exceptions import (
    RecoveryError,
    SnapshotCorrupt,
    StateTooLarge,
    UnserializableState,
)
from recovery_app.serializers import BUILTIN, Serializer, serializer_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """Turn states into payloads with one serializer, and back with whichever wrote them."""

    serializer: Serializer
    max_state_bytes: int
    name: str = field(init=False)
    """What snapshots call the serializer."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", serializer_name(self.serializer))

    def encode(self, state: Mapping[str, Any]) -> bytes:
        """Serialize a state; `UnserializableState`, `StateTooLarge`."""
        payload = self._dumps(state)
        if len(payload) > self.max_state_bytes:
            raise StateTooLarge(size_bytes=len(payload), limit_bytes=self.max_state_bytes)
        return payload

    def decode(self, payload: bytes, serializer: str | None = None) -> dict[str, Any]:
        """Give back a state, by the serializer of that name; `SnapshotCorrupt`."""
        if serializer is None or serializer == self.name:
            return self._loads(payload)
        if serializer in BUILTIN:
            return BUILTIN[serializer].loads(payload)
        wanted = self.name
        raise SnapshotCorrupt(f"{serializer!r} wrote it, and RECOVERY['SERIALIZER'] is {wanted!r}")

    # A serializer of the application's own may raise anything. What it raised isn't chained,
    # as its text may hold parts of the state.

    def _dumps(self, state: Mapping[str, Any]) -> bytes:
        try:
            payload: object = self.serializer.dumps(state)
        except RecoveryError:
            raise
        except Exception as error:
            problem = f"{self.name} raised {type(error).__name__}"
            raise UnserializableState("state", problem) from None
        if not isinstance(payload, bytes):
            problem = f"{self.name} gave {type(payload).__name__}, not bytes"
            raise UnserializableState("state", problem)
        return payload

    def _loads(self, payload: bytes) -> dict[str, Any]:
        try:
            state: object = self.serializer.loads(payload)
        except RecoveryError:
            raise
        except Exception as error:
            raise SnapshotCorrupt(f"{self.name} raised {type(error).__name__}") from None
        if not isinstance(state, dict):
            raise SnapshotCorrupt(f"{self.name} gave {type(state).__name__}, not a dict")
        return state
