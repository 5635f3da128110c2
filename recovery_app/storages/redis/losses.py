"""Why snapshots may be gone, according to the servers' own figures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from recovery_app.storages.redis.requests import Command
from recovery_app.storages.redis.routing import Flow, ask
from recovery_app.storages.redis.topology import SlotMap

RECENT_SECONDS = 3600
"""How long ago a server may have been started for that to be mentioned."""
_SECTIONS: list[Command] = [
    ("INFO", section) for section in ("server", "stats", "memory", "commandstats")
]
_CALLS = re.compile(r"calls=(\d+)")


def explain_losses(slots: SlotMap) -> Flow[str]:
    """Return the explanations of the servers; empty if there are none."""
    found = []
    for address in slots.addresses:
        replies = yield from ask(address, _SECTIONS)
        told = list(_reasons(_facts_of(replies)))
        if told:
            place = ":".join(map(str, address)) if address[1] else address[0]
            found.append(f"{' and '.join(told)} ({place})")
    return "; ".join(found)


def _facts_of(replies: list[object]) -> dict[str, str]:
    facts = {}
    for reply in replies:
        # An error where the user may not ask.
        text = reply.decode(errors="replace") if isinstance(reply, bytes) else ""
        for line in text.splitlines():
            name, _, value = line.partition(":")
            facts[name] = value
    return facts


def _reasons(facts: Mapping[str, str]) -> Iterator[str]:
    uptime = _number(facts.get("uptime_in_seconds", ""))
    if uptime is not None and uptime < RECENT_SECONDS:
        yield f"Redis was started {uptime} seconds ago"
    evicted = _number(facts.get("evicted_keys", ""))
    if evicted:
        policy = facts.get("maxmemory_policy", "unknown")
        yield f"Redis has evicted {evicted} keys (maxmemory-policy {policy})"
    flushes = 0
    for name in ("flushall", "flushdb"):
        calls = _CALLS.match(facts.get(f"cmdstat_{name}", ""))
        flushes += int(calls[1]) if calls else 0
    if flushes:
        yield f"Redis was emptied {flushes} times since its start (FLUSHALL, FLUSHDB)"


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None
