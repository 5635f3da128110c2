"""Outages behind a real proxy: what log, health and metrics say, and which alerts fire, and when.

The series are those of real servers in real outages, recorded as `tests.support.timelapse` says.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractContextManager,
    asynccontextmanager,
    closing,
    contextmanager,
)
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from recovery_app._core.telemetry import QUIET_SECONDS
from tests.support.asgi import AsgiServer
from tests.support.needs import require
from tests.support.processes import HOST, Process
from tests.support.proxies import make_nginx
from tests.support.redis import client, make_redis
from tests.support.timelapse import Expectations, Page, Recorder, all_of, status_of

PAGES = 24
MINUTE = 4
"""Scrapes in a minute."""
WAIT_SECONDS = 60


@dataclass
class Site:
    """Servers that are watched, and the pages that people have open."""

    servers: list[AsgiServer]
    pages: list[Page]
    url: str
    recorder: Recorder = field(default_factory=Recorder)
    expected: Expectations = field(default_factory=Expectations)
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def now(self) -> int:
        """The number of the last scrape."""
        return self.recorder.scrapes

    async def live(self, minutes: float) -> None:
        """Have each page send an event between two scrapes, for so long."""
        for _ in range(int(minutes * MINUTE)):
            await all_of(self.pages, "add")
            await self.scrape()

    async def wait(self, minutes: float) -> None:
        """Let time pass in which nobody does anything."""
        for _ in range(int(minutes * MINUTE)):
            await self.scrape()

    async def come_back(self) -> list[bool]:
        """Have all pages reconnect; return who got in."""
        return await all_of(self.pages, "come_back", self.url)

    async def scrape(self) -> None:
        self.figures = await asyncio.to_thread(self.recorder.scrape, self.servers)

    def figure(self, name: str) -> float:
        """Return a sample, added up over its labels and the servers."""
        prefix = f"golivekit_recovery_{name}{{"
        return sum(v for key, v in self.figures.items() if key.startswith(prefix))


@pytest.fixture
def promtool() -> str:
    path = shutil.which("promtool")
    require("promtool", path)
    return str(path)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Process]:
    directory = tmp_path / "redis"
    directory.mkdir()
    with make_redis(directory) as server:
        set_password(server)
        yield server


def set_password(redis: Process, password: str = "secret") -> None:
    """Give the site's own user a password, who isn't the tests'."""
    with client(redis.port) as connection:
        rule = ["ON", "RESETPASS", f">{password}", "~*", "&*", "+@all"]
        connection.execute_command("ACL", "SETUSER", "site", *rule)


def make_server(
    asgi_server: Callable[..., AsgiServer], redis: Process, *arguments: str, **env: str
) -> AsgiServer:
    """Start a node."""
    env = {
        "REDIS_URL": f"redis://site:secret@{HOST}:{redis.port}/0",
        "DJANGO_SETTINGS_MODULE": "tests.support.sessions",
        "DRAIN_SECONDS": "0.5",
        **env,
    }
    application = "tests.support.draining:application"
    return asgi_server(application=application, env=env, arguments=arguments)


# Outages of Redis, and of the proxy


@contextmanager
def stopped(redis: Process) -> Iterator[None]:
    redis.stop()
    try:
        yield
    finally:
        redis.start()
        set_password(redis)


@contextmanager
def full(redis: Process) -> Iterator[None]:
    with client(redis.port) as connection:
        connection.config_set("maxmemory-policy", "noeviction")
        connection.config_set("maxmemory", 1)
        yield
        connection.config_set("maxmemory", 0)


@contextmanager
def another_password(redis: Process) -> Iterator[None]:
    set_password(redis, "changed")
    with client(redis.port) as connection:
        connection.client_kill_filter(_type="normal", skipme=True)
    yield
    set_password(redis)


@contextmanager
def without_permission(redis: Process) -> Iterator[None]:
    with client(redis.port) as connection:
        connection.execute_command("ACL", "SETUSER", "site", "-eval", "-evalsha")
        yield
    set_password(redis)


@dataclass(frozen=True)
class Outage:
    """An outage of Redis, what log and health say of it, and which alert it is, and when."""

    make: Callable[[Process], AbstractContextManager[None]]
    cause: str
    alert: str = "RecoveryStorageUnavailable"
    minutes: int = 4


OUTAGES = (
    Outage(stopped, "Connection refused"),
    Outage(full, "its memory is full (OOM)"),
    Outage(another_password, "the user or password is refused"),
    Outage(without_permission, "the user lacks a permission", "RecoveryStorageBroken", 6),
)


@asynccontextmanager
async def outage(
    site: Site, redis: Process, make: Callable[[Process], AbstractContextManager[None]]
) -> AsyncIterator[None]:
    """Have an outage of Redis, and go on once calls have gone well for a while."""
    with make(redis):
        yield
    await all_of(site.pages, "add")
    await asyncio.sleep(QUIET_SECONDS)
    deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
    while site.figure("storage_down"):
        assert asyncio.get_running_loop().time() < deadline
        await site.live(1 / MINUTE)


async def test_outages_of_redis_and_of_the_proxy(
    asgi_server: Callable[..., AsgiServer], redis: Process, tmp_path: Path, promtool: str
) -> None:
    directory = tmp_path / "metrics"
    directory.mkdir()
    env = {"PROMETHEUS_MULTIPROC_DIR": str(directory)}
    node = make_server(asgi_server, redis, "--workers", "2", **env)
    with make_nginx(tmp_path / "proxy", [node, node]) as nginx:
        site = Site([node], [Page("/counting") for _ in range(PAGES)], f"ws://{HOST}:{nginx.port}")
        await site.scrape()
        assert all(await site.come_back())
        await site.live(2)
        await check_short_outage(site, redis)
        for each in OUTAGES:
            await check_outage(site, redis, each)
        await check_proxy(site, nginx)
        await all_of(site.pages, "cut")
    assert site.figure("topics_unsafe") == 0
    site.expected.check(promtool, site.recorder, tmp_path / "alerts.test.yml")


