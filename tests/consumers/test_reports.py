"""What a process reports of its pages: who is on them, and how each join went."""

from __future__ import annotations

import asyncio
from collections import Counter as Counts
from collections.abc import Callable
from typing import Any, cast

from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User

from recovery_app import RecoveryManager
from recovery_app._core.report_codec import latest_reports
from recovery_app._core.tokens import key_of
from recovery_app.drain import RecoveryDrain
from recovery_app.exceptions import JoinRefused
from recovery_app.values import ProcessReport
from tests.clock import FakeClock
from tests.consumers.apps import Counter
from tests.consumers.pages import eventually
from tests.consumers.wire import TOPIC, Client, connected, recovery_of
from tests.core.test_reports import SharedStorage


class Naming(Counter):
    """A consumer that has its users logged."""

    recovery_log_user = True


class Manifold(Counter):
    """A consumer with many topics."""

    recovery_topics = (TOPIC, "lv:*")


class Picky(Manifold):
    """A consumer that some can't join, for different reasons."""

    async def authorize_join(self, topic: str, params: dict[str, Any]) -> None:
        if topic.endswith("refused"):
            raise JoinRefused("not you")
        if topic.endswith("crashed"):
            raise ZeroDivisionError


def report_of(manager: RecoveryManager) -> ProcessReport:
    (report,) = manager.processes()
    return report


def joins_of(manager: RecoveryManager) -> dict[str, int]:
    """Return how many joins there were by outcome."""
    joins = Counts[str]()
    for counts in report_of(manager).joins.values():
        joins.update(counts)
    return joins


async def test_a_page_is_reported_as_long_as_it_is_open(
    manager: RecoveryManager, clock: FakeClock
) -> None:
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        clock.advance(seconds=5)
        report = report_of(manager)
        assert (report.connections, report.topics) == (1, 1)
        (page,) = report.pages
        assert page.socket_hash == key_of(token)
        assert page.topic == TOPIC
        assert report.at_us - page.since_us == 5_000_000
        await client.push("phx_leave")
        assert (await client.hear())["event"] == "phx_close"
        await eventually(lambda: not report_of(manager).topics)
        assert report_of(manager).connections == 1
        await client.join(token=token)
    report = report_of(manager)
    assert (report.connections, report.topics, report.pages) == (0, 0, ())
    assert joins_of(manager) == {"new": 1, "recovered": 1}


async def test_several_topics_on_one_connection_are_several_pages(
    manager: RecoveryManager,
) -> None:
    async with connected(Manifold, manager) as client:
        for number in range(3):
            await client.join(f"{TOPIC}:{number}")
        report = report_of(manager)
        assert (report.connections, report.topics) == (1, 3)
        assert [page.topic for page in report.pages] == [f"{TOPIC}:{n}" for n in (2, 1, 0)]


async def test_joins_that_went_badly_are_counted_too(manager: RecoveryManager) -> None:
    async with connected(Picky, manager) as client:
        await client.join("lv:counter", "rubbish")
        for topic in ("lv:refused", "lv:crashed", "lv:refused"):
            await client.join(topic)
        assert report_of(manager).topics == 1
    assert joins_of(manager) == {"rejected": 1, "refused": 2, "join_crashed": 1}


async def test_a_users_key_is_reported_only_where_it_is_logged(manager: RecoveryManager) -> None:
    user = User(pk=7, username="ada")
    (digest,) = manager.digests_of_user(user)
    for app, key in ((Counter, ""), (Naming, str(user.pk))):
        async with connected(app, manager, user=user) as client:
            await client.join()
            (page,) = report_of(manager).pages
            assert (page.person, page.user) == (digest, key)


async def test_a_drain_ends_with_the_last_report(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock
) -> None:
    """Uvicorn ends by its signal afterwards, and no other code of the process runs."""
    storage = SharedStorage(clock)
    manager = make_manager(storage=storage, clock=clock)
    # The report of a process that has said nothing yet isn't missed.
    await RecoveryDrain(Counter.as_asgi(), seconds=0).drain()
    assert storage.attempts == 0
    client = WebsocketCommunicator(Counter.as_asgi(), "/ws/websocket")
    client.scope.update(cast(Any, {"recovery": manager}))
    await client.connect(timeout=60)
    await Client(client).join()
    manager.reporter.write()
    draining = asyncio.create_task(RecoveryDrain(Counter.as_asgi(), seconds=0).drain())
    assert await client.receive_output(60) == {"type": "websocket.close", "code": 1012}
    await client.disconnect(timeout=60)
    await draining
    (report,) = latest_reports(storage.list_reports())
    assert (report.has_ended, report.topics, report.connections) == (True, 0, 0)
    assert report.joins
