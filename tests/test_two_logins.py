"""Two people, one after the other in one tab, against real servers with Django's sessions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.asgi import COMMANDS, AsgiServer, manage
from tests.support.node import require_node, run_node
from tests.support.processes import TOP

LOG_IN = """
from django.contrib.auth.models import User
from django.test import Client

for name in ("ann", "bob"):
    client = Client()
    client.force_login(User.objects.create_user(name))
    print("cookie:" + client.cookies.output(header="", attrs=[]).strip())
"""


def log_in(data: Path) -> list[str]:
    """Return the session cookies of Ann and Bob."""
    printed = manage("shell", "-c", LOG_IN, data=data).splitlines()
    return [line.removeprefix("cookie:") for line in printed if line.startswith("cookie:")]


@pytest.mark.parametrize("server", COMMANDS)
def test_no_event_is_applied_as_or_shown_to_the_next_person(
    asgi_server: Callable[..., AsgiServer], tmp_path: Path, server: str
) -> None:
    require_node("ws", "phoenix")
    running = asgi_server(server, application="tests.support.draining:undrained")
    cookies = log_in(tmp_path / "demo")
    script = TOP / "tests" / "js" / "two_logins.js"
    found = json.loads(run_node(script, f"{running.ws_url}/gathering", *cookies))
    assert found == {
        "before the first join": {"outcome": "new", "count": 1, "told": 0},
        "before the first join, with an owner": {"outcome": "new", "count": 1, "told": 0},
        "after a cut": {"outcome": "rejected", "count": 1, "told": 0},
        "ann herself": {"outcome": "recovered", "count": 4},
    }


@pytest.mark.parametrize("server", COMMANDS)
def test_a_visitors_events_go_along_with_the_state_and_only_once(
    asgi_server: Callable[..., AsgiServer], tmp_path: Path, server: str
) -> None:
    require_node("ws", "phoenix")
    running = asgi_server(server, application="tests.support.draining:undrained")
    script = TOP / "tests" / "js" / "visitor_logs_in.js"
    found = json.loads(run_node(script, running.url, *log_in(tmp_path / "demo")))
    first = {"outcome": "new", "count": 1, "told": 0}
    reloaded = {"outcome": "recovered", "count": 4, "told": 4}
    afresh = {"outcome": "rejected", "count": 1, "told": 0}
    assert found == {
        "kept": [first, reloaded, {"outcome": "recovered", "count": 7, "told": 2}, afresh, afresh],
        "not": [first, reloaded, afresh, afresh, afresh],
    }
