"""The client in Firefox and WebKit: what is promised holds in browsers of other makers, too."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.desk import READ_FORM
from tests.support.asgi import AsgiServer
from tests.support.processes import RUNNING
from tests.support.tabs import Tab
from tests.support.webdriver import Browser

MANY = 40
"""More events than may be under way at once."""

TOO_LARGE_CHARS = 300_000
"""More than ``MAX_FRAME_BYTES``."""

OWNERS = "({ held }) => held.filter(({ name }) => name === 'lv_recovery_ledger').length"


@pytest.fixture(scope="module")
def ledger_server(
    migrated_demo: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AsgiServer]:
    """Return the example with the page of the ledger."""
    data = shutil.copytree(migrated_demo, tmp_path_factory.mktemp("ledger") / "demo")
    with AsgiServer(data=data, application="tests.browser.ledger:application") as server:
        yield server


@pytest.fixture
def server(ledger_server: AsgiServer) -> Iterator[AsgiServer]:
    """Return it for a test that kills it, and have it run for the next one."""
    yield ledger_server
    if ledger_server not in RUNNING:
        ledger_server.start()


class Ledger:
    """The page of the ledger in a tab."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab

    def had(self, outcome: str) -> None:
        """Wait until the page is connected, after a join with this outcome."""
        self.tab.until("[seen.outcomes.at(-1), socket.status]", [outcome, "connected"])

    def is_cut(self) -> None:
        self.tab.until("socket.status !== 'connected'")

    def add(self, *numbers: int, pad: str = "''") -> None:
        """Push an event for each number, and wait for no reply."""
        self.tab.evaluate(f"{json.dumps(numbers)}.forEach((number) => add(number, {pad}))")

    def go(self, delta: int, query: str) -> None:
        """Go back or forward to the page of a query: from the cache, or loaded again."""
        self.tab.go(delta)
        self.tab.until("[location.search, seen.isShown]", [f"?{query}", True])

    def has(self, *numbers: int) -> None:
        """Check what the server has applied, and that the page was told of no loss."""
        assert self.tab.evaluate("numbers()") == [*numbers]
        assert self.tab.evaluate("[seen.lost, seen.refused, seen.errors]") == [[], [], []]


@pytest.fixture
def open_ledger(ledger_server: AsgiServer) -> Callable[..., Ledger]:
    """Return a function that opens the page in a tab."""

    def open_in(tab: Tab, outcome: str, query: str = "") -> Ledger:
        tab.open(f"{ledger_server.url}/ledger/?{query}")
        ledger = Ledger(tab)
        ledger.had(outcome)
        return ledger

    return open_in


def is_recovered(tab: Tab, form: object) -> None:
    """Wait until the demo has recovered, and check its form."""
    tab.until("document.querySelector('#status').dataset.status", "connected")
    tab.until("document.querySelector('#outcome').textContent", "recovered")
    assert tab.evaluate(f"({READ_FORM})()") == form


def test_a_form_outlives_a_killed_server_and_a_reload(tab: Tab, server: AsgiServer) -> None:
    tab.open(server.url)
    tab.until("document.querySelector('#status').dataset.status", "connected")
    tab.evaluate("document.querySelector('[data-change=fill_in]').click()")
    tab.until("document.querySelectorAll('#items > li').length", 4)
    tab.until("document.querySelector('#saved').dataset.unsaved", "0")
    form = tab.evaluate(f"({READ_FORM})()")
    server.kill()
    tab.until("document.querySelector('#status').dataset.status !== 'connected'")
    server.start()
    is_recovered(tab, form)
    tab.reload()
    is_recovered(tab, form)


def test_events_around_a_kill_are_applied_once_and_in_order(
    tab: Tab, server: AsgiServer, open_ledger: Callable[..., Ledger]
) -> None:
    ledger = open_ledger(tab, "new")
    ledger.add(*range(MANY))
    server.kill()
    ledger.is_cut()
    ledger.add(*range(MANY, 2 * MANY))
    server.start()
    ledger.had("recovered")
    ledger.has(*range(2 * MANY))
    assert tab.evaluate("seen.replies") == [*range(2 * MANY)]


@pytest.mark.slow
def test_events_pushed_offline_are_applied_after_a_reload(
    tab: Tab, open_ledger: Callable[..., Ledger]
) -> None:
    ledger = open_ledger(tab, "new")
    ledger.add(1)
    ledger.has(1)
    tab.evaluate("socket.disconnect()")
    ledger.add(2, 3)
    tab.reload()
    ledger.had("recovered")
    ledger.has(1, 2, 3)
    assert tab.evaluate("seen.replies") == [2, 3]


