"""Make fixtures of the machinery in ``tests/support``."""

from __future__ import annotations

import shutil
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from asgiref.sync import SyncToAsync
from django.conf import settings
from django.db import connections
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from playwright.async_api import Browser, Page, async_playwright

from recovery_app._core import telemetry
from recovery_app.conf import _singleton
from recovery_app.consumers import mistakes
from tests.support import browser, databases, emptying, needs
from tests.support.asgi import AsgiServer, manage
from tests.support.caches import ON_REDIS
from tests.support.communicators import have_patience
from tests.support.memcached import find_memcached, make_memcached
from tests.support.processes import HOST, RUNNING, Process

pytest_plugins = ["tests.support.redis_fixtures"]
# As `StorageContract` does: some tests import a part of it first.
pytest.register_assert_rewrite("recovery_app.testing.contract")

# A busy machine is no failure, whichever tests are run on it.
hypothesis_settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("unhurried")
have_patience()
emptying.empty_quickly()

# The files that take longest, so that no worker still has one of them when the others are done.
LONGEST = (
    *("tests/chaos/", "tests/test_js.py", "tests/browser/", "tests/test_npm_clients.py"),
    *("tests/test_outage_trial.py", "tests/test_many_nodes.py", "tests/test_dashboard.py"),
    *("tests/test_redis_failovers.py", "tests/test_redis_masters.py", "tests/test_drain.py"),
    *("tests/test_rolling_deploy.py", "tests/test_attacks.py", "tests/model/"),
    *("tests/test_distribution.py", "tests/core/test_races.py", "tests/test_redis_"),
)
LOG_CHARACTERS = 4000
END_SECONDS = 60


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Ask for what the test needs before any of its fixtures is made."""
    for alias in databases.marked_aliases(item) & databases.SERVERS.keys():
        needs.require(databases.SERVERS[alias].title, alias in settings.DATABASES)
    if "chromium" in getattr(item, "fixturenames", ()):
        needs.require("Chromium", browser.find_chromium())


@pytest.fixture(autouse=True)
def fresh_log_throttle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each test see the first error of a kind in the log."""
    monkeypatch.setattr(telemetry, "throttle", telemetry.LogThrottle())


@pytest.fixture(autouse=True)
def no_warning_of_bare_consumers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests connect to consumers without a stack around them, which the log says once."""
    monkeypatch.setattr(mistakes.person_warning, "is_given", True)


@pytest.fixture(autouse=True)
def no_connection_stays_open(request: pytest.FixtureRequest) -> Iterator[None]:
    """Close what the thread of `sync_to_async` has opened: later, Channels would look at it.

    Those may not use a database, and a look counts as use.
    """
    yield
    if request.node.get_closest_marker("django_db") is not None:
        SyncToAsync.single_thread_executor.submit(connections.close_all).result()


@pytest.fixture(autouse=True)
def no_clean_up_goes_on() -> Iterator[None]:
    """Fail a test that leaves a manager open: it could still clean up in a later test."""
    yield
    _singleton.close()
    for thread in threading.enumerate():
        if thread.name == "recovery_app-cleaner":
            # One that is told to end may need a moment.
            thread.join(END_SECONDS)
            assert not thread.is_alive(), "A manager of this test wasn't closed."


# Databases


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Return SQLite a file and start the servers that some collected test is marked with."""
    name = tmp_path_factory.mktemp("sqlite") / "test.sqlite3"
    settings.DATABASES["default"]["TEST"]["NAME"] = str(name)
    aliases = set().union(*map(databases.marked_aliases, request.session.items))
    with databases.running(aliases, settings.DATABASES):
        yield


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """Keep the test databases: they go with their servers and directories."""
    return True


@pytest.fixture(params=databases.PARAMS)
def database_alias(request: pytest.FixtureRequest) -> str:
    """Return the alias of each database in turn, with transactions, empty after the test."""
    alias: str = request.param
    return alias


# Caches


@pytest.fixture(scope="session")
def cache_directory(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Return Django's file cache a directory."""
    settings.CACHES["file"]["LOCATION"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def memcached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """Run memcached and write its address into Django's ``CACHES``."""
    needs.require("memcached", find_memcached())
    with make_memcached(tmp_path_factory.mktemp("memcached")) as server:
        settings.CACHES["memcached"]["LOCATION"] = f"{HOST}:{server.port}"
        yield server


@pytest.fixture(scope="session")
def redis_caches(redis_server: Process) -> None:
    """Return each cache on Redis a database of its own."""
    for number, alias in enumerate(ON_REDIS, start=1):
        settings.CACHES[alias]["LOCATION"] = f"redis://{HOST}:{redis_server.port}/{number}"


# ASGI servers


@pytest.fixture(scope="session")
def migrated_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the example's data once, for each test to start with a copy."""
    data = tmp_path_factory.mktemp("demo")
    manage("migrate", data=data)
    return data


@pytest.fixture
def asgi_server(tmp_path: Path, migrated_demo: Path) -> Iterator[Callable[..., AsgiServer]]:
    """Return a function that starts an `AsgiServer`; all are stopped after the test.

    All servers of one test have the same data of the example, fresh for the test.
    """
    data = shutil.copytree(migrated_demo, tmp_path / "demo")
    with ExitStack() as stack:

        def start(server: str = "uvicorn", **options: Any) -> AsgiServer:
            return stack.enter_context(AsgiServer(server, data=data, **options))

        yield start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the logs of the ASGI servers with a failed test."""
    report = yield
    if report.failed:
        for process in RUNNING:
            if isinstance(process, AsgiServer):
                title = f"Log of {process.name} on port {process.port}"
                report.sections.append((title, process.output()[-LOG_CHARACTERS:]))
    return report


# The browser


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """Return one Chromium for the whole run."""
    async with async_playwright() as playwright:
        chromium = await browser.launch(playwright)
        yield chromium
        await chromium.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(chromium: Browser) -> AsyncIterator[Page]:
    """Return a page with cookies and storage of its own; ``page.context`` opens further tabs."""
    async with await chromium.new_context() as context:
        yield await context.new_page()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; use the browser on the event loop that it was started on."""
    items.sort(key=_place)
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def _place(item: pytest.Item) -> int:
    places = (place for place, start in enumerate(LONGEST) if item.nodeid.startswith(start))
    return next(places, len(LONGEST))


# What was left out


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that prints the summary, if this one is a worker of pytest-xdist."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = dict(needs.LEFT_OUT)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add up what the workers left out."""
    needs.LEFT_OUT.update(getattr(node, "workeroutput", {}).get("left_out", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was missing on this machine."""
    if needs.LEFT_OUT:
        terminalreporter.section("Left out")
        for thing, count in sorted(needs.LEFT_OUT.items()):
            terminalreporter.write_line(f"{thing} isn't here: {count} tests not run")
