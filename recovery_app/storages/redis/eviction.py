"""Whether servers evict keys that are still needed."""

from __future__ import annotations

from django.core.checks import CheckMessage

from recovery_app.storages.redis.routing import Flow, ask
from recovery_app.storages.redis.topology import SlotMap
from recovery_app.storages.system_checks import warning

_SAFE = b"noeviction"


def evicting_policies(slots: SlotMap) -> Flow[list[str]]:
    """Return the policy of each server that has a memory limit and evicts keys at it."""
    found = []
    for address in slots.addresses:
        (reply,) = yield from ask(address, [("INFO", "memory")])
        # An error where the user may not ask.
        lines = reply.splitlines() if isinstance(reply, bytes) else []
        facts = dict(line.partition(b":")[::2] for line in lines)
        policy = facts.get(b"maxmemory_policy", _SAFE)
        if policy != _SAFE and facts.get(b"maxmemory", b"0") != b"0":
            found.append(policy.decode())
    return found


def check_eviction(policies: list[str]) -> list[CheckMessage]:
    """Return W014 if there is a policy by which keys are evicted."""
    if not policies:
        return []
    return [
        warning(
            "W014",
            f"The Redis of RECOVERY['STORAGE'] has maxmemory-policy {policies[0]}: once its "
            "memory is full, it drops snapshots of open pages, and the fences that keep older "
            "connections from saving.",
            hint="Set its maxmemory-policy to noeviction, and give it enough memory or a server "
            "of its own.",
        )
    ]
