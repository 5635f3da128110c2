"""The recipe for htmx, taken out of its page, in a real browser with the real htmx."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.support.asgi import AsgiServer
from tests.support.node import PACKAGES, require_node
from tests.support.processes import TOP

RECIPE = (TOP / "docs" / "htmx.md").read_text()
SCRIPTS = {
    "htmx.js": PACKAGES / "htmx.org" / "dist" / "htmx.min.js",
    "ws.js": PACKAGES / "htmx-ext-ws" / "ws.js",
}
SETTINGS = """
from pathlib import Path
SECRET_KEY = "0123456789" * 5
DEBUG = True
USE_TZ = True
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "recovery_app"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME":
    Path(__file__).parent / "db.sqlite3"}}
RECOVERY = {"STORAGE": {"BACKEND": "recovery_app.storages.DatabaseStorage"}}
ROOT_URLCONF = "urls"
"""
URLS = """
from pathlib import Path
from django.http import FileResponse, HttpResponse
from django.urls import path

def file(request, name):
    return FileResponse((Path(__file__).parent / name).open("rb"))

urlpatterns = [path("<str:name>", file)]
"""
ASGI = """
import os
from django.core.asgi import get_asgi_application
os.environ["DJANGO_SETTINGS_MODULE"] = "own"
app = get_asgi_application()
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.management import call_command
from django.urls import path
from consumers import NotesConsumer
from recovery_app.middleware import RecoveryMiddlewareStack
call_command("migrate", verbosity=0)
routes = URLRouter([path("ws/notes", NotesConsumer.as_asgi())])
application = ProtocolTypeRouter({"http": app, "websocket": RecoveryMiddlewareStack(routes)})
"""


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", RECIPE, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[AsgiServer]:
    """Serve the recipe as a project of a few files."""
    require_node("htmx.org", "htmx-ext-ws")
    for name, text in {
        "own.py": SETTINGS,
        "urls.py": URLS,
        "own_asgi.py": ASGI,
        "consumers.py": block("python"),
        "page.html": '<script src="htmx.js"></script><script src="ws.js"></script>' + block("html"),
    }.items():
        (tmp_path / name).write_text(text)
    for name, source in SCRIPTS.items():
        (tmp_path / name).write_bytes(source.read_bytes())
    env = {"DJANGO_SETTINGS_MODULE": "own", "PYTHONPATH": f"{tmp_path}{os.pathsep}{TOP}"}
    with AsgiServer(data=tmp_path, application="own_asgi:application", env=env) as running:
        yield running


async def test_the_notes_survive_a_reload_and_a_killed_server(
    server: AsgiServer, page: Page
) -> None:
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    await page.goto(f"{server.url}/page.html")
    notes = page.locator("#notes li")
    for number, note in enumerate(("milk", "<b>bread</b>"), start=1):
        await page.locator("input").fill(note)
        await page.get_by_role("button").click()
        await expect(notes).to_have_count(number)
    await page.reload()
    await expect(notes).to_have_text(["milk", "<b>bread</b>"])
    server.kill()
    server.start()
    await page.locator("input").fill("eggs")
    await page.get_by_role("button").click()
    await expect(notes).to_have_text(["milk", "<b>bread</b>", "eggs"])
    assert problems == []
