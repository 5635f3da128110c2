"""The three calls that a page's life is made of, beside one HMAC.

    python -m benchmarks.calls [--quick]

`create_token`, `save` and `recover` in memory with a state of 300 bytes, with metrics and signals
as an application has them, over `hmac.digest` of 16 bytes.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from itertools import count

from benchmarks.application import STATE, configure
from benchmarks.results import Row
from benchmarks.subject import Options, main
from benchmarks.timing import compare, in_turns, seconds_of

CALLS = 200
AIM = 10.9


def run(options: Options) -> Iterator[Row]:
    """Yield the row."""
    configure()
    # Only now: the settings are there.
    from recovery_app import get_manager  # noqa: PLC0415

    manager = get_manager()
    numbers = count()

    def cycle() -> None:
        token = manager.create_token(f"socket {next(numbers)}")
        manager.save(token, STATE)
        manager.recover(token)

    def sign() -> None:
        hmac.digest(b"a secret of 32 bytes, as is usual", b"sixteen bytes ..", "sha256")

    found = in_turns(
        {"ours": lambda: seconds_of(cycle, CALLS), "hmac": lambda: seconds_of(sign, 10 * CALLS)},
        options.pick(400, 80),
    )
    pair = compare(zip(found["ours"], found["hmac"], strict=True))
    yield Row(
        what="`create_token` + `save` + `recover`, memory, 300 B, metrics and signals on "
        "/ `hmac.digest` of 16 bytes (CPU)",
        measured=f"{pair.ours * 1e6:.1f} / {pair.theirs * 1e6:.2f} µs",
        ratio=pair.ratio,
        aim=AIM,
    )


if __name__ == "__main__":
    main(__doc__, run)
