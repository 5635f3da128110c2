"""The demo in Chromium: input survives all kinds of failures."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from playwright.async_api import expect

from recovery_app.models import StoredSnapshot
from tests.browser.conftest import open_desk
from tests.browser.desk import Desk, duplicate
from tests.support.proxy import RoundRobin
from tests.support.scale import slowness

PHONE = {"viewport": {"width": 375, "height": 812}, "is_mobile": True, "has_touch": True}
DARK = {"color_scheme": "dark"}
SECOND_MS = 1000
TABLE = StoredSnapshot._meta.db_table


# Failures


async def test_after_a_cut_the_form_is_as_it_was(desk):
    await expect(desk.outcome).to_have_text("new")
    before = await desk.fill_in()
    for _ in range(3):
        await desk.cut()
        assert await desk.form() == before
        assert await desk.took_ms() < SECOND_MS * slowness()
    await expect(desk.page.locator("#away")).to_contain_text("Disconnected for")


async def test_after_the_network_went_the_form_is_as_it_was(chromium, shared_server):
    async with RoundRobin([shared_server.port]) as line, open_desk(chromium, line.url) as desk:
        before = await desk.fill_in()
        line.cut()
        await expect(desk.timeline).to_contain_text("The connection was lost")
        await desk.had("recovered")
        assert await desk.form() == before
        assert await desk.took_ms() < SECOND_MS * slowness()


async def test_after_a_reload_the_form_is_as_it_was(desk):
    before = await desk.fill_in()
    await desk.page.reload()
    await desk.had("recovered")
    assert await desk.form() == before
    assert await desk.took_ms() < SECOND_MS * slowness()


async def test_a_reload_in_the_middle_of_a_word_loses_no_letter(desk):
    for text in ("Finch", "Finch & Sons", "Alder"):
        await desk.field("Customer").fill(text)
        await desk.page.reload()
        await desk.had("recovered")
        await expect(desk.field("Customer")).to_have_value(text)
        await desk.is_saved()


async def test_a_killed_server_loses_nothing(own_desk, server):
    before = await own_desk.fill_in()
    server.kill()
    await own_desk.is_cut()
    assert await own_desk.form() == before
    await own_desk.field("Customer").fill("Written while the server was dead")
    await expect(own_desk.saved).to_have_text("1 change waiting to be sent")
    server.start()
    await own_desk.had("recovered")
    assert await own_desk.took_ms() < SECOND_MS * slowness()
    await own_desk.is_saved()
    before["values"][before["values"].index("Alder & Finch Architects")] = (
        "Written while the server was dead"
    )
    assert await own_desk.form() == before

    server.kill()
    server.start()
    await own_desk.page.reload()
    await own_desk.had("recovered")
    assert await own_desk.form() == before


async def test_what_was_on_the_wire_when_the_server_died_is_sent_again(own_desk, server):
    await own_desk.fill_in()
    await own_desk.page.evaluate(
        """() => {
            WebSocket.prototype.send = new Proxy(WebSocket.prototype.send, {
                apply: (send, socket, [text]) =>
                    text.includes("Finch, again") && !globalThis.swallowed
                        ? (globalThis.swallowed = true)
                        : send.call(socket, text),
            });
        }"""
    )
    await own_desk.field("Customer").fill("Finch, again")
    await own_desk.page.wait_for_function("globalThis.swallowed")
    server.kill()
    server.start()
    await own_desk.had("recovered")
    await own_desk.is_saved()
    await own_desk.page.reload()
    await own_desk.had("recovered")
    await expect(own_desk.field("Customer")).to_have_value("Finch, again")


async def test_work_goes_on_while_offline(desk):
    await desk.fill_in()
    total = (await desk.form())["total"]
    await desk.stay_offline(True)
    await desk.is_cut()
    await desk.button("Add a line").click()
    await desk.page.keyboard.type("Cable tray")
    await desk.field("Quantity").last.fill("2")
    await desk.field("Unit price").last.fill("10")
    await desk.button("Remove line 1, Oak desk").click()
    await desk.button("Move line 4, Cable tray up").click()
    offline = await desk.descriptions()
    assert offline == ["Task chair, grey felt", "Desk lamp", "Cable tray", "Assembly on site"]
    assert (await desk.form())["total"] == total
    await expect(desk.page.locator("#offline")).to_contain_text("You are offline")
    await expect(desk.page.locator("#uncounted")).to_have_text("Recalculated when you are online.")
    await expect(desk.button("Start over")).to_be_disabled()

    await desk.stay_offline(False)
    await desk.had("recovered")
    await desk.is_saved()
    await expect(desk.timeline).to_contain_text("changes sent now")
    await desk.page.reload()
    await desk.had("recovered")
    assert await desk.descriptions() == offline
    await expect(desk.page.locator("#total")).to_have_text("2,098.52")


async def test_work_done_offline_outlives_a_reload(desk):
    await desk.stay_offline(True)
    await desk.is_cut()
    await desk.field("Notes").fill("Not sent yet")
    await desk.page.reload()
    await desk.had("recovered")
    await expect(desk.field("Notes")).to_have_value("Not sent yet")
    await desk.is_saved()


async def test_an_outage_of_the_storage_costs_nothing(own_desk, server):
    before = await own_desk.fill_in()
    database = server.log.parent / "demo.sqlite3"
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute(f"ALTER TABLE {TABLE} RENAME TO away")
        await own_desk.button("Cut the connection").click()
        await own_desk.had("unavailable")
        await expect(own_desk.page.locator("#offline")).to_contain_text("can’t load your form")
        assert await own_desk.form() == before
        await own_desk.field("Notes").fill("Written meanwhile")
        connection.execute(f"ALTER TABLE away RENAME TO {TABLE}")
    await own_desk.had("recovered")
    await own_desk.is_saved()
    before["values"][-1] = "Written meanwhile"
    assert await own_desk.form() == before


@pytest.mark.parametrize("outcome", ["rejected", "not_found"])
async def test_a_form_that_is_gone_is_said_to_be(own_desk, server, outcome):
    before = await own_desk.fill_in()
    await own_desk.stay_offline(True)
    await own_desk.field("Notes").fill("This will be lost")
    if outcome == "rejected":
        await own_desk.page.evaluate("sessionStorage.lv_recovery_quote = 'A'.repeat(64)")
        await own_desk.page.reload()
    else:
        with closing(sqlite3.connect(server.log.parent / "demo.sqlite3")) as connection:
            connection.execute(f"DELETE FROM {TABLE}")
            connection.commit()
        await own_desk.stay_offline(False)
    await own_desk.had(outcome)
    await expect(own_desk.page.locator("#outcome-text")).to_contain_text("new form")
    await expect(own_desk.timeline).to_contain_text("1 change lost")
    assert (await own_desk.form())["number"] != before["number"]
    await expect(own_desk.field("Notes")).to_have_value("")


# Tabs


async def test_two_tabs_never_get_each_others_form(desk):
    before = await desk.fill_in()
    async with desk.page.context.expect_page() as opened:
        await desk.button("Open a second tab").click()
    other = Desk(await opened.value, desk.url)
    await other.had("new")
    assert await other.page.evaluate("opener") is None
    fresh = await other.form()
    assert fresh["number"] != before["number"]
    assert fresh["total"] == "0.00"
    await other.field("Customer").fill("Somebody else")
    await other.is_saved()
    for tab in (desk, other):
        await tab.cut()
        await tab.page.reload()
        await tab.had("recovered")
    assert await desk.form() == before
    await expect(other.field("Customer")).to_have_value("Somebody else")
    assert (await other.form())["number"] == fresh["number"]


async def test_a_duplicated_tab_goes_on_with_a_copy(desk):
    before = await desk.fill_in()
    copy = await duplicate(desk)
    await copy.had("recovered")
    assert await copy.form() == before
    await desk.field("Customer").fill("The first tab's")
    await desk.is_saved()
    await expect(desk.timeline).to_contain_text("its own copy")
    await copy.field("Customer").fill("The copy's")
    await copy.is_saved()
    assert await desk.token() != await copy.token()
    for tab, text in ((desk, "The first tab's"), (copy, "The copy's")):
        await tab.cut()
        await expect(tab.field("Customer")).to_have_value(text)
        await tab.page.reload()
        await tab.had("recovered")
        await expect(tab.field("Customer")).to_have_value(text)


# The form


async def test_nothing_clobbers_what_is_being_typed(desk):
    notes = desk.field("Notes")
    await notes.fill("begin end")
    await notes.press("Home")
    for _ in range(6):
        await notes.press("ArrowRight")
    for letter in "the long middle ":
        await desk.page.keyboard.press(letter if letter != " " else "Space")
        if letter == "o":
            await desk.page.evaluate("document.querySelector('#cut').click()")
    await desk.had("recovered")
    await desk.is_saved()
    await expect(notes).to_be_focused()
    await expect(notes).to_have_value("begin the long middle end")
    assert await notes.evaluate("(element) => element.selectionStart") == 22


async def test_numbers_that_are_none_are_said_to_be(desk):
    await desk.fill_in()
    quantity = desk.field("Quantity").first
    await quantity.fill("four")
    await expect(desk.page.locator("#uncounted")).to_have_text("One line isn’t counted.")
    await expect(quantity).to_have_attribute("aria-invalid", "true")
    await expect(quantity).to_have_accessible_description("Enter a number.")
    await desk.cut()
    await expect(quantity).to_have_value("four")
    await quantity.fill("4")
    await expect(quantity).to_have_attribute("aria-invalid", "false")
    await expect(desk.page.locator("#total")).to_have_text("4,171.97")


async def test_lines_are_added_and_moved_with_the_keyboard_alone(desk):
    keyboard = desk.page.keyboard
    await desk.tab_to(desk.field("Description"))
    for place, name in enumerate(("Desk", "Chair", "Lamp")):
        if place:
            await keyboard.press("Enter")
            await expect(desk.items).to_have_count(place + 1)
        await keyboard.type(name)
    await keyboard.press("Alt+ArrowUp")
    assert await desk.descriptions() == ["Desk", "Lamp", "Chair"]
    await keyboard.type("s")
    assert await desk.descriptions() == ["Desk", "Lamps", "Chair"]

    up = desk.button("Move line 2, Lamps up")
    await desk.tab_to(up)
    await keyboard.press("Enter")
    assert await desk.descriptions() == ["Lamps", "Desk", "Chair"]
    await expect(desk.button("Move line 1, Lamps up")).to_be_focused()
    await expect(desk.page.locator("#announcer")).to_have_text("Moved to line 1 of 3.")
    await desk.tab_to(desk.button("Remove line 1, Lamps"))
    await keyboard.press("Space")
    await expect(desk.button("Remove line 1, Desk")).to_be_focused()
    await desk.tab_to(desk.button("Add a line"))
    await keyboard.press("Enter")
    await keyboard.type("Shelf")
    await desk.is_saved()

    await desk.tab_to(desk.button("Cut the connection"))
    await keyboard.press("Enter")
    await desk.had("recovered")
    assert await desk.descriptions() == ["Desk", "Chair", "Shelf"]


# Security


async def test_the_page_can_have_a_strict_content_security_policy(chromium, asgi_server):
    server = asgi_server(application="tests.browser.strict:application")
    async with open_desk(chromium, server.url) as desk:
        await desk.button("Fill in an example").click()
        await expect(desk.items).to_have_count(4)
        await desk.cut()


# Appearance


@pytest.mark.parametrize("desk", [PHONE], indirect=True)
async def test_a_phone_scrolls_in_one_direction_only(desk, tmp_path):
    await desk.fill_in()
    await desk.cut()
    await expect(desk.status).to_contain_text("recovered in", ignore_case=True)
    await desk.field("Quantity").first.fill("four")
    await desk.field("Description").first.fill("A very long description " * 4)
    await desk.page.locator("label.switch").click()
    await expect(desk.page.locator("#offline")).to_be_visible()
    assert await desk.page.evaluate("document.documentElement.scrollWidth") == 375
    await desk.page.screenshot(path=tmp_path / "phone.png", full_page=True)


@pytest.mark.parametrize("desk", [DARK], indirect=True)
async def test_the_theme_may_be_dark(desk, tmp_path):
    await desk.fill_in()
    colours = await desk.page.evaluate(
        """() => [document.body, document.querySelector(".sheet")].map((element) =>
            getComputedStyle(element).backgroundColor.match(/\\d+/g).map(Number))"""
    )
    assert max(max(colour) for colour in colours) < 64
    await desk.page.screenshot(path=tmp_path / "dark.png", full_page=True)
