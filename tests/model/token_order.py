"""Which token stands above which: an older one takes over nothing from a page with a newer one."""

from __future__ import annotations

import json

from recovery_app._core.tokens import issued_us_of, key_of
from tests.model.wire import Wire


class TokenOrder:
    """The tokens that pages had been given by the time they sent each event."""

    def __init__(self) -> None:
        self._given: dict[int, set[str | None]] = {}

    def note_sent(self, wire: Wire, text: str) -> None:
        """Note that a page sends a frame."""
        payload = json.loads(text)[-1]
        if "id" in payload:
            self._given.setdefault(payload["id"], set()).add(wire.given)

    def check(self, shown: str, events: list[int]) -> None:
        """See that a state was recovered with a token that may take it over.

        An event in it was saved in one step with the floor: at least the token that its page had.
        Of an event that was sent with several tokens, nobody knows which brought it there.
        """
        for number in events:
            given = self._given[number]
            newer = next(iter(given)) if len(given) == 1 else None
            if newer is not None and key_of(newer) == key_of(shown):
                is_older = issued_us_of(shown) < issued_us_of(newer)
                assert not is_older, f"An older token took over a state with {number}."
