"""The page "Snapshots" in the demo's admin, in Chromium."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, ViewportSize, expect
from websockets.asyncio.client import connect

from recovery_app.models import StoredSnapshot
from tests.browser.desk import Monitor
from tests.support.asgi import AsgiServer, manage

OpenList = Callable[..., AbstractAsyncContextManager[Page]]
LIST = "/admin/recovery_app/snapshot/"
JOIN = ["1", "1", "quote", "phx_join", {}]
FILL_IN = ["1", "2", "quote", "fill_in", {}]
DESKTOP: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 375, "height": 800}
CONTRAST = """(selector) => {
    const luminance = (colour) => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map((part) => {
            const share = part / 255;
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const back = luminance(getComputedStyle(document.body).backgroundColor);
    return [...document.querySelectorAll(selector)].map((element) => {
        const style = getComputedStyle(element);
        const front = luminance(element.closest("svg") ? style.fill : style.color);
        return (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
    });
}"""
SOCKET_ID = "x" * 255
SAVE = f"""
from recovery_app import get_manager
manager = get_manager()
manager.save(manager.create_token("{SOCKET_ID}"), {{}})
"""
OVERFLOW = "document.documentElement.scrollWidth - innerWidth"


@pytest.fixture(scope="session")
def admin_server(
    migrated_demo: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AsgiServer]:
    """Return the demo with a superuser, shared by these tests."""
    data = shutil.copytree(migrated_demo, tmp_path_factory.mktemp("admin") / "demo")
    who = ("--username", "admin", "--email", "admin@example.com")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_SUPERUSER_PASSWORD", "admin")
        manage("createsuperuser", "--noinput", *who, data=data)
    with AsgiServer(data=data) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def server(admin_server: AsgiServer) -> AsgiServer:
    """Return the demo with a superuser, three quotes and no other snapshot."""
    with closing(sqlite3.connect(admin_server.log.parent / "demo.sqlite3")) as connection:
        connection.execute(f"DELETE FROM {StoredSnapshot._meta.db_table}")
        connection.commit()
    for _ in range(3):
        async with connect(f"{admin_server.ws_url}/ws/websocket") as socket:
            for frame in (JOIN, FILL_IN):
                await socket.send(json.dumps(frame))
                await socket.recv()
    return admin_server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def logged_in(chromium: Browser, admin_server: AsgiServer) -> Any:
    """Return what a browser keeps of a login."""
    async with await chromium.new_context() as context:
        page = await context.new_page()
        await page.goto(f"{admin_server.url}/admin/login/?next={LIST}")
        await page.get_by_label("Username").fill("admin")
        await page.get_by_label("Password").fill("admin")
        await page.get_by_role("button", name="Log in").click()
        await expect(page.get_by_role("heading", name="Snapshots", exact=True)).to_be_visible()
        return await context.storage_state()


@pytest.fixture
def open_list(chromium: Browser, server: AsgiServer, logged_in: Any) -> OpenList:
    """Return a function that opens the list in a new context of the browser."""
    return partial(_open_list, chromium, server, storage_state=logged_in)


@asynccontextmanager
async def _open_list(chromium: Browser, server: AsgiServer, **options: Any) -> AsyncIterator[Page]:
    """Open the list; check for errors and requests to other hosts."""
    async with await chromium.new_context(**{"viewport": DESKTOP, **options}) as context:
        monitor = Monitor(context)
        page = await context.new_page()
        await page.goto(f"{server.url}{LIST}")
        await expect(page.get_by_role("heading", name="Snapshots", exact=True)).to_be_visible()
        yield page
        assert [error for error in monitor.errors if "404" not in error] == []
        assert {url.split("/")[2] for url in monitor.urls} == {server.url.split("/")[2]}


async def test_an_operator_finds_and_revokes_a_snapshot(open_list: OpenList) -> None:
    async with open_list() as page:
        rows = page.locator("#result_list tbody tr")
        await expect(rows).to_have_count(3)
        left = page.locator("[data-recovery-seconds]").first
        before = await left.inner_text()
        await expect(left).not_to_have_text(before)
        assert await left.inner_text() < before
        name = await rows.first.get_by_role("link").inner_text()
        await page.get_by_role("textbox", name="Search").fill(name)
        await page.keyboard.press("Enter")
        await expect(rows).to_have_count(1)
        await rows.first.get_by_role("link").click()
        await expect(page.get_by_text("Alder & Finch Architects")).to_be_visible()
        await page.get_by_role("link", name="Revoke …").click()
        await page.get_by_role("button", name="Yes, revoke").click()
        await expect(page.get_by_text("Revoked 1 snapshot.")).to_be_visible()
        await expect(rows).to_have_count(2)


async def test_the_tree_works_by_the_keyboard(open_list: OpenList) -> None:
    async with open_list() as page:
        await page.locator("#result_list tbody a").first.click()
        item = page.locator(".recovery-tree details details details").first
        await expect(item).not_to_have_attribute("open", "")
        await item.locator("summary").focus()
        await page.keyboard.press("Enter")
        await expect(item).to_have_attribute("open", "")
        await expect(item.get_by_text("Oak desk, 160 × 80 cm")).to_be_visible()
        await page.keyboard.press("Space")
        await expect(item).not_to_have_attribute("open", "")


async def test_all_rows_of_a_page_are_selected_at_once(open_list: OpenList) -> None:
    async with open_list() as page:
        everything = page.get_by_label("Select all snapshots on this page")
        await everything.check()
        boxes = page.locator("input.action-select")
        assert [await box.is_checked() for box in await boxes.all()] == [True] * 3
        await boxes.first.uncheck()
        assert await everything.evaluate("(box) => [box.checked, box.indeterminate]") == [
            False,
            True,
        ]
        await page.get_by_role("button", name="Revoke selected …").click()
        await expect(page.get_by_text("Revoke these 2 snapshots?")).to_be_visible()


async def test_without_scripts_nothing_is_missing(open_list: OpenList) -> None:
    async with open_list(java_script_enabled=False) as page:
        await page.locator("input.action-select").first.check()
        await page.get_by_role("button", name="Revoke selected …").click()
        await page.get_by_role("button", name="Yes, revoke").click()
        await expect(page.get_by_text("Revoked 1 snapshot.")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_both_themes_can_be_read(open_list: OpenList, theme: Any) -> None:
    async with open_list(color_scheme=theme) as page:
        bars = await page.evaluate(CONTRAST, "svg.recovery-chart rect")
        texts = await page.evaluate(CONTRAST, "svg.recovery-chart text, .recovery-summary dt")
        assert len(bars) == 2
        assert min(bars) >= 3
        assert min(texts) >= 4.5
        await page.locator("#result_list tbody a").first.click()
        await expect(page.locator(".recovery-tree")).to_be_visible()
        await page.wait_for_load_state()
        assert min(await page.evaluate(CONTRAST, ".recovery-type, .recovery-value")) >= 4.5


async def test_a_long_socket_id_is_broken(server: AsgiServer, open_list: OpenList) -> None:
    manage("shell", "-c", SAVE, data=server.log.parent)
    async with open_list() as page:
        await page.get_by_role("link", name=SOCKET_ID).click()
        await expect(page.get_by_role("heading", name=SOCKET_ID)).to_be_visible()
        for viewport in (DESKTOP, PHONE):
            await page.set_viewport_size(viewport)
            assert await page.evaluate(OVERFLOW) <= 0


async def test_a_phone_scrolls_in_one_direction_only(open_list: OpenList) -> None:
    async with open_list(viewport=PHONE) as page:
        assert await page.evaluate(OVERFLOW) <= 0
        await page.locator("#result_list tbody a").first.click()
        await expect(page.locator(".recovery-tree")).to_be_visible()
        assert await page.evaluate(OVERFLOW) <= 0
        await page.get_by_role("link", name="Revoke …").click()
        await expect(page.get_by_role("button", name="Yes, revoke")).to_be_visible()
        assert await page.evaluate(OVERFLOW) <= 0


LOSE = """
from recovery_app import get_manager
manager = get_manager()
for number in range(3):
    manager.journal.note(
        "recovery",
        "unavailable",
        cause="Connection refused (10.0.0.5:6379)",
        view="form",
        topic="x" * 255,
        shown_hash=f"{number:016}",
    )
assert manager.journal.flush(60)
"""


async def test_the_journal_can_be_read_on_a_desk_and_a_phone(
    server: AsgiServer, open_list: OpenList
) -> None:
    manage("shell", "-c", LOSE, data=server.log.parent)
    for options in ({"color_scheme": "dark"}, {"viewport": PHONE}):
        async with open_list(**options) as page:
            await page.get_by_role("link", name="Journal", exact=True).last.click()
            # Other tests have entries of their own there.
            ours = page.locator("#result_list tbody tr").filter(has_text="10.0.0.5")
            await expect(ours).to_have_count(3)
            await expect(page.locator(".recovery-timeline rect")).not_to_have_count(0)
            assert await page.evaluate(OVERFLOW) <= 0
            assert min(await page.evaluate(CONTRAST, ".recovery-timeline rect")) >= 3
            texts = ".recovery-timeline text, .recovery-why, .recovery-journal .quiet"
            assert min(await page.evaluate(CONTRAST, texts)) >= 4.5
            await page.get_by_label("View").fill("elsewhere")
            await page.get_by_role("button", name="Search").click()
            await expect(page.get_by_text("No entries match.")).to_be_visible()


async def test_live_pages_can_be_read_on_a_desk_and_a_phone(
    server: AsgiServer, open_list: OpenList
) -> None:
    async with connect(f"{server.ws_url}/ws/websocket") as socket:
        await socket.send(json.dumps(JOIN))
        await socket.recv()
        for options in ({"color_scheme": "dark"}, {"viewport": PHONE}):
            async with open_list(**options) as page:
                await expect(page.locator(".recovery-place")).to_have_count(1)
                await page.get_by_role("link", name="Live pages").last.click()
                await expect(page.locator(".recovery-totals dd").first).to_have_text("1")
                await expect(page.locator(".recovery-timeline rect")).not_to_have_count(0)
                assert await page.evaluate(OVERFLOW) <= 0
                assert min(await page.evaluate(CONTRAST, ".recovery-timeline rect")) >= 3
                texts = ".recovery-timeline text, .recovery-live td, .recovery .help, .quiet"
                assert min(await page.evaluate(CONTRAST, texts)) >= 4.5
                await page.get_by_label("User").fill("admin")
                await page.get_by_role("button", name="Search").click()
                await expect(page.get_by_text("No open pages match.")).to_be_visible()
                assert await page.evaluate(OVERFLOW) <= 0
                await page.get_by_role("link", name="Show all").click()
                await expect(page.get_by_text("1 person has pages open.")).to_be_visible()


async def test_groups_are_there_to_see_on_a_phone(open_list: OpenList, server: AsgiServer) -> None:
    message = "{'type': 'a', 'text': 'y' * 500}"
    publish = f"from recovery_app import groups; groups.publish('room:{'x' * 200}', {message})"
    manage("shell", "-v", "0", "-c", publish, data=server.log.parent)
    async with open_list(viewport=PHONE) as page:
        await page.goto(f"{server.url}/admin/recovery_app/storedgroup/")
        assert await page.evaluate(OVERFLOW) <= 0
        await page.get_by_role("link", name="room:xxx").click()
        await expect(page.get_by_role("heading", name="Last messages")).to_be_visible()
        assert await page.evaluate(OVERFLOW) <= 0
        await page.get_by_role("link", name="Delete all messages …").click()
        await page.get_by_role("button", name="Yes, delete").click()
        await expect(page.get_by_text("There are no groups yet")).to_be_visible()
