"""What happened to a site, as Prometheus would have scraped it, and which alerts that sets off.

A round of the test is one scrape. Recorded are the real series of real servers, as if a scrape
had been due every 15 seconds: so an outage of minutes takes seconds, on however busy a machine.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from recovery_app._core.telemetry import OPERATIONS
from tests.support.asgi import AsgiServer
from tests.support.processes import TOP

SCRAPE_SECONDS = 15
ANSWER_SECONDS = 60
RULES = TOP / "docs/monitoring/alerts.yml"
PREFIX = "golivekit_recovery_"
UNWATCHED = frozenset(OPERATIONS) - {"save", "takeover"}


class Recorder:
    """The series of some servers, one sample for each scrape."""

    def __init__(self) -> None:
        self.scrapes = 0
        self._series: dict[str, list[str]] = {}
        self._names: dict[int, str] = {}
        self._wanted = set(re.findall(rf"{PREFIX}\w+", RULES.read_text()))

    def scrape(self, servers: Iterable[AsgiServer]) -> dict[str, float]:
        """Record a sample of each series that an alert asks for; return all, added up."""
        found: dict[str, float] = {}
        for server in servers:
            for name, labels, value in _samples(server):
                shown = ", ".join(f'{key}="{text}"' for key, text in sorted(labels.items()))
                found[f"{name}{{{shown}}}"] = found.get(f"{name}{{{shown}}}", 0) + value
                if name in self._wanted and labels.get("operation") not in self._left_out(name):
                    instance = f'instance="{self._name_of(server)}", job="web"'
                    self._note(f"{name}{{{', '.join(filter(None, (instance, shown)))}}}", value)
        self.scrapes += 1
        for values in self._series.values():
            if len(values) < self.scrapes:
                values.append("_" if values[-1] in ("_", "stale") else "stale")
        return found

    @property
    def series(self) -> list[dict[str, str]]:
        """The series as ``promtool test rules`` reads them."""
        return [
            {"series": name, "values": " ".join(_shortened(values))}
            for name, values in self._series.items()
        ]

    def _note(self, series: str, value: float) -> None:
        values = self._series.setdefault(series, ["_"] * self.scrapes)
        values.append(f"{value:.0f}" if value.is_integer() else repr(value))

    def _name_of(self, server: AsgiServer) -> str:
        return self._names.setdefault(server.port, f"node{len(self._names) + 1}")

    @staticmethod
    def _left_out(name: str) -> Collection[str]:
        """Return the operations whose series no alert looks at: nine of ten buckets."""
        return UNWATCHED if name.endswith("_bucket") else ()


def _shortened(values: Iterable[str]) -> Iterator[str]:
    """Write equal samples in a row as promtool reads them: ``7x3`` is four of them."""
    for value, group in itertools.groupby(values):
        more = sum(1 for _ in group) - 1
        # Of "stale" there is one at a time.
        yield f"{value}x{more + 1 if value == '_' else more}" if more else value


def _samples(server: AsgiServer) -> Iterable[tuple[str, dict[str, str], float]]:
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=ANSWER_SECONDS) as response:
        text = response.read().decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith(PREFIX) and not sample.name.endswith("_created"):
                yield sample.name, sample.labels, sample.value


class Expectations:
    """Which alerts are to fire: at single scrapes, and in all up to one."""

    def __init__(self) -> None:
        self._tests: list[dict[str, Any]] = []

    def firing(self, scrape: int, *alerts: str) -> None:
        """Expect these to fire at the time of a scrape, and no other."""
        self._add(scrape, 'count by (alertname) (ALERTS{alertstate="firing"})', alerts)

    def fired(self, since: int, until: int, *alerts: str) -> None:
        """Expect these to have fired at some time between two scrapes, and no other."""
        seconds = (until - since) * SCRAPE_SECONDS
        firing = f'ALERTS{{alertstate="firing"}}[{seconds}s]'
        self._add(until, f"count by (alertname) (count_over_time({firing}))", alerts)

    def _add(self, scrape: int, expr: str, alerts: Sequence[str]) -> None:
        samples = [{"labels": f'{{alertname="{each}"}}', "value": 1} for each in alerts]
        at = f"{(scrape - 1) * SCRAPE_SECONDS}s"
        self._tests.append({"expr": expr, "eval_time": at, "exp_samples": samples})

    def write(self, recorder: Recorder, path: Path, name: str) -> None:
        """Write what was recorded and is expected as a test of promtool's."""
        test = {
            "name": name,
            "interval": f"{SCRAPE_SECONDS}s",
            "input_series": recorder.series,
            "promql_expr_test": self._tests,
        }
        rules = {
            "rule_files": [os.path.relpath(RULES, path.parent)],
            "evaluation_interval": f"{SCRAPE_SECONDS}s",
            "tests": [test],
        }
        # JSON is YAML too.
        path.write_text(json.dumps(rules, indent=0) + "\n")

    def check(self, promtool: str, recorder: Recorder, path: Path) -> None:
        """Have promtool evaluate the rules on what was recorded."""
        self.write(recorder, path, path.name)
        run_tests(promtool, path)


