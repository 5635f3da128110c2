"""Each panel of the dashboard, queried on a Prometheus: the figures add up to what happened."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from recovery_app import __version__
from tests.support.asgi import AsgiServer
from tests.support.processes import HOST, TOP, Process
from tests.support.prometheus import Prometheus
from tests.support.redis import make_redis
from tests.support.timelapse import Page, all_of

DASHBOARD = json.loads((TOP / "docs/monitoring/grafana-dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
PAGES, OTHERS, EVENTS = 6, 2, 5
ROUGHLY = 0.2
"""By how much `rate()` may be off, which guesses what was counted before and after its samples."""
NOTHING: dict[tuple[str, ...], Any] = {}


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Process]:
    directory = tmp_path / "redis"
    directory.mkdir()
    with make_redis(directory) as server:
        yield server


@dataclass
class Scene:
    """Two nodes, of which the second drains while the first has lost its storage."""

    first: AsgiServer
    second: AsgiServer
    redis: Process

    async def play(self) -> list[Page]:
        """Have everything happen that the panels show; return the pages that are left open."""
        first, second = self.first.ws_url, self.second.ws_url
        pages = [Page("/counting") for _ in range(PAGES)]
        others = [Page("/counting") for _ in range(OTHERS)]
        await all_of(pages, "come_back", first)
        await all_of(others, "come_back", second)
        for _ in range(EVENTS):
            await all_of(pages, "add")
        await all_of(pages, "come_back", first)
        await all_of(pages, "add")
        forger = Page("/counting")
        forger.token = "rubbish"
        await forger.come_back(first)
        await forger.cut()
        async with connect(f"{first}/counting", proxy=None):
            pass
        with pytest.raises(AssertionError, match="event crashed"):
            await pages[0].ask("add", {"seconds": "not a number"})
        self.redis.stop()
        await all_of(pages, "add")
        os.kill(self.second.pid, signal.SIGTERM)
        return pages + others


MESSAGES = 5


async def talk(server: AsgiServer) -> None:
    """Have a room's page miss what is published while it is away."""
    page, other = Page("/room"), Page("/room")
    page.shown = {"_recv": None}
    await all_of([page, other], "come_back", server.ws_url)
    await page.ask("publish", {"numbers": [1]})
    while (await page.ask("state", {}))["seen"] != [1]:
        pass
    await page.cut()
    await other.ask("publish", {"numbers": list(range(2, MESSAGES + 1))})
    await page.come_back(server.ws_url)
    for each in (page, other):
        while len((await each.ask("state", {}))["seen"]) < MESSAGES:
            pass
    await all_of([page, other], "cut")


def series_of(panel: dict[str, Any], prometheus: Prometheus, **values: str) -> list[dict[Any, Any]]:
    """Return what each query of a panel shows."""
    found = []
    for target in panel["targets"]:
        expr = target["expr"]
        for name, value in values.items():
            expr = expr.replace(f"${name}", value)
        found.append(prometheus.query(expr, float(values["at"])))
    return found


async def test_panels_add_up_to_what_happened(
    asgi_server: Callable[..., AsgiServer], redis: Process, tmp_path: Path
) -> None:
    env = {
        "REDIS_URL": f"redis://{HOST}:{redis.port}/0",
        "DJANGO_SETTINGS_MODULE": "tests.support.layerless",
        "DRAIN_SECONDS": "600",
    }
    application = "tests.support.draining:application"
    first, second = (asgi_server(application=application, env=env) for _ in range(2))
    talking = asgi_server(application="tests.support.room:application")
    directory = tmp_path / "prometheus"
    with Prometheus(directory, web=[first, second], room=[talking]) as prometheus:
        # What is shown as 0 before is what rate() counts from.
        start = time.time()
        await asyncio.to_thread(prometheus.await_scrapes, 3)
        hanging = asyncio.create_task(Page("/hanging").come_back(first.ws_url))
        pages = await Scene(first, second, redis).play()
        await talk(talking)
        end = await asyncio.to_thread(prometheus.await_scrapes, 3)
        seconds = end - start
        node, other = (f"{HOST}:{each.port}" for each in (first, second))
        expected = expectations(node, other, seconds)
        of_groups = expectations_of_groups(seconds)
        assert {panel["title"] for panel in PANELS} == {*expected, *of_groups}
        expected |= of_groups
        for panel in PANELS:
            is_against = panel["targets"][0]["legendFormat"] == "$instance"
            found = series_of(
                panel,
                prometheus,
                job="room" if panel["title"] in of_groups else "web",
                instance=node if is_against else ".*",
                __rate_interval=f"{int(seconds * 1000)}ms",
                at=str(end),
            )
            # Of what never happened, the rate is 0, and the quantile of no call isn't a number.
            found = [{k: v for k, v in each.items() if v and v == v} for each in found]
            assert found == expected[panel["title"]], panel["title"]
        await all_of(pages, "cut")
        hanging.cancel()


