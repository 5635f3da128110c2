"""A run with cuts, forged tokens and a stopped storage: the metrics page adds up to it.

The example runs in two workers, so each figure is one of several processes.
"""

from __future__ import annotations

import asyncio
import json
import re
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from recovery_app._core.tokens import key_of
from tests.support.asgi import AsgiServer
from tests.support.processes import HOST, Process
from tests.support.redis import make_redis

PREFIX = "golivekit_recovery_"
PAGES = 6
ROUNDS = 4
WORKERS = 2
NOTES = "what nobody else may read"
LINE = re.compile(r"^\S+ \S+ ([A-Z]+) (\w+) (\S+) (\S+): ", re.MULTILINE)


class Page:
    """A page of the example on a WebSocket; it counts what it does and is told."""

    def __init__(self, url: str, told: Counter[str]) -> None:
        self.url = url
        self.told = told
        self.tokens: list[str] = []
        self.wanted = 0

    @property
    def token(self) -> str | None:
        return self.tokens[-1] if self.tokens else None

    @property
    def notes(self) -> str:
        return f"{NOTES} {self.wanted}"

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[ClientConnection]:
        """Connect; whatever happens inside, the connection is cut off without a farewell."""
        socket = await connect(f"{self.url}/ws/websocket?vsn=2.0.0")
        try:
            yield socket
        finally:
            socket.transport.abort()
            await socket.wait_closed()

    async def join(self, socket: ClientConnection, token: str | None) -> dict[str, Any]:
        response = await self.ask(socket, "phx_join", {"_recovery": token} if token else {})
        recovery: dict[str, Any] = response["_recovery"]
        self.told[recovery["outcome"]] += 1
        if recovery["token"]:
            self.tokens.append(recovery["token"])
        return response

    async def write(self, socket: ClientConnection) -> None:
        self.wanted += 1
        payload = {"field": "notes", "value": self.notes}
        assert (await self.ask(socket, "set_field", payload))["quote"]
        self.told["events"] += 1

    async def ask(self, socket: ClientConnection, event: str, payload: Any) -> dict[str, Any]:
        ref = f"{event} {self.wanted}"
        await socket.send(json.dumps(["1", ref, "quote", event, payload]))
        while True:
            _, answered, _, kind, reply = json.loads(await asyncio.wait_for(socket.recv(), 30))
            if kind == "recovery:token":
                self.tokens.append(reply["token"])
            elif answered == ref:
                assert reply["status"] == "ok", reply
                response: dict[str, Any] = reply["response"]
                return response


@pytest.fixture
def redis_of_its_own(redis_directory: Path) -> Iterator[Process]:
    with make_redis(redis_directory) as server:
        yield server


@pytest.fixture
def server(
    asgi_server: Callable[..., AsgiServer], redis_of_its_own: Process, tmp_path: Path
) -> AsgiServer:
    """Run the example in two workers that write their metrics into one directory."""
    directory = tmp_path / "metrics"
    directory.mkdir()
    env = {
        "REDIS_URL": f"redis://{HOST}:{redis_of_its_own.port}/0",
        "PROMETHEUS_MULTIPROC_DIR": str(directory),
        "DJANGO_SETTINGS_MODULE": "tests.support.layerless",
    }
    return asgi_server(env=env, arguments=["--workers", str(WORKERS)])


def get(url: str) -> tuple[int, str]:
    """Return the status and the text of a page."""
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def figures(server: AsgiServer) -> dict[str, float]:
    """Return each of our samples on the metrics page; each line may be there only once."""
    status, text = get(f"{server.url}/metrics")
    assert status == 200
    found: dict[str, float] = {}
    for name, value in re.findall(rf"^{PREFIX}(\S+) (\S+)$", text, re.MULTILINE):
        assert name not in found
        found[name] = float(value)
    return found


def forged(token: str) -> str:
    """Change a character of the signature."""
    return token[:40] + ("A" if token[40] != "A" else "B") + token[41:]


async def live(page: Page) -> None:
    """Mount, write, and come back after each of some cuts to find what was written."""
    async with page.connected() as socket:
        await page.join(socket, None)
        await page.write(socket)
    for _ in range(ROUNDS):
        async with page.connected() as socket:
            response = await page.join(socket, page.token)
            assert response["quote"]["fields"]["notes"] == page.notes
            await page.write(socket)


async def attack(server: AsgiServer, told: Counter[str], tokens: list[str]) -> list[str]:
    """Show forged tokens, each on a connection of its own; give those that came instead."""
    attacker = Page(server.ws_url, told)
    for token in tokens:
        async with attacker.connected() as socket:
            assert (await attacker.join(socket, token))["_recovery"]["outcome"] == "rejected"
    return attacker.tokens


async def outage(server: AsgiServer, redis: Process, pages: list[Page]) -> list[str | None]:
    """Stop the storage under two pages, have all others come meanwhile, and start it again.

    Redis has forgotten all then; the next event makes safe what the server still has. Give the
    tokens of those whose states are lost.
    """
    first, second, *others = pages
    async with first.connected() as socket, second.connected() as second_socket:
        await first.join(socket, first.token)
        await second.join(second_socket, second.token)
        redis.stop()
        await first.write(socket)
        kept = [page.token for page in others]
        for page in others:
            async with page.connected() as other_socket:
                await page.join(other_socket, page.token)
        assert [page.token for page in others] == kept
        assert get(f"{server.url}/health/?format=json")[0] >= 500
        redis.start()
        await first.write(socket)
        await second.write(second_socket)
    for page in pages:
        async with page.connected() as socket:
            await page.join(socket, page.token)
    assert get(f"{server.url}/health/?format=json")[0] == 200
    return kept


