"""Mistakes that a newcomer makes, each made on purpose: none is met with silence."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from channels.generic.websocket import (
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    JsonWebsocketConsumer,
    WebsocketConsumer,
)
from channels.layers import get_channel_layer
from django.core.exceptions import ImproperlyConfigured

from recovery_app import RecoveryManager
from recovery_app.consumers import (
    RecoveryConsumerMixin,
    SyncRecoveryConsumerMixin,
    mistakes,
)
from tests.consumers.apps import Counter
from tests.consumers.wire import BARE, TOPIC, connected

MIXINS = {True: SyncRecoveryConsumerMixin, False: RecoveryConsumerMixin}
CONSUMERS: dict[type, bool] = {
    AsyncJsonWebsocketConsumer: False,
    AsyncWebsocketConsumer: False,
    JsonWebsocketConsumer: True,
    WebsocketConsumer: True,
}


def warnings(caplog: pytest.LogCaptureFixture, event: str) -> list[str]:
    """Return the warnings of one event."""
    found = [record for record in caplog.records if getattr(record, "event", "") == event]
    assert all(record.levelno == logging.WARNING for record in found)
    return [record.getMessage() for record in found]


# The class


@pytest.mark.parametrize("base", CONSUMERS)
def test_reversed_base_classes(base: type) -> None:
    mixin = MIXINS[CONSUMERS[base]]
    with pytest.raises(ImproperlyConfigured) as caught:
        type("Reversed", (base, mixin), {})
    assert str(caught.value) == (
        f"Reversed: {mixin.__name__} must stand before {base.__name__}, or no message reaches it: "
        f"class Reversed({mixin.__name__}, {base.__name__})."
    )


def test_reversed_behind_a_base_class_of_ones_own() -> None:
    class Base(AsyncJsonWebsocketConsumer):
        pass

    with pytest.raises(ImproperlyConfigured, match="must stand before"):
        type("Reversed", (Base, RecoveryConsumerMixin), {})


@pytest.mark.parametrize("base", CONSUMERS)
def test_a_mixin_of_the_other_kind(base: type) -> None:
    right, wrong = MIXINS[CONSUMERS[base]], MIXINS[not CONSUMERS[base]]
    with pytest.raises(ImproperlyConfigured, match=f"{base.__name__}.*: use {right.__name__}."):
        type("Mixed", (wrong, base), {})


def test_right_classes_of_every_kind() -> None:
    class Shared(RecoveryConsumerMixin):
        """A base without a consumer, as a project may have it."""

    class Page(Shared, AsyncJsonWebsocketConsumer):
        pass

    class Deeper(Page):
        pass

    assert Deeper.recovery_fields == ()


@pytest.mark.parametrize("name", ["recovery_fields", "recovery_topics"])
def test_a_string_in_place_of_a_tuple(name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=rf"{name} must be .* such as \('count',\)\."):
        type("Page", (Counter,), {name: ("count")})


def test_a_field_that_is_no_name() -> None:
    with pytest.raises(ImproperlyConfigured, match="must be a tuple of strings"):
        type("Page", (Counter,), {"recovery_fields": (1,)})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("recovery_fields", None, "must be a tuple of strings"),
        ("recovery_fields", ("scope",), "'scope' belongs to the connection"),
        ("recovery_fields", ("handle_event",), "'handle_event' is a method"),
        ("recovery_fields", ("twice",), "'twice' is a property without a setter"),
        ("recovery_version", "2", "must be a number, not str"),
        ("recovery_save_interval", "2s", "must be a number, not str"),
        ("recovery_handler_timeout", "5", "must be a number of seconds, or None"),
    ],
)
def test_an_attribute_of_the_wrong_kind(name: str, value: object, said: str) -> None:
    twice = property(lambda self: 2 * self.count)
    with pytest.raises(ImproperlyConfigured, match=rf"^Page\.{name}.* ?{said}"):
        type("Page", (Counter,), {"twice": twice, name: value})


# While it runs


async def test_no_handler_of_events(
    manager: RecoveryManager, caplog: pytest.LogCaptureFixture
) -> None:
    class Idle(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
        recovery_fields = ("count",)
        count = 0

    async with connected(Idle, manager) as client:
        await client.join()
        await client.push("add")
        await client.push("add")
    (said,) = warnings(caplog, "no_handle_event")
    assert "Idle has no handle_event()" in said


async def test_a_handler_that_passes_on_what_it_does_not_know_is_one(
    manager: RecoveryManager, caplog: pytest.LogCaptureFixture
) -> None:
    class Polite(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
        recovery_fields = ("count",)
        count = 0

        async def handle_event(self, event: str, payload: Any) -> Any:
            return await super().handle_event(event, payload)

    async with connected(Polite, manager) as client:
        await client.join()
        await client.push("add")
    assert not warnings(caplog, "no_handle_event")


async def test_a_state_that_nothing_restores(
    manager: RecoveryManager, caplog: pytest.LogCaptureFixture
) -> None:
    class Halved(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
        async def get_recoverable_state(self) -> dict[str, Any]:
            return {"count": 1}

    class Whole(Halved):
        async def restore_state(self, state: dict[str, Any]) -> None:
            pass

    for kind in (Halved, Whole):
        async with connected(kind, manager) as client:
            await client.join()
    (said,) = warnings(caplog, "no_restore")
    assert "Halved" in said
    assert "restore_state()" in said


@pytest.mark.parametrize("call", ["save_recovery", "join_group"])
async def test_a_call_before_a_join_says_where_it_belongs(call: str) -> None:
    arguments = ("room",) if call == "join_group" else ()
    with pytest.raises(RuntimeError, match=r"Call this in .*handle_event\(\), not in connect\(\)"):
        await getattr(Counter(), call)(*arguments)


async def test_no_fields(manager: RecoveryManager, caplog: pytest.LogCaptureFixture) -> None:
    class Forgetful(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
        count = 0

    for _ in range(2):
        async with connected(Forgetful, manager) as client:
            await client.join()
    (said,) = warnings(caplog, "no_state")
    assert "Forgetful keeps no state" in said
    assert "recovery_fields" in said


async def test_a_state_by_hooks_is_one(
    manager: RecoveryManager, caplog: pytest.LogCaptureFixture
) -> None:
    class Own(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
        async def get_recoverable_state(self) -> dict[str, Any]:
            return {"count": 1}

    async with connected(Own, manager) as client:
        await client.join()
    assert warnings(caplog, "no_state") == []


async def test_a_field_that_nothing_sets(
    manager: RecoveryManager, caplog: pytest.LogCaptureFixture
) -> None:
    class Misspelt(Counter):
        recovery_fields = ("count", "itmes")

    async with connected(Misspelt, manager) as client:
        await client.join()
        # Events may be what sets it.
        assert warnings(caplog, "unset_field") == []
        await client.push("add")
        await client.push("add")
    (said,) = warnings(caplog, "unset_field")
    assert "no attribute 'itmes'" in said


async def test_a_field_that_an_event_sets(
    manager: RecoveryManager, caplog: pytest.LogCaptureFixture
) -> None:
    class Late(Counter):
        recovery_fields = ("count", "late")

        async def handle_event(self, event: str, payload: Any) -> None:
            self.late = 1

    async with connected(Late, manager) as client:
        await client.join()
        await client.push("add")
    assert warnings(caplog, "unset_field") == []


@pytest.mark.parametrize("scope", [{}, {"session": None}, {"user": None}, {"cookies": {}}])
async def test_no_session(
    manager: RecoveryManager,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    scope: dict[str, Any],
) -> None:
    monkeypatch.setattr(mistakes.person_warning, "is_given", False)
    for _ in range(2):
        async with connected(Counter, manager, **scope):
            pass
    said = warnings(caplog, "no_session")
    assert len(said) == (0 if scope else 1)
    assert all("RecoveryMiddlewareStack" in line for line in said)


async def test_whoever_binds_by_themselves_needs_no_session(
    manager: RecoveryManager, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bound(Counter):
        async def get_recovery_binding(self) -> str:
            return "somebody"

    monkeypatch.setattr(mistakes.person_warning, "is_given", False)
    async with connected(Bound, manager):
        pass
    assert warnings(caplog, "no_session") == []


async def test_an_event_before_a_join(
    manager: RecoveryManager, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(Counter, manager) as client:
        for _ in range(3):
            reply = await client.push("add")
            assert reply == {"status": "error", "response": {"reason": "unmatched topic"}}
    (said,) = warnings(caplog, "unjoined")
    assert said.endswith(f"[Counter, topic {TOPIC!r}, handling 'add']")


async def test_a_topic_that_isnt_served(
    manager: RecoveryManager, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(Counter, manager) as client:
        assert (await client.join("lv:other"))["status"] == "error"
    (said,) = warnings(caplog, "unmatched")
    assert "recovery_topics" in said
    assert said.endswith("[Counter, topic 'lv:other']")


@pytest.mark.parametrize("frame", ['{"type": "add"}', "add", '{"count": "1", "HEADERS": {}}'])
async def test_a_frame_that_nobody_takes(
    manager: RecoveryManager, caplog: pytest.LogCaptureFixture, frame: str
) -> None:
    class Deaf(RecoveryConsumerMixin, AsyncJsonWebsocketConsumer):
        recovery_fields = ("count",)
        count = 0

    async with connected(Deaf, manager, shape=BARE) as client:
        await client.join("")
        for _ in range(3):
            await client.raw.send_to(text_data=frame)
        assert (await client.push("look"))["status"] == "ok"
    (said,) = warnings(caplog, "frame_untaken")
    assert "receive_json()" in said
    assert ("htmx.html" in said) is ("HEADERS" in frame)
    assert said.endswith("Deaf]")


async def test_a_line_about_a_client_shows_little_of_what_it_sent(
    manager: RecoveryManager, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(Counter, manager) as client:
        await client.push("x" * 5000)
    (said,) = warnings(caplog, "unjoined")
    assert len(said) < 500


@pytest.mark.parametrize(
    "message", [{"type": "nobody.home"}, {"type": "mount"}, {"text": "no type"}]
)
async def test_a_group_message_without_a_handler(
    manager: RecoveryManager, caplog: pytest.LogCaptureFixture, message: dict[str, Any]
) -> None:
    class Grouped(Counter):
        groups = ["everyone"]

    async with connected(Grouped, manager) as client:
        layer: Any = get_channel_layer()
        await layer.group_send("everyone", message)
        await client.join()
        await layer.group_send("everyone", message)
        await client.push("add")
    (said, *_) = warnings(caplog, "unhandled")
    assert "has no handler" in said
    assert f"handling {str(message.get('type'))!r}" in said
