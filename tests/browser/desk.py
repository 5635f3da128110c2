"""The page object of the demo."""

from __future__ import annotations

from typing import Any

from playwright.async_api import BrowserContext, Locator, Page, expect

# What a browser says of a server that isn't running, or dies.
OF_A_DEAD_SERVER = ("net::ERR_CONNECTION_REFUSED", "net::ERR_CONNECTION_RESET")
READ_FORM = """() => ({
    number: document.querySelector("#number").textContent,
    total: document.querySelector("#total").textContent,
    values: Array.from(
        document.querySelectorAll("#quote :is(input, select, textarea)"), (field) => field.value
    ),
})"""
MAX_TABS = 80


class Monitor:
    """A recorder of the errors and the URLs of all pages in a context."""

    def __init__(self, context: BrowserContext) -> None:
        self.errors: list[str] = []
        self.urls: list[str] = []
        context.on("console", lambda message: self._record_message(message.type, message.text))
        context.on("weberror", lambda error: self.errors.append(str(error.error)))
        context.on("request", lambda request: self.urls.append(request.url))
        context.on("page", self._record_sockets)

    def _record_sockets(self, page: Page) -> None:
        page.on("websocket", lambda socket: self.urls.append(socket.url))

    def _record_message(self, kind: str, text: str) -> None:
        is_expected = any(error in text for error in OF_A_DEAD_SERVER)
        if kind in {"error", "warning"} and not is_expected:
            self.errors.append(text)


class Desk:
    """A tab with the quote editor; elements are found by their visible names."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.status = page.locator("#status")
        self.outcome = page.locator("#outcome")
        self.items = page.locator("#items > li")
        self.saved = page.locator("#saved")
        self.timeline = page.locator("#timeline")

    async def open(self) -> Desk:
        await self.page.goto(self.url)
        await self.is_connected()
        return self

    async def is_connected(self) -> None:
        await expect(self.status).to_have_attribute("data-status", "connected")

    async def is_cut(self) -> None:
        await expect(self.status).not_to_have_attribute("data-status", "connected")

    async def is_saved(self) -> None:
        """Wait until the server has replied to all changes."""
        await expect(self.saved).to_have_attribute("data-unsaved", "0")

    async def had(self, outcome: str) -> None:
        """Wait for a join with this outcome."""
        await self.is_connected()
        await expect(self.outcome).to_have_text(outcome)

    async def fill_in(self) -> dict[str, Any]:
        """Fill in the example and a discount, and return the form."""
        await self.button("Fill in an example").click()
        await expect(self.items).to_have_count(4)
        await self.field("Discount in %").fill("10")
        await expect(self.page.locator("#total")).to_have_text("4,171.97")
        await self.is_saved()
        return await self.form()

    async def form(self) -> dict[str, Any]:
        """Return the contents of the form."""
        form: dict[str, Any] = await self.page.evaluate(READ_FORM)
        return form

    async def descriptions(self) -> list[str]:
        script = "(all) => all.map((input) => input.value)"
        found: list[str] = await self.page.locator("[data-item-field=description]").evaluate_all(
            script
        )
        return found

    async def took_ms(self) -> int:
        """Return the duration of the last recovery as the page shows it."""
        return int(await self.page.locator("#took").inner_text())

    async def cut(self) -> None:
        """Cut the connection and wait for the recovery."""
        count = await self.timeline.get_by_text("You cut the connection").count()
        await self.button("Cut the connection").click()
        await expect(self.timeline.get_by_text("You cut the connection")).to_have_count(count + 1)
        await self.had("recovered")

    async def stay_offline(self, stay: bool) -> None:
        await self.page.get_by_role("switch", name="Stay offline").set_checked(stay, force=True)

    def field(self, label: str) -> Locator:
        return self.page.get_by_label(label, exact=True)

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name)

    async def tab_to(self, target: Locator, *, key: str = "Tab") -> None:
        """Press a key until the target has the focus."""
        for _ in range(MAX_TABS):
            if await target.evaluate("(element) => element === document.activeElement"):
                return
            await self.page.keyboard.press(key)
        raise AssertionError(f"{target} can't be reached with the keyboard")

    async def token(self) -> str:
        token: str = await self.page.evaluate("sessionStorage.lv_recovery_quote")
        return token


async def duplicate(desk: Desk) -> Desk:
    """Open a tab with a copy of the session storage, like "Duplicate tab"."""
    items = await desk.page.evaluate("JSON.stringify(sessionStorage)")
    page = await desk.page.context.new_page()
    copy = f"if (!sessionStorage.length) Object.assign(sessionStorage, {items})"
    await page.add_init_script(copy)
    return await Desk(page, desk.url).open()
