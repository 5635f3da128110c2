"""Drive the router's flows by hand: where a request goes, without any server."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import AskError, MovedError, ReadOnlyError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from recovery_app.fencing import Decision
from recovery_app.storages.redis.commands import RequestFactory
from recovery_app.storages.redis.errors import NobodyHasSlot
from recovery_app.storages.redis.keys import Keys
from recovery_app.storages.redis.requests import Request
from recovery_app.storages.redis.routing import (
    MAX_HOPS,
    Action,
    Ask,
    Disconnect,
    Flow,
    Locate,
    Router,
    Send,
)
from recovery_app.storages.redis.topology import SLOTS, SlotMap, Topology
from recovery_app.testing.contract.base import claim_of

ONE, TWO, THREE = ("one", 1), ("two", 2), ("three", 3)
requests = RequestFactory(Keys(prefix="test:"), time.time)
LOAD = requests.load("key")
MOVED, ASKED = MovedError("7 two:2"), AskError("7 two:2")
GONE = RedisConnectionError()


def renewal() -> Request[Decision]:
    claim = claim_of(1)
    return requests.renew("key", claim, 60, 2, claim.binding)


def drive(flow: Flow[Any], *outcomes: Any) -> tuple[list[Action], Any]:
    """Return the actions of a flow, each answered by the next outcome, and what it returns."""
    actions: list[Action] = []
    left = list(outcomes)
    outcome: Any = None
    while True:
        try:
            actions.append(flow.send(outcome))
        except StopIteration as stop:
            assert not left
            return actions, stop.value
        except Exception as error:
            assert not left
            return actions, error
        outcome = left.pop(0)


def on_cluster(*owners: Any) -> Router:
    """Return a router that knows the owner of all slots, if one is given."""
    router = Router(Topology(seeds=(ONE, TWO), cluster=True))
    for owner in owners:
        router.slots = SlotMap([owner] * SLOTS)
    return router


def test_one_server_gets_everything() -> None:
    router = Router(Topology(seeds=(ONE,)))
    assert drive(router.send(LOAD), b"data") == ([Send(ONE, LOAD)], b"data")
    assert drive(router.send(LOAD), GONE) == ([Send(ONE, LOAD)], GONE)
    refused = ReadOnlyError()
    assert drive(router.send(LOAD), refused, None) == ([Send(ONE, LOAD), Disconnect()], refused)
    assert drive(router.send(LOAD), b"data") == ([Send(ONE, LOAD)], b"data")


def test_a_moved_slot_is_remembered() -> None:
    router = on_cluster(ONE)
    slots = router.slots
    assert slots is not None
    moved = MovedError(f"{next(slot_of(LOAD, slots))} two:2")
    assert drive(router.send(LOAD), moved, b"data") == ([Send(ONE, LOAD), Send(TWO, LOAD)], b"data")
    assert drive(router.send(LOAD), b"data") == ([Send(TWO, LOAD)], b"data")
    assert slots.addresses == [ONE, TWO]


def slot_of(request: Request[Any], slots: SlotMap) -> Any:
    """Find the slot of a request's key by trying all."""
    for slot in range(SLOTS):
        trial = SlotMap([None] * SLOTS)
        trial.move(slot, ONE)
        if trial.get(request.key):
            yield slot


def test_a_slot_on_its_way_is_asked_for_once() -> None:
    router = on_cluster(ONE)
    asked = [Send(ONE, LOAD), Send(TWO, LOAD, asking=True)]
    for _ in range(2):
        assert drive(router.send(LOAD), ASKED, b"data") == (asked, b"data")


@pytest.mark.parametrize("error", [MovedError, AskError])
def test_a_redirect_without_a_host_means_the_one_that_was_asked(error: Any) -> None:
    actions, _ = drive(on_cluster(ONE).send(LOAD), MOVED, error("7 :9"), b"data")
    assert actions[1:] == [Send(TWO, LOAD), Send(("two", 9), LOAD, asking=error is AskError)]


def test_redirects_in_a_circle_end() -> None:
    actions, result = drive(on_cluster(ONE).send(LOAD), *[MOVED] * (MAX_HOPS + 1))
    assert result is MOVED
    assert len(actions) == MAX_HOPS + 1


@pytest.mark.parametrize("error", [ReadOnlyError(), GONE])
def test_the_server_in_the_place_of_another_is_asked_at_once(error: Exception) -> None:
    router = on_cluster(ONE)
    refused = [Disconnect()] if error is not GONE else []
    if error is GONE:
        router.demote(ONE)
        router.slots = None
    flow = router.retry(LOAD, ONE, error)
    found = [None] * len(refused) + [SlotMap([TWO] * SLOTS), b"data"]
    assert drive(flow, *found) == ([*refused, Locate(), Send(TWO, LOAD)], b"data")


def test_a_server_that_is_still_the_one_isnt_asked_again() -> None:
    router = on_cluster()
    found = SlotMap([ONE] * SLOTS)
    assert drive(router.retry(LOAD, ONE, GONE), found) == ([Locate()], GONE)


def test_who_has_found_the_new_master_stays_with_it() -> None:
    # Another caller was refused before.
    router = on_cluster(TWO)
    actions, result = drive(router.retry(LOAD, ONE, ReadOnlyError()), b"data")
    assert (actions, result) == ([Send(TWO, LOAD)], b"data")


def test_what_may_have_been_done_isnt_sent_again() -> None:
    request = renewal()
    assert drive(on_cluster(TWO).retry(request, ONE, GONE)) == ([], GONE)
    late = RedisTimeoutError()
    assert drive(on_cluster(TWO).retry(LOAD, ONE, late)) == ([], late)
    # Who refuses has done nothing.
    actions, _ = drive(on_cluster(TWO).retry(request, ONE, ReadOnlyError()), b"data")
    assert actions == [Send(TWO, request)]


def test_a_slot_that_nobody_has_is_looked_for_again() -> None:
    router = on_cluster(None)
    actions, error = drive(router.send(LOAD))
    assert actions == []
    assert type(error) is NobodyHasSlot
    assert drive(router.send(LOAD), SlotMap([ONE] * SLOTS), b"data")[0] == [
        Locate(),
        Send(ONE, LOAD),
    ]


SLOTS_REPLY = [[0, SLOTS - 1, [b"two", 2], [b"three", 3]]]


def test_seeds_are_asked_until_one_knows() -> None:
    router = on_cluster()
    question = [("CLUSTER", "SLOTS")]
    actions, error = drive(router.locate(), GONE, [None])
    assert actions == [Ask(ONE, question, is_seed=True), Ask(TWO, question, is_seed=True)]
    assert error is GONE
    _, slots = drive(router.locate(), GONE, [SLOTS_REPLY])
    assert router.slots is slots
    # The last to answer comes first, and nodes of the Cluster are seeds as well.
    router.demote(ONE)
    assert router.slots is None
    asked, _ = drive(router.locate(), *[GONE] * 3)
    assert [action.address for action in asked if isinstance(action, Ask)] == [TWO, THREE, ONE]


def test_a_failed_search_for_servers_is_the_requests_failure() -> None:
    starts: list[Callable[[Router], Flow[Any]]] = [
        lambda router: router.send(LOAD),
        lambda router: router.run(lambda _slots: router.locate()),
    ]
    for start in starts:
        assert drive(start(on_cluster()), GONE) == ([Locate()], GONE)
