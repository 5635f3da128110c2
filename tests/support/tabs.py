"""Tabs of browsers that are driven by WebDriver: by BiDi, or by its classic protocol."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from typing import Any

from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Remote
from selenium.webdriver.common.bidi.browsing_context import BrowsingContext
from selenium.webdriver.common.bidi.script import Script
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.websocket_connection import WebSocketConnection

PATIENCE_SECONDS = 90
"""How long a page may take for anything: machines of CI are slow."""

POLL_SECONDS = 0.05


class Tab(ABC):
    """A tab or a window, with what the tests need of it."""

    @abstractmethod
    def open(self, url: str) -> None:
        """Open a page and wait until it is loaded."""

    @abstractmethod
    def reload(self) -> None:
        """Load the page again and wait until it is loaded."""

    @abstractmethod
    def go(self, delta: int) -> None:
        """Go back (-1) or forward (1). Wait for something that only the other page has."""

    @abstractmethod
    def click(self, selector: str) -> None:
        """Click on an element as a person does, who may open windows."""

    @abstractmethod
    def close(self) -> None:
        """Close it."""

    @abstractmethod
    def siblings(self) -> list[Tab]:
        """Return all tabs of the browser."""

    @abstractmethod
    def _run(self, expression: str) -> Any:
        """Return what the promise of a string resolves with; raise if it is rejected."""

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, awaited, by way of JSON."""
        return json.loads(
            self._run(f"(async () => JSON.stringify(await ({expression}) ?? null))()")
        )

    def until(self, expression: str, expected: Any = True) -> None:
        """Wait until an expression has a value, in whichever page the tab then shows."""
        found: Any = None
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                found = self.evaluate(expression)
            except WebDriverException as error:
                # The page is just being replaced, or it hasn't come so far.
                found = error
            if type(found) is type(expected) and found == expected:
                return
            time.sleep(POLL_SECONDS)
        raise AssertionError(f"{expression} is {found!r}, and not {expected!r}")

    def click_open(self, selector: str) -> Tab:
        """Click on what opens a window, and return that."""
        before = self.siblings()
        self.click(selector)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            opened = [tab for tab in self.siblings() if tab not in before]
            if opened:
                return opened[0]
            time.sleep(POLL_SECONDS)
        raise AssertionError(f"{selector} has opened no window")


class BidiTab(Tab):
    """A tab of a browser that speaks WebDriver BiDi."""

    def __init__(self, connection: WebSocketConnection, context: str) -> None:
        self._connection = connection
        self._context = context
        self._contexts = BrowsingContext(connection)
        self._script = Script(connection)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BidiTab) and other._context == self._context

    def __hash__(self) -> int:
        return hash(self._context)

    def open(self, url: str) -> None:
        self._contexts.navigate(context=self._context, url=url, wait="complete")

    def reload(self) -> None:
        self._contexts.reload(context=self._context, wait="complete")

    def go(self, delta: int) -> None:
        self._contexts.traverse_history(context=self._context, delta=delta)

    def click(self, selector: str) -> None:
        self._run(f"document.querySelector({json.dumps(selector)}).click()")

    def close(self) -> None:
        self._contexts.close(context=self._context)

    def siblings(self) -> list[Tab]:
        return [BidiTab(self._connection, info.context) for info in self._contexts.get_tree()]

    def _run(self, expression: str) -> Any:
        done = self._script.evaluate(
            expression, {"context": self._context}, await_promise=True, user_activation=True
        )
        if done["type"] == "exception":
            raise WebDriverException(done["exceptionDetails"]["text"])
        return done["result"].get("value")


class ClassicTab(Tab):
    """A window of a browser that speaks classic WebDriver."""

    def __init__(self, driver: Remote, handle: str) -> None:
        self._driver = driver
        self._handle = handle

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClassicTab) and other._handle == self._handle

    def __hash__(self) -> int:
        return hash(self._handle)

    def open(self, url: str) -> None:
        self._switched().get(url)

    def reload(self) -> None:
        self._switched().refresh()

    def go(self, delta: int) -> None:
        # "back" would wait for a page to load, and one from the cache has loaded long ago.
        self._switched().execute_script(f"setTimeout(() => history.go({delta}))")

    def click(self, selector: str) -> None:
        self._switched().find_element(By.CSS_SELECTOR, selector).click()

    def close(self) -> None:
        self._switched().close()

    def siblings(self) -> list[Tab]:
        return [ClassicTab(self._driver, handle) for handle in self._driver.window_handles]

    def _run(self, expression: str) -> Any:
        done = self._switched().execute_async_script(
            "const done = arguments[0];"
            f"Promise.resolve({expression}).then((value) => done({{ value }}),"
            " (error) => done({ error: String(error) }))"
        )
        if "error" in done:
            raise WebDriverException(done["error"])
        return done["value"]

    def _switched(self) -> Remote:
        self._driver.switch_to.window(self._handle)
        return self._driver
