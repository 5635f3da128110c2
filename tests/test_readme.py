"""The README's code, taken out of it and put into a new project, does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.support.asgi import AsgiServer
from tests.support.node import require_node, run_node
from tests.support.processes import TOP

README = (TOP / "README.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(
    r"^```(\w+)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL
)
URLS = """
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import path
from django.views.generic import TemplateView

urlpatterns = [path("", TemplateView.as_view(template_name="page.html"))]
urlpatterns += staticfiles_urlpatterns()
"""
CLIENT = """
import { Socket } from "phoenix";
import WebSocket from "ws";

const stored = new Map();
globalThis.sessionStorage = {
  getItem: (key) => stored.get(key) ?? null,
  setItem: (key, value) => stored.set(key, value),
};
const outcomes = [];
for (const round of [1, 2]) {
  const socket = new Socket(process.argv[2] + "/ws", { transport: WebSocket });
  socket.endPoint = () => process.argv[2];
  socket.endPointURL = () => process.argv[2] + "/ws/counter?vsn=2.0.0";
  socket.connect();
%s
  await new Promise((done) => {
    channel.joinPush.receive("ok", ({ _recovery }) => done(outcomes.push(_recovery.outcome)));
  });
  const { count } = await new Promise((done) => channel.push("add", {}).receive("ok", done));
  outcomes.push(count);
  socket.disconnect();
}
console.log(JSON.stringify(outcomes));
"""


def block(language: str, first: str = "") -> str:
    """Return the one block in a language, or the one whose first line is a file's name."""
    (found,) = [code for kind, code in BLOCKS if kind == language and code.startswith(first)]
    return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[AsgiServer]:
    """Make a project, add what the README says, migrate it and serve it."""
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{TOP}"}
    env["DJANGO_SETTINGS_MODULE"] = "project.settings"
    django = [sys.executable, "-m", "django"]
    subprocess.run([*django, "startproject", "project", tmp_path], check=True, env=env)
    project = tmp_path / "project"
    settings = (project / "settings.py").read_text().replace("'DIRS': []", "'DIRS': [BASE_DIR]")
    (project / "settings.py").write_text(settings + block("python", "# settings.py"))
    (project / "consumers.py").write_text(block("python", "# consumers.py"))
    (project / "asgi.py").write_text(block("python", "# asgi.py"))
    (project / "urls.py").write_text(URLS)
    (tmp_path / "page.html").write_text(block("html"))
    subprocess.run([*django, "check", "--fail-level", "WARNING"], check=True, env=env)
    subprocess.run([*django, "migrate", "-v0"], check=True, env=env)
    with AsgiServer(data=tmp_path, application="project.asgi:application", env=env) as running:
        yield running


async def test_the_page_counts_on_after_a_reload_and_a_killed_server(
    server: AsgiServer, page: Page
) -> None:
    await page.goto(server.url)
    count = page.locator("output")
    await expect(count).to_have_text("0")
    for expected in ("1", "2", "3"):
        await page.get_by_role("button", name="Count").click()
        await expect(count).to_have_text(expected)
    await page.reload()
    await expect(count).to_have_text("3")
    server.kill()
    server.start()
    await page.get_by_role("button", name="Count").click()
    await expect(count).to_have_text("4")


def test_the_npm_client_gets_its_state_back(server: AsgiServer, tmp_path: Path) -> None:
    require_node("phoenix", "ws")
    script = TOP / "node_modules" / ".readme.mjs"
    script.write_text(CLIENT % block("js"))
    try:
        assert run_node(script, server.ws_url) == '["new",1,"recovered",2]\n'
    finally:
        script.unlink()


def test_every_block_is_run_and_every_link_leads_somewhere() -> None:
    assert [kind for kind, _ in BLOCKS] == ["console", *["python"] * 3, "html", "js"]
    assert block("console") == "make demo\n"
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (TOP / target).exists(), target


def test_it_is_read_in_a_few_minutes() -> None:
    assert 300 <= len(README.split()) <= 500
