"""The names of this storage's keys on the server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """A prefix, then the key in braces, which keep all of one socket on one node."""

    prefix: str

    def encode(self, key: str) -> bytes:
        """Return the name of a key on the server."""
        return f"{self.prefix}{{{key}}}".encode()

    def decode(self, name: bytes) -> str:
        """Return the key that has this name on the server."""
        return name[len(self.prefix.encode()) + 1 : -1].decode()

    def owns(self, name: bytes) -> bool:
        """Return whether a name on the server belongs to this storage."""
        return name.startswith(f"{self.prefix}{{".encode()) and name.endswith(b"}")

    @property
    def pattern(self) -> str:
        """A pattern for SCAN that matches these names alone."""
        escaped = "".join(f"\\{char}" if char in "\\*?[]" else char for char in self.prefix)
        return f"{escaped}{{*}}"