def test_back_and_forward_lose_nothing(tab: Tab, open_ledger: Callable[..., Ledger]) -> None:
    ledger = open_ledger(tab, "new", "first")
    # Each page is left before its event is answered.
    ledger.add(1)
    open_ledger(tab, "recovered", "second").add(2)
    for delta, query, number in ((-1, "first", 3), (1, "second", 4), (-1, "first", 5)):
        ledger.go(delta, query)
        ledger.add(number)
    ledger.has(1, 2, 3, 4, 5)


@pytest.mark.slow
def test_a_page_comes_back_to_another_state(tab: Tab, open_ledger: Callable[..., Ledger]) -> None:
    ledger = open_ledger(tab, "new", "first")
    ledger.add(1, 2, 3)
    ledger.has(1, 2, 3)
    tab.evaluate("socket.disconnect()")
    tab.evaluate("socket.forget()")
    open_ledger(tab, "new", "second").add(4)
    ledger.has(4)
    ledger.go(-1, "first")
    ledger.add(5)
    tab.evaluate("socket.connect()")
    ledger.has(4, 5)


@pytest.mark.slow
def test_events_kept_by_the_page_before_are_applied_once(
    tab: Tab, open_ledger: Callable[..., Ledger]
) -> None:
    ledger = open_ledger(tab, "new", "first")
    tab.evaluate("socket.disconnect()")
    ledger.add(1, 2)
    open_ledger(tab, "recovered", "second").has(1, 2)
    ledger.go(-1, "first")
    tab.evaluate("socket.connect()")
    ledger.add(3)
    ledger.has(1, 2, 3)


@pytest.mark.slow
def test_events_of_a_page_that_was_left_at_once_are_not_forgotten(
    tab: Tab, open_ledger: Callable[..., Ledger]
) -> None:
    ledger = open_ledger(tab, "new", "first")
    ledger.add(1)
    open_ledger(tab, "recovered", "second").has(1)
    tab.evaluate("socket.disconnect()")
    ledger.go(-1, "first")
    ledger.had("recovered")
    ledger.go(1, "second")
    tab.evaluate("socket.disconnect()")
    ledger.add(2)
    ledger.go(-1, "first")
    ledger.has(1, 2)


def test_a_duplicated_tab_goes_on_with_a_copy(tab: Tab, open_ledger: Callable[..., Ledger]) -> None:
    first = open_ledger(tab, "new")
    first.add(1)
    first.has(1)
    second = Ledger(tab.click_open("#duplicate"))
    second.had("recovered")
    second.add(2)
    second.has(1, 2)
    tab.evaluate("socket.drop()")
    first.had("copied")
    first.add(3)
    first.has(1, 2, 3)
    second.tab.evaluate("socket.drop()")
    second.had("recovered")
    second.add(4)
    second.has(1, 2, 4)


@pytest.mark.slow
def test_a_page_and_its_frame_each_have_a_state_and_events(
    tab: Tab, open_ledger: Callable[..., Ledger]
) -> None:
    open_ledger(tab, "new", "framed")
    tab.until("frames[0].seen.outcomes", ["new"])
    tab.evaluate("[globalThis, frames[0]].map(({ socket }) => socket.disconnect())")
    tab.evaluate("[add(1), frames[0].add(2)]")
    tab.reload()
    for page, number in (("globalThis", 1), ("frames[0]", 2)):
        tab.until(f"[{page}.seen.outcomes, {page}.seen.replies]", [["recovered"], [number]])
        assert tab.evaluate(f"{page}.numbers()") == [number]


def test_with_local_storage_one_tab_owns_the_token(
    tab: Tab, browser: Browser, open_ledger: Callable[..., Ledger]
) -> None:
    query = "storage=localStorage"
    owner = open_ledger(tab, "new", query)
    owner.add(1)
    other = open_ledger(browser.new_tab(), "new", query)
    other.add(2)
    other.has(2)
    owner.has(1)
    tab.reload()
    owner.had("recovered")
    owner.has(1)
    heir_tab = browser.new_tab()
    tab.close()
    other.tab.until(f"navigator.locks.query().then({OWNERS})", 0)
    heir = open_ledger(heir_tab, "recovered", query)
    heir.add(3)
    heir.has(1, 3)
    other.tab.reload()
    other.had("recovered")
    other.has(2)


@pytest.mark.slow
def test_an_event_that_is_too_large_is_lost_and_the_next_goes_on(
    tab: Tab, open_ledger: Callable[..., Ledger]
) -> None:
    ledger = open_ledger(tab, "new")
    ledger.add(1)
    ledger.add(2, pad=f"'x'.repeat({TOO_LARGE_CHARS})")
    ledger.add(3)
    tab.until("seen.refused", [[2, "too_large"]])
    assert tab.evaluate("seen.lost") == [["too_large", [2]]]
    tab.until("seen.replies", [1, 3])
    assert tab.evaluate("numbers()") == [1, 3]