async def check_outage(site: Site, redis: Process, each: Outage) -> None:
    """Have an outage that is long enough for somebody to be woken up."""
    node, start = site.servers[0], site.now
    async with outage(site, redis, each.make):
        await site.live(each.minutes)
        site.expected.firing(site.now, each.alert)
        assert site.figure("topics_unsafe") == PAGES
        for probe in ("live", "ready"):
            assert status_of(f"{node.url}/health/{probe}/")[0] == 200
        status, text = status_of(f"{node.url}/health/storage/")
        assert status == 503
        assert each.cause in text
    site.expected.firing(site.now)
    await site.live(3)
    assert site.figure("topics_unsafe") == 0
    site.expected.firing(site.now)
    site.expected.fired(start, site.now, each.alert)
    assert each.cause in node.output()
    assert {page.is_up for page in site.pages} == {True}


async def check_short_outage(site: Site, redis: Process) -> None:
    """Have one of a minute, of which the log has two lines, and over which nobody is woken up."""
    start = site.now
    async with outage(site, redis, stopped):
        await site.live(1)
    await site.live(4)
    site.expected.fired(start, site.now)


async def check_proxy(site: Site, nginx: Process) -> None:
    """Restart the proxy within a minute, and then leave it down."""
    start = site.now
    nginx.stop()
    assert not any(await site.come_back())
    await site.wait(1)
    assert site.figure("topics_open") == site.figure("connections_open") == 0
    nginx.start()
    assert all(await site.come_back())
    await site.live(4)
    assert {page.outcome for page in site.pages} == {"recovered"}
    site.expected.fired(start, site.now)
    nginx.stop()
    await all_of(site.pages, "cut")
    await site.wait(4)
    site.expected.firing(site.now, "RecoveryPagesGone")
    nginx.start()
    assert all(await site.come_back())
    await site.live(1)
    site.expected.firing(site.now)


# Bad deploys, and others that lose states

COOKIE = {"Cookie": f"sessionid={'a' * 32}"}
SECRET = {"DEMO_SECRET_KEY": "one secret " * 5}
ANOTHER_SECRET = {"DEMO_SECRET_KEY": "another secret " * 5}


@dataclass
class Deploys:
    """Nodes of one process each, one after the other."""

    site: Site
    start: Callable[..., AsgiServer]

    async def deploy(self, **env: str) -> set[str]:
        """Replace the node; all pages come back before it is scraped. Return their outcomes."""
        (old,) = self.site.servers
        new = await asyncio.to_thread(self.start, **env)
        await asyncio.to_thread(old.stop)
        self.site.servers, self.site.url = [new], new.ws_url
        return await self.come_back()

    async def come_back(self) -> set[str]:
        """Have all pages come back, and return their outcomes."""
        assert all(await self.site.come_back())
        return {page.outcome for page in self.site.pages}


@contextmanager
def sessions_are_away(data: Path) -> Iterator[None]:
    """Take away the table of sessions, which middleware needs before a consumer hears anything."""
    there, away = "django_session", "django_session_away"
    for old, new in ((there, away), (away, there)):
        with closing(sqlite3.connect(data / "demo.sqlite3", timeout=WAIT_SECONDS)) as database:
            database.execute(f"ALTER TABLE {old} RENAME TO {new}")
        if old == there:
            yield


async def test_deploys_and_losses(
    asgi_server: Callable[..., AsgiServer], redis: Process, tmp_path: Path, promtool: str
) -> None:
    start = partial(make_server, asgi_server, redis)
    node = start(**SECRET)
    site = Site([node], [Page("/counting", COOKIE) for _ in range(PAGES)], node.ws_url)
    deploys = Deploys(site, start)
    await site.scrape()
    assert await deploys.come_back() == {"new"}
    await site.live(2)

    # A deploy as it should be.
    assert await deploys.deploy(**SECRET) == {"recovered"}
    await site.live(6)
    site.expected.fired(0, site.now)

    # The database with the sessions is away.
    with sessions_are_away(tmp_path / "demo"):
        for _ in range(4 * MINUTE):
            assert not any(await site.come_back())
            await site.scrape()
        site.expected.firing(site.now, "RecoveryJoinsFail", "RecoveryPagesGone")
        assert site.figure("topics_open") == 0
    assert await deploys.come_back() == {"recovered"}
    await site.live(6)
    site.expected.firing(site.now)

    # Redis forgets everything.
    with client(redis.port) as connection:
        connection.flushall()
    assert await deploys.come_back() == {"not_found"}
    await site.wait(2)
    site.expected.firing(site.now, "RecoveryStatesLost")
    await site.live(6)
    site.expected.firing(site.now)

    # Code that can't restore what it has stored.
    assert await deploys.deploy(**SECRET, BROKEN_RESTORE="1") == {"failed"}
    await site.wait(2)
    site.expected.firing(site.now, "RecoveryRestoreFails")
    await site.wait(6)
    site.expected.firing(site.now)

    # Another secret, without the old one as a fallback.
    assert await deploys.deploy(**ANOTHER_SECRET) == {"rejected"}
    await site.wait(2)
    site.expected.firing(site.now, "RecoveryTokensRejectedSuddenly")
    await all_of(site.pages, "cut")
    site.expected.check(promtool, site.recorder, tmp_path / "alerts.test.yml")
