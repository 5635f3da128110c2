"""Firefox and WebKit, those of the machine, driven by WebDriver.

Firefox speaks WebDriver BiDi itself, so it needs no geckodriver, which Debian doesn't have. WebKit
has a driver for classic WebDriver, and needs a display. Selenium is the client for both.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from selenium.webdriver import Remote, WebKitGTKOptions
from selenium.webdriver.common.bidi.browsing_context import BrowsingContext
from selenium.webdriver.common.bidi.session import Session
from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.remote.remote_connection import RemoteConnection
from selenium.webdriver.remote.websocket_connection import WebSocketConnection

from tests.support.needs import require
from tests.support.processes import HOST, Process, free_port
from tests.support.tabs import PATIENCE_SECONDS, BidiTab, ClassicTab, Tab

FIREFOX_PREFERENCES = {
    # It asks nobody but the page's server.
    "app.normandy.enabled": False,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "nimbus.rollouts.enabled": False,
    "toolkit.telemetry.enabled": False,
}

WEBKIT_ENV = {"GDK_BACKEND": "x11", "GSETTINGS_BACKEND": "memory", "NO_AT_BRIDGE": "1"}
"""Neither a desktop's settings nor its buses are asked for."""


SCREEN = ("-screen", "0", "1280x900x24")


class Browser(ABC):
    """A running browser. Its tabs share cookies and localStorage."""

    @abstractmethod
    def new_tab(self) -> Tab:
        """Return a new window, as a tab in the background has slow timers."""


class Firefox(Browser):
    """Firefox, headless."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection

    def new_tab(self) -> Tab:
        return BidiTab(self._connection, BrowsingContext(self._connection).create(type="window"))


class WebKit(Browser):
    """WebKit's own test browser."""

    def __init__(self, driver: Remote) -> None:
        self._driver = driver

    def new_tab(self) -> Tab:
        self._driver.switch_to.window(self._driver.window_handles[0])
        self._driver.switch_to.new_window("window")
        return ClassicTab(self._driver, self._driver.current_window_handle)


def find_firefox() -> str | None:
    """Return the path of Firefox: ``$FIREFOX``, or Debian's, or another in ``PATH``."""
    names = ("firefox-esr", "firefox")
    return os.environ.get("FIREFOX") or next(filter(None, map(shutil.which, names)), None)


def require_browser(name: str) -> None:
    """Require what a browser of `RUNNERS` needs."""
    if name == "firefox":
        require("Firefox", find_firefox())
    else:
        require("WebKitWebDriver", shutil.which("WebKitWebDriver"))
        require("Xvfb", shutil.which("Xvfb"))


@contextmanager
def running_firefox(directory: Path) -> Iterator[Browser]:
    """Run Firefox with a new profile in a directory."""
    profile = directory / "profile"
    profile.mkdir()
    lines = [f"user_pref({json.dumps([*pair])[1:-1]});\n" for pair in FIREFOX_PREFERENCES.items()]
    (profile / "user.js").write_text("".join(lines))
    port = free_port()
    command = [
        *(str(find_firefox()), "--headless", "--no-remote"),
        *("--profile", profile, "--remote-debugging-port", str(port)),
    ]
    log, env = directory / "firefox.log", {"HOME": str(directory)}
    with Process("Firefox", command, port=port, log=log, env=env, stop_signal=signal.SIGKILL):
        url = f"ws://{HOST}:{port}/session"
        with closing(WebSocketConnection(url, PATIENCE_SECONDS, interval=0.01)) as connection:
            Session(connection).new(capabilities={"alwaysMatch": {}})
            # It is killed, and not asked to close: it would close the connection as well, and the
            # client leaves a socket open that the other end has closed.
            yield Firefox(connection)


@contextmanager
def running_display(directory: Path) -> Iterator[str]:
    """Run an X server without a screen, and return the name of its display."""
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-nolisten", "tcp", *SCREEN]
    with open(reading) as pipe, (directory / "xvfb.log").open("wb") as log:
        xvfb = subprocess.Popen(
            command, pass_fds=[writing], stdout=log, stderr=log, start_new_session=True
        )
        os.close(writing)
        try:
            # It writes the number once it is ready.
            yield f":{int(pipe.readline())}"
        finally:
            xvfb.terminate()
            xvfb.wait()


@contextmanager
def running_webkit(directory: Path) -> Iterator[Browser]:
    """Run WebKit on a display of its own."""
    port = free_port()
    with running_display(directory) as display:
        env = {"DISPLAY": display, "HOME": str(directory), **WEBKIT_ENV}
        command = ["WebKitWebDriver", f"--port={port}"]
        log = directory / "webkit.log"
        config = ClientConfig(f"http://{HOST}:{port}", timeout=2 * PATIENCE_SECONDS)
        with (
            Process("WebKit", command, port=port, log=log, env=env),
            Remote(RemoteConnection(client_config=config), options=WebKitGTKOptions()) as driver,
        ):
            driver.set_script_timeout(PATIENCE_SECONDS)
            driver.set_page_load_timeout(PATIENCE_SECONDS)
            yield WebKit(driver)


RUNNERS: dict[str, Callable[[Path], AbstractContextManager[Browser]]] = {
    "firefox": running_firefox,
    "webkit": running_webkit,
}