def values(found: dict[str, float], metric: str) -> dict[str, float]:
    """Return the values of a metric with one label, by that label; those of 0 left out."""
    pattern = rf'{metric}{{\w+="(\w+)"}}'
    matches = ((re.fullmatch(pattern, name), value) for name, value in found.items())
    return {match[1]: value for match, value in matches if match and value}


async def test_figures_add_up_to_what_happened(
    server: AsgiServer, redis_of_its_own: Process
) -> None:
    told: Counter[str] = Counter()
    pages = [Page(server.ws_url, told) for _ in range(PAGES)]
    await asyncio.gather(*map(live, pages))
    shown = ["rubbish", *(forged(page.token or "") for page in pages)]
    given = await attack(server, told, shown)
    lost = await outage(server, redis_of_its_own, pages)
    events = told.pop("events")
    assert told == {
        "new": PAGES,
        "recovered": PAGES * ROUNDS + 4,
        "rejected": PAGES + 1,
        "unavailable": PAGES - 2,
        "not_found": PAGES - 2,
    }

    found = figures(server)
    assert values(found, "outcomes_total") == told
    assert found["tokens_recovered_total"] == told["recovered"]
    assert found["tokens_expired_total"] == 0
    assert values(found, "tokens_failed_total") == {
        "signature": PAGES,
        "malformed": 1,
        "unavailable": told["unavailable"],
        "not_found": told["not_found"],
    }
    # Each page that joined has a new token, but those that keep theirs.
    assert found["tokens_created_total"] == told.total() - told["unavailable"]
    # A fresh state is saved unless the page keeps its token, and one that came back isn't: it
    # is the same. Of the events, the one that met no storage wasn't saved.
    saved = told["new"] + told["rejected"] + told["not_found"] + events - 1
    assert found["state_size_bytes_count"] == saved
    assert values(found, "storage_seconds_count") == {
        "takeover": told["recovered"] + told["not_found"] + told["unavailable"],
        "save": saved + 1,
        # For the log, a forged token is told from one of somebody else.
        "load": PAGES,
    }
    errors = 'storage_errors_total{{operation="{}",reason="unavailable"}}'
    assert found[errors.format("takeover")] == told["unavailable"]
    assert found[errors.format("save")] == 1
    assert sum(value for name, value in found.items() if "errors_total" in name) == PAGES - 1
    # Redis isn't asked how many there are.
    assert "snapshots_live" not in found
    assert_spread(found, "state_size_bytes")
    for operation in ("save", "takeover"):
        assert_spread(found, "storage_seconds", f'operation="{operation}"')

    log = server.log.read_text()
    assert_told(log, told, {key_of(token) for token in lost if token})
    for secret in (NOTES, *shown[1:], *given, *(token for page in pages for token in page.tokens)):
        assert secret not in log


def assert_spread(found: dict[str, float], metric: str, label: str = "") -> None:
    """Hold the buckets of a histogram to its count and its sum."""
    samples = {name: value for name, value in found.items() if metric in name and label in name}
    (total,) = (value for name, value in samples.items() if name.startswith(f"{metric}_sum"))
    (count,) = (value for name, value in samples.items() if name.startswith(f"{metric}_count"))
    buckets = sorted(
        (float(match[1]), value)
        for name, value in samples.items()
        if (match := re.search(r'le="([^"]+)"', name))
    )
    least = most = reached = lower = 0.0
    for limit, value in buckets:
        least += lower * (value - reached)
        most += limit * (value - reached) if value > reached else 0
        lower, reached = limit, value
    assert reached == count
    assert least < total <= most


def assert_told(log: str, told: Counter[str], lost: set[str]) -> None:
    """Find in the log whom each failure met, and of the outage no more than a few lines."""
    lines = LINE.findall(log)
    failed = [found for _, event, *found in lines if event == "recovery_failed"]
    assert len(failed) == told["rejected"] + told["unavailable"] + told["not_found"]
    # A forged token proves nothing of a socket.
    assert Counter(key for key, _ in failed) == {"None": told["rejected"]} | dict.fromkeys(lost, 2)
    assert {topic for _, topic in failed} == {"'quote'"}
    warnings = Counter(event for level, event, *_ in lines if level != "INFO")
    assert warnings.pop("state_lost") == told["not_found"]
    assert set(warnings) <= {"storage_down", "storage_back"}
    assert 1 <= warnings["storage_down"] <= WORKERS


def test_pages_are_served_by_what_sites_use_for_it(asgi_server: Callable[..., AsgiServer]) -> None:
    server = asgi_server()
    status, text = get(f"{server.url}/health/?format=json")
    assert status == 200
    assert ("RecoveryStorage" in text) is (find_spec("health_check") is not None)
    status, text = get(f"{server.url}/metrics")
    assert status == 200
    assert f"# TYPE {PREFIX}tokens_created_total counter" in text
    assert text.count(f"# TYPE {PREFIX}outcomes_total ") == 1
