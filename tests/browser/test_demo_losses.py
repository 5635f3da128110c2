"""The demo in Chromium: what a person is told, and what is offered, when something is lost."""

from __future__ import annotations

import json
import re

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser.conftest import open_desk
from tests.browser.wire import LOST, UNLIKE, Wire

SMALL_PHONE = {"viewport": {"width": 360, "height": 640}, "is_mobile": True, "has_touch": True}
NO_LAST_WORD = "addEventListener('pagehide', (event) => event.stopImmediatePropagation(), true)"
HOLD = """() => {
    const { send } = WebSocket.prototype;
    const held = [];
    WebSocket.prototype.send = function (text) { held.push([this, text]); };
    window.release = () => {
        WebSocket.prototype.send = send;
        for (const [socket, text] of held) socket.send(text);
    };
}"""
LISTEN = """() => {
    window.heard = {};
    for (const region of document.querySelectorAll("[role=status], [role=alert], [aria-live]")) {
        window.heard[region.id] = [];
        new MutationObserver(() => window.heard[region.id].push(region.textContent))
            .observe(region, { characterData: true, childList: true, subtree: true });
    }
}"""
AT_EACH_PLACE = """([selector, place]) => {
    const element = document.querySelector(selector);
    element.scrollIntoView({ block: place });
    const { left, right, top, bottom } = element.getBoundingClientRect();
    const corners = [[left + 2, top + 2], [right - 2, bottom - 2]];
    return corners.every(([x, y]) => element.contains(document.elementFromPoint(x, y)));
}"""


@pytest_asyncio.fixture(loop_scope="session")
async def wired(chromium, shared_server):
    """Return a tab and the `Wire` between it and its server."""
    async with open_desk(chromium, shared_server.url) as desk:
        wire = Wire(desk.page)
        await wire.install()
        await desk.page.reload()
        await desk.had("recovered")
        yield desk, wire


# What is being typed


async def test_a_killed_tab_loses_no_letter(desk):
    await desk.page.add_init_script(NO_LAST_WORD)
    await desk.page.reload()
    await desk.had("recovered")
    await desk.stay_offline(True)
    await desk.is_cut()
    await desk.field("Notes").press_sequentially("In the middle of a wo")
    await desk.page.reload()
    await desk.had("recovered")
    await expect(desk.field("Notes")).to_have_value("In the middle of a wo")
    await desk.is_saved()
    assert await desk.page.evaluate("JSON.parse(sessionStorage.quote_memory).draft") is None
    # What the server has is what another page would get.
    await desk.page.evaluate("delete sessionStorage.quote_memory")
    await desk.page.reload()
    await desk.had("recovered")
    await expect(desk.field("Notes")).to_have_value("In the middle of a wo")


async def test_a_slow_answer_is_said_to_be_slow(desk):
    await desk.page.evaluate(HOLD)
    await desk.field("Customer").fill("Finch")
    await expect(desk.saved).to_have_text("Sending…")
    await desk.page.evaluate("release()")
    await desk.is_saved()
    await expect(desk.saved).to_have_text("Saved on the server · 1 change")


# What is said


async def test_screen_readers_hear_of_a_state_once(own_desk, server):
    await own_desk.fill_in()
    await own_desk.page.evaluate(LISTEN)
    server.kill()
    await expect(own_desk.timeline).to_contain_text(re.compile(r"try ([4-9]|\d\d)"))
    server.start()
    await own_desk.had("recovered")
    await own_desk.is_saved()
    took = f"Connectedrecovered in {await own_desk.took_ms()} ms"
    heard = await own_desk.page.evaluate("heard")
    assert [len(heard["status"]), heard["status"][-1]] == [2, took], heard
    assert heard["status"][0] == "Reconnecting…"
    assert [text[:15] for text in heard["offline"]] == ["You are offline", ""]
    assert [heard["notice-text"], heard["announcer"]] == [[], []]


@pytest.mark.parametrize("desk", [SMALL_PHONE], indirect=True)
async def test_on_a_phone_nothing_covers_the_total(desk, tmp_path):
    await desk.fill_in()
    await desk.stay_offline(True)
    await expect(desk.page.locator("#offline")).not_to_be_empty()
    for place in ("start", "center", "end", "nearest"):
        for selector in ("#total", "#notes"):
            assert await desk.page.evaluate(AT_EACH_PLACE, [selector, place]), (selector, place)
        await expect(desk.page.locator("label.switch")).to_be_in_viewport(ratio=1)
        assert await desk.page.evaluate(AT_EACH_PLACE, ["label.switch", "nearest"])
    assert await desk.page.evaluate("document.documentElement.scrollWidth") == 360
    assert await desk.page.evaluate("document.querySelector('main').scrollWidth") == 360
    await desk.page.locator("label.switch").tap()
    await desk.had("recovered")
    await desk.page.screenshot(path=tmp_path / "small-phone.png")


# What is offered


