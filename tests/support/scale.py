"""How much of a test is run: ``make test-full`` runs all, ``make test`` what tells as much."""

from __future__ import annotations

import os

IS_FULL = os.environ.get("TESTS") == "full"


def scaled(usual: int, *, full: int) -> int:
    """Return how often something is repeated."""
    return full if IS_FULL else usual


def slowness() -> float:
    """Return how many times longer than on an idle machine something may take on this one now."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
