"""Pages of both clients in a durable group, cut and killed, against a real server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

from tests.support.asgi import AsgiServer
from tests.support.node import require_node
from tests.support.processes import TOP

SECONDS = 120


def test_each_page_is_told_all_that_is_published_once(
    asgi_server: Callable[..., AsgiServer],
) -> None:
    require_node("ws", "phoenix")
    running = asgi_server("uvicorn", application="tests.support.room:application")
    script = TOP / "tests" / "js" / "room.js"
    with subprocess.Popen(
        ["node", str(script), f"{running.ws_url}/room"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as pages:
        assert pages.stdout is not None
        assert pages.stderr is not None
        first = pages.stderr.readline()
        assert first == "kill\n", first + pages.stderr.read()
        running.kill()
        running.start()
        printed, errors = pages.communicate(timeout=SECONDS)
    assert pages.returncode == 0, errors
    numbers = list(range(1, 31))
    for page in json.loads(printed):
        assert page == {"told": numbers, "missed": [], "seen": numbers}
