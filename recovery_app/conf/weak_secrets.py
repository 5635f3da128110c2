"""Detection of secrets that can be guessed."""

from __future__ import annotations

MIN_DISTINCT_BYTES = 8
"""The minimum number of different bytes in a secret; 32 random hexadecimal digits have about 14."""

# As Django's own check security.W009 judges SECRET_KEY. Its names aren't documented.
_MIN_KEY_LENGTH = 50
_MIN_DISTINCT_IN_KEY = 5
_INSECURE_PREFIX = "django-insecure-"


def has_few_distinct_bytes(secret: bytes) -> bool:
    """Return whether a secret is too repetitive to be random."""
    return len(set(secret)) < MIN_DISTINCT_BYTES


def is_weak_secret_key(key: str | bytes) -> bool:
    """Return whether Django would call a ``SECRET_KEY`` weak."""
    if len(key) < _MIN_KEY_LENGTH or len(set(key)) < _MIN_DISTINCT_IN_KEY:
        return True
    prefix = _INSECURE_PREFIX.encode() if isinstance(key, bytes) else _INSECURE_PREFIX
    return key[: len(prefix)] == prefix
