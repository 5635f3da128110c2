"""The application of the drain's tests, whose caches are full before a leak is looked for."""

from recovery_app._core import issuing

SMALL = 100
issuing.REMEMBERED_GRANTS = issuing.REMEMBERED_IDS = SMALL

from tests.support.draining import application  # noqa: E402

__all__ = ["application"]