def run_tests(promtool: str, *paths: Path) -> None:
    """Have promtool run tests of alerts."""
    command = [promtool, "test", "rules", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


class Page:
    """A page that counts; it stays connected until it is told otherwise."""

    def __init__(self, path: str, headers: dict[str, str] | None = None) -> None:
        self.path = path
        self.headers = headers or {}
        self.token: str | None = None
        self.shown: dict[str, Any] = {}
        """What it says in a join beside its token."""
        self.outcome = ""
        self.count = 0
        self._socket: ClientConnection | None = None
        self._refs = map(str, itertools.count(1))

    @property
    def is_up(self) -> bool:
        """Return whether it has joined and wasn't cut off since."""
        return self._socket is not None

    def forged(self) -> str:
        """Return its token with another character in the signature."""
        assert self.token is not None
        return self.token[:40] + ("A" if self.token[40] != "A" else "B") + self.token[41:]

    async def come_back(self, base: str) -> bool:
        """Connect and join, with the token that it has; return whether that went well."""
        await self.cut()
        try:
            url = f"{base}{self.path}"
            socket = await connect(url, additional_headers=self.headers, proxy=None)
            self._socket = socket
            token = {"_recovery": self.token} if self.token else {}
            response = await self.ask("phx_join", self.shown | token)
        except (OSError, WebSocketException):
            await self.cut()
            return False
        recovery = response["_recovery"]
        self.outcome, self.token = recovery["outcome"], recovery["token"] or self.token
        return True

    async def add(self) -> None:
        """Send an event, if it is up, and wait for the reply."""
        if self._socket is None:
            return
        try:
            self.count = (await self.ask("add", {}))["count"]
        except WebSocketException:
            await self.cut()

    async def cut(self) -> None:
        """Cut the connection off without a farewell."""
        if self._socket is not None:
            self._socket.transport.abort()
            await self._socket.wait_closed()
            self._socket = None

    async def ask(self, event: str, payload: Any) -> dict[str, Any]:
        """Send an event and return the reply's response."""
        assert self._socket is not None
        ref = next(self._refs)
        await self._socket.send(json.dumps(["1", ref, "lv:count", event, payload]))
        while True:
            text = await asyncio.wait_for(self._socket.recv(), ANSWER_SECONDS)
            _, answered, _, kind, reply = json.loads(text)
            if kind == "recovery:token":
                self.token = reply["token"]
            elif answered == ref:
                assert reply["status"] == "ok", reply
                response: dict[str, Any] = reply["response"]
                return response


async def all_of(pages: Iterable[Page], method: str, *arguments: Any) -> list[Any]:
    """Have all pages do something at the same time."""
    return await asyncio.gather(*(getattr(page, method)(*arguments) for page in pages))


def status_of(url: str) -> tuple[int, str]:
    """Return the status and the text of a page."""
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
