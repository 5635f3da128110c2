"""What seals and encryption cost a save and a takeover.

    python -m benchmarks.sealing [--quick]

The same calls in memory, where nothing else hides the difference: sealed, encrypted, and both,
over neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import count

from benchmarks.application import configure
from benchmarks.results import Row
from benchmarks.subject import Options, main
from benchmarks.timing import compare, in_turns, seconds_of

SECRET = b"a secret of more than 32 bytes, as is usual"
SIZES = {"300 B": 300, "10 KB": 10_000}
CALLS = 100
KINDS: dict[str, dict[str, object]] = {
    "neither": {"seal": False},
    "sealed": {"seal": True},
    "encrypted": {"seal": False, "encryption_keys": [SECRET]},
    "sealed and encrypted": {"seal": True, "encryption_keys": [SECRET]},
}


class Subject:
    """A manager with one kind of snapshots."""

    def __init__(self, options: dict[str, object], size: int) -> None:
        # Only now: the settings are there.
        from recovery_app import RecoveryManager  # noqa: PLC0415
        from recovery_app.storages import MemoryStorage  # noqa: PLC0415

        self._state = {"text": "x" * size}
        self._numbers = count()
        self._manager = RecoveryManager(
            secret=SECRET, storage=MemoryStorage(), cleanup_interval=None, **options
        )
        self._start()

    def _start(self) -> None:
        self._token = self._manager.create_token(f"socket {next(self._numbers)}")
        self._manager.save(self._token, self._state)

    def save(self) -> float:
        """Return the CPU seconds of one save."""
        self._start()
        return seconds_of(lambda: self._manager.save(self._token, self._state), CALLS)

    def take_over(self) -> float:
        """Return the CPU seconds of one takeover."""
        self._start()
        return seconds_of(lambda: self._manager.take_over(self._token), CALLS)


def run(options: Options) -> Iterator[Row]:
    """Yield the rows."""
    configure()
    for size_name, size in SIZES.items():
        subjects = {kind: Subject(keys, size) for kind, keys in KINDS.items()}
        for call in ("save", "take_over"):
            works = {kind: partial(getattr(each, call)) for kind, each in subjects.items()}
            found = in_turns(works, options.pick(300, 60))
            for kind in list(KINDS)[1:]:
                pair = compare(zip(found[kind], found["neither"], strict=True))
                yield Row(
                    what=f"`{call}` of {size_name} in memory: {kind} / neither (CPU)",
                    measured=f"{pair.ours * 1e6:.1f} / {pair.theirs * 1e6:.1f} µs",
                    ratio=pair.ratio,
                )


if __name__ == "__main__":
    main(__doc__, run)
