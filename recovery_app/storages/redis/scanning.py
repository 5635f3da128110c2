"""Steps of SCAN over the servers, and the cursors of pages, since Redis keeps no order of keys."""

from __future__ import annotations

import re
from dataclasses import dataclass

from recovery_app.storages.redis.keys import Keys
from recovery_app.storages.redis.requests import Command
from recovery_app.storages.redis.routing import Flow, ask, unwrap
from recovery_app.storages.redis.topology import Address, SlotMap

STEP_KEYS = 1000
"""About as many keys are looked at in one step of SCAN."""
MAX_SCAN_CURSOR = 2**64
"""The numbers that SCAN uses as its cursors are below."""
_NUMBER = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Where a page starts: after which key, in which step of SCAN, on which node.

    Within a step the keys are sorted, so it doesn't matter which of them have gone since. A
    store of up to about `STEP_KEYS` keys is one step, and sorted as a whole.
    """

    key: str = ""
    step: str = "0"
    node: int = 0

    @classmethod
    def parse(cls, text: str | None) -> Cursor:
        """Return a cursor from its text; raise `ValueError` if this storage can't have made it."""
        text = text or ""
        key, _, place = text.rpartition("@") if "@" in text else (text, "", "0.0")
        step, _, node = place.partition(".")
        is_valid = _NUMBER.fullmatch(step) and _NUMBER.fullmatch(node)
        if not (is_valid and int(step) < MAX_SCAN_CURSOR):
            raise ValueError("The cursor isn't one of this storage.")
        return cls(key=key, step=step, node=int(node))

    def __str__(self) -> str:
        place = f"{self.step}.{self.node}"
        is_enough = place == "0.0" and self.key and "@" not in self.key
        return self.key if is_enough else f"{self.key}@{place}"

    def after(self, key: str) -> Cursor:
        """Return the cursor behind a key of the same step."""
        return Cursor(key=key, step=self.step, node=self.node)

    def address(self, slots: SlotMap) -> Address | None:
        """Return the server to ask, or ``None`` if there are fewer nodes now."""
        addresses = slots.addresses
        return addresses[self.node] if self.node < len(addresses) else None


def scan(
    keys: Keys, slots: SlotMap, address: Address, cursor: Cursor
) -> Flow[tuple[list[str], Cursor | None]]:
    """Return the sorted keys of a step behind the cursor, and the cursor of the next step."""
    command: Command = ("SCAN", cursor.step, "MATCH", keys.pattern, "COUNT", STEP_KEYS)
    (reply,) = yield from ask(address, [command])
    step, names = unwrap(reply)
    found = sorted({keys.decode(name) for name in names})
    following: Cursor | None = Cursor(step=step.decode(), node=cursor.node)
    if step == b"0":
        is_last = cursor.node + 1 == len(slots.addresses)
        following = None if is_last else Cursor(node=cursor.node + 1)
    return [key for key in found if key > cursor.key], following
