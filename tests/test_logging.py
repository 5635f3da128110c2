"""The log: each line has its event, and the page in the documentation has each line."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import recovery_app
from recovery_app import RecoveryManager
from recovery_app._core import telemetry
from tests.clock import FakeClock
from tests.consumers.apps import Counter
from tests.consumers.storages import FlakyStorage
from tests.consumers.wire import connected, recovery_of
from tests.core.support import OwnStorage, make_manager
from tests.support.processes import TOP

PACKAGE = Path(recovery_app.__file__).parent
LEVELS = {
    "debug": "DEBUG",
    "info": "INFO",
    "warning": "WARNING",
    "error": "ERROR",
    "exception": "ERROR",
}
LOGS = re.compile(r"\b(logger\.|log_failure\(|warn_throttled\()")
ROW = re.compile(r"^\| `(\w+)` \| ([A-Z]+) \| [^|]+ \| ([^|]*) ?\|$", re.MULTILINE)


def documented() -> dict[str, tuple[str, set[str]]]:
    """Return the level and the extras of each event in the table."""
    text = (TOP / "docs" / "monitoring.md").read_text()
    rows = ROW.findall(text)
    return {event: (level, set(re.findall(r"`(\w+)`", also))) for event, level, also in rows}


def log_calls() -> Iterator[tuple[str, ast.Call]]:
    """Return each call that logs a line, with where it is."""
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text()
        # Each test process collects these, and most modules log nothing.
        for node in ast.walk(ast.parse(text)) if LOGS.search(text) else ():
            if isinstance(node, ast.Call) and level_of(node) and not is_passed_on(node):
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node


def level_of(call: ast.Call) -> str | None:
    """Return the level of a line that a call logs, with those of `telemetry` too."""
    function = call.func
    if isinstance(function, ast.Name):
        return {"log_failure": "ERROR", "warn_throttled": "WARNING"}.get(function.id)
    if not isinstance(function, ast.Attribute) or not isinstance(function.value, ast.Name):
        return None
    return LEVELS.get(function.attr) if function.value.id == "logger" else None


def is_passed_on(call: ast.Call) -> bool:
    """Return whether this is a call of `telemetry` itself, with the line that it was given."""
    if not isinstance(call.args[0], (ast.Name, ast.BinOp)):
        return False
    extras = [word.value for word in call.keywords if word.arg == "extra"]
    keys = [key for extra in extras if isinstance(extra, ast.Dict) for key in extra.keys]
    return not any(isinstance(key, ast.Constant) and key.value == "event" for key in keys)


CALLS = dict(log_calls())


def event_of(call: ast.Call) -> str:
    """Return the event that the call names: in a dictionary, or to a function that adds to it."""
    (extra,) = (word.value for word in call.keywords if word.arg == "extra")
    if isinstance(extra, ast.Dict):
        keys = [key.value for key in extra.keys if isinstance(key, ast.Constant)]
        named = extra.values[keys.index("event")]
    else:
        assert isinstance(extra, ast.Call)
        named = extra.args[0]
    assert isinstance(named, ast.Constant)
    return str(named.value)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_each_line_is_documented_with_its_level(call: ast.Call) -> None:
    level, _ = documented()[event_of(call)]
    assert level == level_of(call)


def test_each_documented_line_exists() -> None:
    assert set(documented()) == {event_of(call) for call in CALLS.values()}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_line_is_put_together_before_it_is_wanted(call: ast.Call) -> None:
    assert isinstance(call.args[0], (ast.Constant, ast.Name))


def test_there_is_one_logger() -> None:
    names = {
        match
        for path in PACKAGE.rglob("*.py")
        for match in re.findall(r"getLogger\((.*)\)", path.read_text())
    }
    assert names == {'"recovery_app"'}


# What the lines say


@pytest.fixture
def manager() -> Iterator[RecoveryManager]:
    with make_manager(storage=FlakyStorage()) as manager:
        yield manager


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], dict[str, dict[str, Any]]]:
    """Return a function that gives what was logged by event, and holds it to the table."""
    caplog.set_level(logging.DEBUG, "recovery_app")
    ordinary = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

    def by_event() -> dict[str, dict[str, Any]]:
        found = {}
        for record in caplog.records:
            if record.name == "recovery_app":
                extras = {k: v for k, v in vars(record).items() if k not in ordinary}
                level, also = documented()[extras["event"]]
                assert record.levelname == level
                assert set(extras) == {"event", *also}
                found[extras["event"]] = extras
        return found

    return by_event


async def test_an_outage_is_told_of_the_process_and_of_each_connection(
    manager: RecoveryManager, said: Callable[[], dict[str, dict[str, Any]]]
) -> None:
    storage = manager.storage
    assert isinstance(storage, FlakyStorage)
    async with connected(Counter, manager) as client:
        token = recovery_of(await client.join())["token"]
        storage.stop()
        await client.push("add")
    async with connected(Counter, manager) as client:
        await client.join(token=token)
    lines = said()
    assert set(lines) == {"storage_down", "unsafe", "recovery_failed", "joined"}
    (key,) = (item.socket_hash for item in _stored(manager, storage))
    for event in ("unsafe", "recovery_failed"):
        assert (lines[event]["reason"], lines[event]["topic"]) == ("unavailable", "lv:counter")
        assert lines[event]["socket_hash"] == key
    assert lines["unsafe"]["outcome"] == "new"
    assert lines["recovery_failed"]["outcome"] == "unavailable"


def _stored(manager: RecoveryManager, storage: FlakyStorage) -> list[Any]:
    storage.start()
    return manager.snapshots().items


class Odd(OwnStorage):
    """An application's own storage that lets through what is raised behind it."""

    broken = False

    def save(self, key: str, data: bytes, ttl: float) -> None:
        if self.broken:
            raise ConnectionResetError
        super().save(key, data, ttl)


