"""What happens when something that a test needs isn't on this machine."""

from __future__ import annotations

import os
from collections import Counter

import pytest

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}

LEFT_OUT: Counter[str] = Counter()
"""How many tests were left out for want of each thing; printed after the run."""


def require(thing: str, available: object) -> None:
    """Go on if ``available``; otherwise leave the test out, or fail it in CI."""
    if available:
        return
    if IN_CI:
        pytest.fail(f"{thing} isn't here, and CI leaves nothing out.", pytrace=False)
    LEFT_OUT[thing] += 1
    pytest.skip(f"{thing} isn't here.")
