"""How a process hears of messages on PostgreSQL that another one has published."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from recovery_app import RecoveryManager
from recovery_app._live.group_reader import reader_of
from recovery_app.middleware import override_manager
from recovery_app.storages import DatabaseStorage
from recovery_app.storages.database import listening, postgresql
from recovery_app.storages.messages import MessageLogs
from tests.clock import FakeClock
from tests.consumers.pages import eventually
from tests.consumers.test_durable_groups import ROOM, Page, page_of, publish
from tests.support.processes import HOST

pytestmark = pytest.mark.django_db(transaction=True, databases=["postgresql"])
ALIAS = "postgresql"


@pytest.fixture
def no_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a message that nobody is notified of never be seen."""
    monkeypatch.setattr(listening, "POLL_SECONDS", 3600)
    monkeypatch.setattr(MessageLogs, "poll_seconds", 3600)
    monkeypatch.setattr(listening, "RETRY_SECONDS", 0.01)


@pytest.fixture
def node(make_manager: Callable[..., RecoveryManager], clock: FakeClock) -> RecoveryManager:
    """Return the process of the pages."""
    return make_manager(clock=clock, storage=DatabaseStorage(database=ALIAS, clock=clock))


@pytest.fixture
def other(
    make_manager: Callable[..., RecoveryManager], clock: FakeClock
) -> Iterator[RecoveryManager]:
    """Return the process that publishes."""
    manager = make_manager(clock=clock, storage=DatabaseStorage(database=ALIAS, clock=clock))
    with override_manager(manager):
        yield manager


def watch_of(manager: RecoveryManager) -> listening.ListeningWatch:
    watch = reader_of(manager.driver)._watch
    assert isinstance(watch, listening.ListeningWatch)
    return watch


@asynccontextmanager
async def listening_page(node: RecoveryManager) -> AsyncIterator[Page]:
    async with page_of(node) as page:
        await page.join(group=ROOM)
        await eventually(lambda: watch_of(node).is_listening)
        yield page


async def test_a_notification_wakes_it(
    node: RecoveryManager, other: RecoveryManager, no_polls: None
) -> None:
    async with listening_page(node) as page:
        await publish(*range(20))
        await page.hear(*range(20))


async def test_it_looks_again_for_what_a_busy_process_did_not_notify_of(
    node: RecoveryManager,
    other: RecoveryManager,
    no_polls: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgresql, "QUIET_SECONDS", 3600)
    # Also on a machine that takes long for the second message.
    monkeypatch.setattr(listening, "LOOK_AGAIN_SECONDS", tuple(each / 10 for each in range(1, 300)))
    async with listening_page(node) as page:
        for number in range(3):
            await publish(number)
            await page.hear(number)


async def test_a_server_that_is_gone_without_a_word_is_noticed(
    node: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone:
        async def notifies(self, *, timeout: float, stop_after: int) -> AsyncIterator[None]:
            for _ in ():
                yield

        async def execute(self, _query: str) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(listening, "CONNECT_SECONDS", 0.01)
    watch = listening.ListeningWatch(node.storage, ALIAS)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(watch._hear_next(Gone()), 30)


async def test_an_outage_ends_it_for_a_while(
    node: RecoveryManager, other: RecoveryManager, no_polls: None
) -> None:
    async with listening_page(node) as page:
        await publish(1)
        await page.hear(1)
        await sync_to_async(end_listeners)()
        await publish(2)
        await page.hear(2)
        await publish(3)
        await page.hear(3)


def end_listeners() -> None:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid, 60000)) FROM pg_stat_activity"
            " WHERE query LIKE 'LISTEN%%' AND datname = current_database()"
        )
        assert cursor.fetchone()[0] >= 1
    connections.close_all()


async def test_nobody_listens_once_all_have_left(
    node: RecoveryManager, other: RecoveryManager
) -> None:
    async with listening_page(node):
        watch = watch_of(node)
    assert watch._task is not None
    await eventually(watch._task.done)
    assert not watch.is_listening


async def test_a_process_that_may_not_listen_polls(
    make_manager: Callable[..., RecoveryManager], other: RecoveryManager
) -> None:
    storage = DatabaseStorage(database=ALIAS, listen=False)
    node = make_manager(storage=storage)
    async with page_of(node) as page:
        await page.join(group=ROOM)
        assert type(reader_of(node.driver)._watch) is not listening.ListeningWatch
        await publish(1)
        await page.hear(1)


async def test_behind_a_pooler_it_polls(
    node: RecoveryManager, other: RecoveryManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = connections[ALIAS].settings_dict
    async with pooler(int(settings["PORT"])) as port:
        monkeypatch.setitem(settings, "PORT", port)
        async with page_of(node) as page:
            await page.join(group=ROOM)
            watch = watch_of(node)
            await eventually(lambda: watch._task is not None and watch._task.done())
            assert not watch.is_listening
            await publish(1)
            await page.hear(1)
            await publish(*range(2, 12))
            await page.hear(*range(2, 12))


@asynccontextmanager
async def pooler(port: int) -> AsyncIterator[int]:
    """Run what gives each connection another number of its process, as PgBouncer does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(HOST, port)
        except BaseException:
            writer.close()
            raise
        await asyncio.gather(
            pass_on(reader, server_writer), rename(server_reader, writer), return_exceptions=True
        )

    async with await asyncio.start_server(serve, HOST, 0, family=socket.AF_INET) as server:
        yield server.sockets[0].getsockname()[1]


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def rename(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what the server says, with another number in its BackendKeyData."""
    kind = b""
    try:
        while kind != b"K":
            kind = await reader.readexactly(1)
            if kind == b"N":
                # No TLS, and no message either.
                writer.write(kind)
                continue
            (length,) = struct.unpack(">I", await reader.readexactly(4))
            body = await reader.readexactly(length - 4)
            if kind == b"K":
                body = struct.pack(">I", 1) + body[4:]
            writer.write(kind + struct.pack(">I", length) + body)
        await pass_on(reader, writer)
    finally:
        writer.close()


def test_an_alias_that_isnt_there_is_refused() -> None:
    with pytest.raises(ValueError, match="no alias 'direct'"):
        DatabaseStorage(database=ALIAS, listen="direct")


def test_an_alias_past_the_pooler_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = DatabaseStorage(database=ALIAS, listen=ALIAS)
    watch: Any = storage.watch_messages()
    assert watch._alias == ALIAS
