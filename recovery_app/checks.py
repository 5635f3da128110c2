"""Own the system checks: bad settings, and traps that settings show."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage


def check_settings(**_kwargs: Any) -> list[CheckMessage]:
    """Check the setting ``RECOVERY``."""
    return []
