"""The Chromium: the one of the machine, since Playwright's own may not be installed."""

from __future__ import annotations

import os
import shutil

from playwright.async_api import Browser, Playwright, expect

PATIENCE_MS = 60_000
"""How long `expect` waits: machines of CI are slow, and a client may be between two tries."""

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SHELL = "chromium-headless-shell"
"""Chromium without windows that nobody sees: a page costs the processor half as much."""

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium(*, caches_pages: bool = False) -> str | None:
    """Return the path of the browser: ``$CHROMIUM``, or the first that is in ``PATH``.

    The shell has no back/forward cache.
    """
    names = NAMES if caches_pages else (SHELL, *NAMES)
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


async def launch(playwright: Playwright, *, caches_pages: bool = False) -> Browser:
    """Start the browser, silent towards everything but the page.

    Playwright disables the back/forward cache unless ``caches_pages``.
    """
    expect.set_options(timeout=PATIENCE_MS)
    return await playwright.chromium.launch(
        executable_path=find_chromium(caches_pages=caches_pages),
        args=list(ARGUMENTS),
        headless=True,
        ignore_default_args=["--disable-back-forward-cache"] if caches_pages else None,
    )