async def test_after_each_loss_what_was_typed_is_put_back_by_one_click(wired):
    desk, wire = wired
    notice, notes = desk.page.locator("#notice-text"), desk.field("Notes")
    for outcome in UNLIKE:
        await notes.fill(f"Saved before {outcome}")
        await desk.is_saved()
        await desk.stay_offline(True)
        await desk.field("Customer").fill(f"Typed before {outcome}")
        wire.outcome = outcome
        # The text keeps the focus, as when a network comes back.
        await desk.page.evaluate("document.querySelector('#stay-offline').click()")
        await expect(desk.outcome).to_have_text(outcome)
        await wire.skip(61)  # Some are waited for.
        await expect(notice).to_contain_text("so this is a new one. What you typed is still here.")
        await expect(notes).to_have_value("")
        await expect(desk.field("Customer")).to_have_value("")
        await desk.button("Put back what I typed").click()
        await expect(notes).to_have_value(f"Saved before {outcome}")
        await expect(desk.field("Customer")).to_have_value(f"Typed before {outcome}")
        await expect(notice).to_be_empty()
        await desk.is_saved()
    wire.outcome = None
    await desk.page.evaluate("delete sessionStorage.quote_memory")
    await desk.page.reload()
    await desk.had("recovered")
    await expect(notes).to_have_value(f"Saved before {outcome}")
    await expect(desk.field("Customer")).to_have_value(f"Typed before {outcome}")


async def test_each_outcome_has_a_sentence_of_its_own(desk):
    sentences = await desk.page.evaluate(
        """async (outcomes) => {
            const { explain } = await import("/static/example_project/notice.js");
            return outcomes.map((outcome) => explain(outcome));
        }""",
        [*LOST, "copied"],
    )
    assert len(set(sentences)) == len(LOST) + 1
    assert all(
        sentence.endswith((" so this is a new one.", " a copy of it.")) for sentence in sentences
    )


async def test_after_a_reload_what_was_typed_is_offered_as_long_as_it_is_not_put_back(wired):
    desk, wire = wired
    await desk.field("Notes").fill("Typed before the reload")
    await desk.field("Description").fill("A line")
    await desk.is_saved()
    for outcome in ("expired", None):
        wire.outcome = outcome
        await desk.page.reload()
        await desk.had(outcome or "recovered")
        await expect(desk.button("Put back what I typed")).to_be_visible()
        await expect(desk.field("Notes")).to_have_value("")
    await desk.button("Put back what I typed").click()
    await expect(desk.field("Notes")).to_have_value("Typed before the reload")
    await expect(desk.field("Description")).to_have_value("A line")
    await expect(desk.items).to_have_count(1)
    await expect(desk.button("Put back what I typed")).not_to_be_visible()


async def test_what_a_copy_lacks_is_offered(wired):
    desk, wire = wired
    await desk.field("Customer").fill("Finch")
    await desk.is_saved()
    await desk.stay_offline(True)
    await desk.is_cut()
    await desk.field("Notes").fill("Not in the copy")
    wire.outcome = "copied"
    await desk.stay_offline(False)
    await desk.had("copied")
    await expect(desk.page.locator("#notice-text")).to_contain_text("a copy of it. What you typed")
    await expect(desk.field("Customer")).to_have_value("Finch")
    await expect(desk.field("Notes")).to_have_value("")
    await desk.button("Put back what I typed").click()
    await expect(desk.field("Notes")).to_have_value("Not in the copy")
    await desk.is_saved()


async def test_a_change_that_is_lost_alone_is_offered(wired):
    desk, wire = wired
    notice = desk.page.locator("#notice-text")
    wire.refused = "Refused"
    await desk.field("Notes").fill("Refused by the server")
    await expect(notice).to_have_text(
        "The server refused your last change. What you typed is still here."
    )
    await expect(desk.field("Notes")).to_have_value("")
    wire.refused, wire.too_large = None, "Enormous"
    await desk.field("Customer").fill("Enormous")
    await expect(notice).to_have_text(
        "A change was too large for the server. What you typed is still here."
    )
    await desk.had("recovered")
    await expect(desk.field("Customer")).to_have_value("")
    wire.too_large = None
    await desk.button("Put back what I typed").click()
    await expect(desk.field("Customer")).to_have_value("Enormous")
    # What was offered first is still wanted.
    await expect(desk.field("Notes")).to_have_value("Refused by the server")
    await desk.is_saved()


async def test_an_offer_is_for_nobody_else_and_can_be_dismissed(wired):
    desk, wire = wired
    offer = desk.button("Put back what I typed")
    blank = {"body": "<link rel=icon href=data:,>", "content_type": "text/html"}
    await desk.page.route("**/blank", lambda route: route.fulfill(**blank))
    await desk.field("Notes").fill("Not for others")
    await desk.is_saved()
    wire.outcome = "expired"
    await desk.button("Cut the connection").click()
    await desk.had("expired")
    await expect(offer).to_be_visible()
    wire.outcome = None
    own = await desk.page.evaluate("sessionStorage.quote_memory")
    others = json.dumps(json.loads(own) | {"names": ["another"]})
    for memory, is_offered in ((others, False), (own, True)):
        # The page itself would write it again when it is left.
        await desk.page.goto(f"{desk.url}/blank")
        await desk.page.evaluate("(text) => (sessionStorage.quote_memory = text)", memory)
        await desk.open()
        await desk.had("recovered")
        await expect(offer).to_be_visible(visible=is_offered)
    await desk.button("Dismiss").click()
    await desk.page.reload()
    await desk.had("recovered")
    await expect(offer).not_to_be_visible()