async def test_what_no_storage_should_raise_is_told_once_a_minute(
    said: Callable[[], dict[str, dict[str, Any]]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, storage = FakeClock(), Odd(FakeClock())
    monkeypatch.setattr(telemetry, "throttle", telemetry.LogThrottle(clock))
    async with make_manager(storage=storage) as manager:
        for minute in (1, 2):
            storage.broken = False
            async with connected(Counter, manager) as one, connected(Counter, manager) as two:
                await one.join()
                await two.join()
                storage.broken = True
                for client in (one, two, one):
                    await client.push("add")
            assert said()["storage_broken"]["operation"] == "save"
            found = [record for record in caplog.records if record.levelname == "ERROR"]
            assert len(found) == minute
            assert found[-1].exc_info is not None
            clock.advance(seconds=telemetry.THROTTLE_SECONDS)


async def test_a_fenced_connection_is_told(
    manager: RecoveryManager, said: Callable[[], dict[str, dict[str, Any]]]
) -> None:
    async with connected(Counter, manager) as old, connected(Counter, manager) as new:
        token = recovery_of(await old.join())["token"]
        await new.join(token=token)
        await new.push("add")
        await old.cast("add", {})
        await old.hear()
        await old.hear()
    fenced = said()["fenced"]
    assert (fenced["reason"], fenced["outcome"]) == ("superseded", "new")


async def test_a_forged_token_has_no_socket(
    manager: RecoveryManager, said: Callable[[], dict[str, dict[str, Any]]]
) -> None:
    forged = manager.create_token("the socket")[:-1] + "A"
    async with connected(Counter, manager) as client:
        await client.join(token=forged)
    failed = said()["recovery_failed"]
    assert (failed["reason"], failed["outcome"], failed["socket_hash"]) == (
        "signature",
        "rejected",
        None,
    )


async def test_faults_of_the_application_are_told(
    manager: RecoveryManager, said: Callable[[], dict[str, dict[str, Any]]]
) -> None:
    class Broken(Counter):
        async def after_recover(self, takeover: Any) -> dict[str, Any]:
            raise ZeroDivisionError

    class Crashing(Counter):
        async def mount(self, topic: str, params: dict[str, Any]) -> dict[str, Any]:
            raise ZeroDivisionError

    async with connected(Broken, manager) as client:
        token = recovery_of(await client.join())["token"]
        await client.push("break")
        await client.raw.send_to(text_data="no JSON")
        await client.raw.send_to(text_data='"fail"')
        await client.push("quiet")
    async with connected(Broken, manager) as client:
        await client.join(token=token)
    async with connected(Crashing, manager) as client:
        await client.join()
    assert set(said()) == {
        "handler_failed",
        "frame_untaken",
        "restore_failed",
        "recovery_failed",
        "join_crashed",
        "joined",
        "state_lost",
    }


async def test_a_topic_makes_no_lines_of_its_own(
    manager: RecoveryManager, caplog: pytest.LogCaptureFixture
) -> None:
    """Hold the formatter of the documentation, which is the example's too, to one line each."""

    class Open(Counter):
        recovery_topics = ("lv:counter", "*")

    caplog.set_level(logging.INFO, "recovery_app")
    async with connected(Open, manager) as client:
        await client.join("a\n2026-11-24 03:12:09,417 ERROR storage_down", token="forged")
    docs = (TOP / "docs" / "monitoring.md").read_text()
    (line_format,) = re.findall(r'"fmt": "(.*)"', docs)
    assert f'"fmt": "{line_format}"' in (TOP / "example_project" / "settings.py").read_text()
    defaults = {"socket_hash": "-", "topic": "-"}
    told = logging.Formatter(line_format, style="{", defaults=defaults)
    lines = [told.format(each) for each in caplog.records if each.name == "recovery_app"]
    assert [line.count("\n") for line in lines] == [0, 0]
    assert "recovery_failed" in lines[0]
    assert " joined " in lines[1]


async def test_no_line_has_a_token_or_a_state(
    manager: RecoveryManager, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    tokens = [manager.create_token("the socket")]
    async with connected(Counter, manager) as client:
        tokens.append(recovery_of(await client.join())["token"])
        await client.push("keep", {"item": "a state that nobody may see"})
        await client.push("break")
    for token in [*tokens, tokens[1]]:
        async with connected(Counter, manager) as client:
            tokens.append(recovery_of(await client.join(token=token))["token"])
            await client.push("add")
    said = " ".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    assert said.count("'event': 'recovery_failed'") == 1
    for secret in (*tokens, "a state that nobody may see", "the socket"):
        assert secret not in said
