"""Own what a forked worker must make anew: locks and threads don't survive ``fork``."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """An object that can put itself in order in a forked child."""

    def after_fork(self) -> None:
        """Replace locks, and forget threads, that belonged to the parent."""


_forkables: weakref.WeakSet[Forkable] = weakref.WeakSet()


def survive_fork(forkable: Forkable) -> None:
    """Have ``forkable.after_fork()`` called in each forked child, as long as it lives."""
    _forkables.add(forkable)


def _after_fork() -> None:
    for forkable in list(_forkables):
        forkable.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
