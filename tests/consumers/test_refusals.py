"""A join that is refused in the midst of a recovery."""

from __future__ import annotations

from typing import Any

import pytest

from recovery_app import RecoveryManager
from recovery_app.consumers import JoinRefused
from tests.consumers.apps import COUNTERS
from tests.consumers.wire import connected, recovery_of

RESTORING = ("migrate_state", "restore_state", "after_recover")


@pytest.mark.parametrize("hook", RESTORING)
@pytest.mark.parametrize("counter", COUNTERS)
async def test_a_restoring_hook_can_refuse_a_join(
    manager: RecoveryManager, counter: Any, hook: str
) -> None:
    refused = [True]
    default = getattr(counter, hook)

    def refuse(self: Any, *arguments: Any) -> Any:
        if refused:
            raise JoinRefused("access was withdrawn")
        return default(self, *arguments)

    members = {hook: refuse, "recovery_version": 1}
    guarded: Any = type(counter.__name__, (counter,), members)
    guarded.__qualname__, guarded.__module__ = counter.__qualname__, counter.__module__
    async with connected(counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        await client.push("add")
    key = manager.snapshots().items[0].socket_hash
    for _ in range(2):
        async with connected(guarded, manager) as client:
            reply = await client.join(token=token)
            expected = {"status": "error", "response": {"reason": "access was withdrawn"}}
            assert reply == expected
            # Nothing is joined, and the connection lives.
            assert (await client.push("add"))["response"] == {"reason": "unmatched topic"}
            refused_again = await client.join(token=token)
            assert refused_again == expected
    assert [each.socket_hash for each in manager.snapshots().items] == [key]
    refused.clear()
    async with connected(guarded, manager) as client:
        reply = await client.join(token=token)
        assert (recovery_of(reply)["outcome"], reply["response"]["count"]) == ("recovered", 1)
