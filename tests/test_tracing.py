"""Spans: around joins, saves and recoveries with OpenTelemetry; nothing at all without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from django.apps import apps

from recovery_app import RecoveryManager, tracing
from recovery_app._core import spans as core_spans
from recovery_app._core.tokens import hash_socket_id
from recovery_app.exceptions import RecoveryError
from recovery_app.storages import MemoryStorage
from tests.clock import FakeClock
from tests.consumers.apps import Counter
from tests.consumers.storages import FlakyStorage
from tests.consumers.wire import connected, recovery_of
from tests.core.support import CALLS, DownStorage, make_manager, run_script
from tests.support.needs import require

SOCKET = "the socket"
HASH = hash_socket_id(SOCKET).hex()
STATE = {"password": "a state that nobody may see"}


class Spans:
    """What OpenTelemetry's own exporter in memory has got."""

    def __init__(self, exporter: Any) -> None:
        self.exporter = exporter

    def take(self) -> list[Any]:
        """Return the spans that have ended since the last time, the first first."""
        found = list(self.exporter.get_finished_spans())
        self.exporter.clear()
        return found

    def told(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Return name, status and attributes of each."""
        return [
            (span.name, span.status.status_code.name, dict(span.attributes)) for span in self.take()
        ]


@pytest.fixture(scope="module")
def exporter() -> Iterator[Any]:
    """Have OpenTelemetry export into memory; it takes a provider only once a process."""
    require_sdk()
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    tracing.provider = tracing.Provider()
    tracing.start()
    yield exporter
    exporter.shutdown()


def require_sdk() -> None:
    require("opentelemetry-sdk", find_spec("opentelemetry"))


@pytest.fixture
def spans(exporter: Any) -> Iterator[Spans]:
    exporter.clear()
    yield Spans(exporter)
    exporter.clear()


@pytest.fixture(params=CALLS)
def manager(request: pytest.FixtureRequest) -> RecoveryManager:
    called: RecoveryManager = request.param(make_manager(storage=MemoryStorage()))
    return called


def test_each_call_is_one_span(manager: RecoveryManager, spans: Spans) -> None:
    token = manager.create_token(SOCKET)
    manager.save(token, STATE)
    assert manager.recover(token) == STATE
    assert manager.take_over(token).state == STATE
    assert spans.told() == [
        (f"recovery.{name}", "UNSET", {"recovery.socket_hash": HASH})
        for name in ("save", "recover", "take_over")
    ]


@pytest.mark.parametrize("name", ["recover", "take_over"])
def test_a_refusal_is_told_and_no_error(manager: RecoveryManager, spans: Spans, name: str) -> None:
    give = getattr(manager, name)
    for token, attributes in (
        ("rubbish", {"error.type": "malformed"}),
        ("A" * 64, {"error.type": "signature"}),
        (
            manager.create_token(SOCKET),
            {"error.type": "not_found", "recovery.socket_hash": HASH},
        ),
    ):
        with pytest.raises(RecoveryError):
            give(token)
        assert spans.told() == [(f"recovery.{name}", "UNSET", attributes)]


@pytest.mark.parametrize("calls", CALLS)
def test_an_outage_is_an_error(spans: Spans, calls: Callable[[Any], Any]) -> None:
    storage = DownStorage(FakeClock())
    storage.down = True
    manager = calls(make_manager(storage=storage))
    token = manager.create_token(SOCKET)
    for call in (lambda: manager.recover(token), lambda: manager.save(token, STATE)):
        with pytest.raises(RecoveryError):
            call()
    attributes = {"error.type": "unavailable", "recovery.socket_hash": HASH}
    assert [told[1:] for told in spans.told()] == [("ERROR", attributes)] * 2


async def test_a_join_has_what_it_does_inside(spans: Spans) -> None:
    manager = make_manager(storage=FlakyStorage())
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        save, join = spans.take()
        assert (save.name, join.name) == ("recovery.save", "recovery.join")
        assert save.parent.span_id == join.context.span_id
        assert dict(join.attributes) == {
            "recovery.topic": "lv:counter",
            "recovery.outcome": "new",
        }
        await client.push("add")
        (save,) = spans.take()
        assert (save.name, save.parent) == ("recovery.save", None)
    async with connected(Counter, manager) as client:
        await client.join(token=token)
    takeover, join = spans.take()
    assert (takeover.name, join.name) == ("recovery.take_over", "recovery.join")
    assert takeover.parent.span_id == join.context.span_id
    assert join.attributes["recovery.outcome"] == "recovered"
    async with connected(Counter, manager) as client:
        await client.join(token="rubbish")
    takeover, save, join = spans.take()
    assert takeover.attributes["error.type"] == "malformed"
    assert join.attributes["recovery.outcome"] == "rejected"
    assert join.status.status_code.name == "UNSET"


async def test_a_join_that_is_refused_or_crashes_is_told(spans: Spans) -> None:
    class Crashing(Counter):
        async def mount(self, topic: str, params: dict[str, Any]) -> dict[str, Any]:
            raise ZeroDivisionError("with a secret in it")

    async with connected(Counter, make_manager()) as client:
        await client.join(refuse=True)
    topic = {"recovery.topic": "lv:counter"}
    assert spans.told() == [("recovery.join", "UNSET", {**topic, "recovery.outcome": "refused"})]
    async with connected(Crashing, make_manager()) as client:
        await client.join()
    (span,) = spans.take()
    assert span.status.status_code.name == "ERROR"
    assert dict(span.attributes) == {**topic, "error.type": "ZeroDivisionError"}
    assert "secret" not in span.to_json()


def test_no_span_has_a_token_or_a_state(manager: RecoveryManager, spans: Spans) -> None:
    token = manager.create_token(SOCKET)
    manager.save(token, STATE)
    newer = manager.take_over(token).token
    manager.save(newer, STATE)
    with pytest.raises(RecoveryError):
        manager.recover(token)
    told = "".join(span.to_json() for span in spans.take())
    for secret in (token, newer, *STATE.values(), SOCKET):
        assert secret not in told


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no provider set, as before an application does."""
    api = tracing.trace
    monkeypatch.setattr(api, "get_tracer_provider", api.ProxyTracerProvider)
    monkeypatch.setattr(tracing, "provider", tracing.Provider())
    monkeypatch.setattr(core_spans.tracing, "tracer", tracing.OpenTelemetryTracer())


@pytest.mark.usefixtures("unset")
def test_without_a_provider_a_call_makes_no_span(manager: RecoveryManager, spans: Spans) -> None:
    token = manager.create_token(SOCKET)
    manager.save(token, STATE)
    assert manager.recover(token) == STATE
    assert spans.told() == []


@pytest.mark.usefixtures("unset")
async def test_without_a_provider_a_join_makes_no_span(spans: Spans) -> None:
    with make_manager() as manager:
        async with connected(Counter, manager) as client:
            assert recovery_of(await client.join())["outcome"] == "new"
    assert spans.told() == []


def test_a_provider_that_is_set_late_is_found_in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    require_sdk()
    asked: list[Any] = [tracing.trace.ProxyTracerProvider(), object(), None]
    monkeypatch.setattr(tracing.trace, "get_tracer_provider", lambda: asked.pop(0))
    clock = FakeClock()
    provider = tracing.Provider(clock)
    assert [provider.is_set() for _ in range(100)] == [False] * 100
    clock.advance(seconds=tracing.ASK_SECONDS)
    assert [provider.is_set() for _ in range(100)] == [True] * 100
    clock.advance(seconds=tracing.ASK_SECONDS)
    assert provider.is_set()
    assert asked == [None]


def test_starting_again_opens_no_span_twice(manager: RecoveryManager, spans: Spans) -> None:
    apps.get_app_config("recovery_app").ready()
    manager.save(manager.create_token(SOCKET), STATE)
    assert len(spans.take()) == 1


WITHOUT = """
import sys
sys.modules["opentelemetry"] = None
sys.modules["opentelemetry.trace"] = None
import django
django.setup()
from recovery_app import RecoveryManager
from recovery_app._core import spans as core_spans

with RecoveryManager(secret="s" * 32) as manager:
    token = manager.create_token("socket")
    manager.save(token, {"count": 1})
    print(manager.recover(token))
assert core_spans.tracing.tracer is None
print([name for name in sys.modules if name.startswith("opentelemetry") and sys.modules[name]])
"""


def test_without_opentelemetry_there_is_no_tracer() -> None:
    assert run_script(WITHOUT, fresh=True).splitlines() == ["{'count': 1}", "[]"]
