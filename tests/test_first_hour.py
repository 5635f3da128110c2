"""The first hour: the wheel, an empty folder, and README and tutorial word for word.

What a newcomer types is typed here, in a fresh environment without a trace of this tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.async_api import ConsoleMessage, Page, expect

from tests.support.needs import IN_CI
from tests.support.node import require_node, run_node
from tests.support.processes import HOST, TOP, Process
from tests.support.readme import BLOCKS, TUTORIAL, Newcomer, block, build_wheel, commands

pytestmark = pytest.mark.slow

INSTALL = block("console", "python3 -m venv")
START = block("console", "python manage.py migrate").splitlines()
SERVERS = {
    "runserver": commands("development, with Daphne")[-1],
    "uvicorn": commands("development, with uvicorn")[-1],
    "workers": commands("production")[-1],
}
COLLECT = commands("production")[-2]
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
    channel.joinPush.receive("ok", ({ _recovery: { outcome, ttl } }) => {
      done(outcomes.push(outcome, ttl));
    });
  });
  const { count } = await new Promise((done) => channel.push("add", {}).receive("ok", done));
  outcomes.push(count);
  socket.disconnect();
}
console.log(JSON.stringify(outcomes));
"""
Serve = Callable[[str], Process]


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    """Install, start a project, paste and migrate, as the README says."""
    newcomer = Newcomer(
        tmp_path_factory.mktemp("first_hour"), build_wheel(tmp_path_factory.mktemp("wheel"))
    )
    newcomer.give_python()
    try:
        newcomer.run(INSTALL, cwd=newcomer.folder)
        newcomer.run(commands("development, with uvicorn")[0])
    except AssertionError as error:
        if not IN_CI and "No matching distribution" in str(error):
            pytest.skip("There is no package index here.")
        raise
    newcomer.paste(BLOCKS)
    newcomer.run("python manage.py check --fail-level WARNING")
    newcomer.run(START[0])
    return newcomer


@pytest.fixture
def serve(newcomer: Newcomer, tmp_path: Path) -> Iterator[Serve]:
    """Return a function that starts one of `SERVERS`; it is stopped after the test."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(
            newcomer.serve(SERVERS[name], tmp_path / f"{name}.log")
        )


def test_what_runs_is_the_wheel(newcomer: Newcomer) -> None:
    place = newcomer.run("python -c 'import recovery_app; print(recovery_app.__file__)'")
    assert place.startswith(str(newcomer.folder))
    assert START[1] == SERVERS["runserver"]


@pytest.mark.parametrize("name", SERVERS)
async def test_the_page_counts_on_after_a_reload_and_a_killed_server(
    name: str, serve: Serve, page: Page
) -> None:
    server = serve(name)
    problems: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            problems.append(message.text)

    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", note)
    await page.goto(f"http://{HOST}:{server.port}/counter")
    count = page.locator("output")
    await expect(count).to_have_text("0")
    for expected in ("1", "2", "3"):
        await page.get_by_role("button", name="Count").click()
        await expect(count).to_have_text(expected)
    await page.reload()
    await expect(count).to_have_text("3")
    # A browser asks for a favicon, which the project hasn't.
    assert [text for text in problems if "404" not in text] == []
    server.kill()
    server.start()
    await page.get_by_role("button", name="Count").click()
    await expect(count).to_have_text("4")


def test_production_collects_the_client_once_it_has_a_place_for_it(newcomer: Newcomer) -> None:
    with (newcomer.project / "mysite" / "settings.py").open("a") as settings:
        settings.write('STATIC_ROOT = BASE_DIR / "static"\n')
    newcomer.run(f"{COLLECT} --noinput")
    assert (newcomer.project / "static" / "recovery_app" / "recovery.js").is_file()


def test_the_npm_client_gets_its_state_back(serve: Serve) -> None:
    require_node("phoenix", "ws")
    server = serve("uvicorn")
    script = TOP / "node_modules" / ".readme.mjs"
    script.write_text(CLIENT % block("js"))
    try:
        assert (
            run_node(script, f"ws://{HOST}:{server.port}")
            == '["new",28800,1,"recovered",28800,2]\n'
        )
    finally:
        script.unlink()


async def test_the_tutorial_ends_with_a_form_that_survives(
    newcomer: Newcomer, page: Page, tmp_path: Path
) -> None:
    student = replace(newcomer, name="shop")
    student.run(block("console", "python3 -m venv", TUTORIAL), cwd=student.folder)
    student.paste(TUTORIAL)
    migrate, serve = block("console", "python manage.py migrate", TUTORIAL).splitlines()
    student.run(f"python manage.py check --fail-level WARNING\n{migrate}")
    customer, total = page.get_by_label("Customer"), page.locator("output")
    outcome = page.locator("#outcome")
    with student.serve(serve, tmp_path / "tutorial.log") as server:
        await page.goto(f"http://{HOST}:{server.port}/order")
        await expect(outcome).to_have_text("new")
        await customer.fill("Ada")
        await page.get_by_role("button", name="Tea").click()
        await expect(total).to_have_text("4")
        await page.reload()
        await expect(outcome).to_have_text("recovered")
        await expect(customer).to_have_value("Ada")
        server.kill()
        await customer.fill("Ada L.")
        await page.get_by_role("button", name="Coffee").click()
        server.start()
        await expect(total).to_have_text("9")
        await expect(customer).to_have_value("Ada L.")
        await page.reload()
        await expect(total).to_have_text("9")
        await expect(customer).to_have_value("Ada L.")