class Between:
    """A number between two others; of a histogram no more is known."""

    def __init__(self, least: float, most: float) -> None:
        self.least, self.most = least, most

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and self.least <= other <= self.most

    def __hash__(self) -> int:
        return hash((self.least, self.most))

    def __repr__(self) -> str:
        return f"{self.least} to {self.most}"


SOME_SECONDS = Between(0, 60)
SAVES = PAGES + PAGES * EVENTS + PAGES + OTHERS + 1


def expectations(node: str, other: str, seconds: float) -> dict[str, list[dict[Any, Any]]]:
    """Return what each panel is to show, by its title."""

    def one(value: object) -> dict[Any, Any]:
        return {(): value}

    def share(value: float) -> dict[Any, Any]:
        return one(pytest.approx(value, rel=ROUGHLY))

    def per_second(number: float) -> Any:
        return pytest.approx(number / seconds, rel=ROUGHLY)

    def rates(**numbers: float) -> dict[Any, Any]:
        return {(name,): per_second(number) for name, number in numbers.items()}

    def per_minute(number: float) -> dict[Any, Any]:
        return one(pytest.approx(60 * number / seconds, rel=ROUGHLY))

    each_call = {("save",): SOME_SECONDS, ("takeover",): SOME_SECONDS}
    returning = PAGES + 1
    return {
        "Recoveries that worked": [share(PAGES / returning)],
        "States lost per minute": [per_minute(1)],
        "Storage errors per minute": [per_minute(PAGES)],
        "Snapshots live": [NOTHING],
        "Joins by outcome": [rates(new=PAGES + OTHERS, recovered=PAGES, rejected=1)],
        "Failed recoveries by reason": [rates(malformed=1), NOTHING],
        "Storage: 99 of 100 calls are quicker than": [each_call],
        "Storage: half of the calls are quicker than": [each_call],
        "Storage calls": [rates(save=SAVES + PAGES, takeover=PAGES)],
        "Storage errors": [{("save", "unavailable"): per_second(PAGES)}],
        "Tokens": [one(per_second(PAGES + OTHERS + PAGES + 1)), one(per_second(PAGES))],
        "Size of saved states": [one(Between(1, 128)), one(Between(1, 128)), one(Between(1, 128))],
        "Repeated, fenced, limited, missed": [NOTHING] * 4,
        "Open pages": [one(PAGES + OTHERS - 1)],
        "Unsafe pages": [one(PAGES)],
        "Storage down": [one(1)],
        "Draining": [one(1)],
        "Open pages and connections by instance": [
            {(node,): PAGES, (other,): OTHERS - 1},
            one(PAGES + OTHERS - 1),
        ],
        "Seconds away": [one(SOME_SECONDS), one(SOME_SECONDS), one(SOME_SECONDS)],
        "Connections that never joined": [rates(silent=1)],
        "Handshakes and joins that wait": [{(node,): 1}],
        "Errors of the application": [rates(handler_failed=1)],
        "Drains": [share(1), share(1)],
        "Versions of code and state": [
            {(node, __version__): 1, (other, __version__): 1},
            {("Counting", node, "0"): 1, ("Counting", other, "0"): 1},
        ],
        "Recovered, of the joins that showed a token": [share(PAGES / returning), NOTHING],
        "Lost or refused, of the joins that showed a token": [share(1 / returning), NOTHING],
        "Saves: 99 of 100 are quicker than": [one(SOME_SECONDS), one(SOME_SECONDS)],
        "Storage calls that fail": [share(PAGES / (SAVES + 2 * PAGES - OTHERS)), NOTHING],
    }


def expectations_of_groups(seconds: float) -> dict[str, list[dict[Any, Any]]]:
    """Return what the panels on groups are to show of `talk`."""

    def rate(number: int) -> dict[Any, Any]:
        return {(): pytest.approx(number / seconds, rel=ROUGHLY)}

    return {
        # By two pages, of which one was away for all but the first.
        "Messages of durable groups": [
            rate(MESSAGES),
            rate(2 * MESSAGES),
            rate(MESSAGES - 1),
        ],
        # The first push is sent again: the page joins as if it had none.
        "Numbered pushes": [rate(MESSAGES), rate(1), NOTHING],
    }
