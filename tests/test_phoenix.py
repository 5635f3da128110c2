"""Frames in and out: three shapes, refs as they came, and no input that breaks anything."""

from __future__ import annotations

import json
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery_app._live.phoenix import PhoenixProtocol, Shape
from recovery_app._live.protocol import Kind, Message, from_json, to_json
from recovery_app.serializers import JSONSerializer

PROTOCOL = PhoenixProtocol()

LARGEST_REF = 2**53 - 1
refs = st.none() | st.text(max_size=5) | st.integers(-LARGEST_REF, LARGEST_REF)
payloads = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3)
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(refs, refs, st.text(), st.text(), payloads)
def test_each_shape_is_read_as_it_was_written(
    join_ref: Any, ref: Any, topic: str, event: str, payload: dict[str, Any]
) -> None:
    named = {"join_ref": join_ref, "ref": ref, "event": event, "payload": payload}
    kind = Kind.EVENT if event not in ("heartbeat", "phx_join", "phx_leave") else None
    for read, shape, to in (
        (PROTOCOL.read([join_ref, ref, topic, event, payload]), Shape.V2, topic),
        (PROTOCOL.read({**named, "topic": topic}), Shape.V1, topic),
        (PROTOCOL.read(named), Shape.BARE, ""),
    ):
        assert read is not None
        assert read == Message(kind or read.kind, to, event, payload, ref, join_ref, shape)


@pytest.mark.parametrize(
    ("topic", "event", "kind"),
    [
        ("lv:x", "phx_join", Kind.JOIN),
        ("lv:x", "phx_leave", Kind.LEAVE),
        ("phoenix", "heartbeat", Kind.HEARTBEAT),
        ("", "heartbeat", Kind.HEARTBEAT),
        ("lv:x", "heartbeat", Kind.EVENT),
        ("lv:x", "add", Kind.EVENT),
    ],
)
def test_the_event_says_what_a_message_is_for(topic: str, event: str, kind: Kind) -> None:
    message = PROTOCOL.read([None, "1", topic, event, {}])
    assert message is not None
    assert message.kind is kind


@given(st.lists(json_values, min_size=4, max_size=6) | json_values)
def test_nothing_that_is_json_breaks_the_reader(content: Any) -> None:
    frame = PROTOCOL.read(content)
    if frame is not None:
        assert isinstance(frame.topic, str)
        assert isinstance(frame.event, str)
        assert isinstance(frame.payload, dict)
        assert type(frame.ref) in (str, int, type(None))


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_a_text_is_json_or_a_value_error(text: str) -> None:
    try:
        expected = json.loads(text, parse_constant=_refuse)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            from_json(text)
    else:
        assert from_json(text) == expected


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} isn't JSON")


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    frame = PROTOCOL.read_bytes(data)
    if frame is not None:
        assert data[0] == 0
        assert isinstance(frame.payload, bytes)


short_texts = st.text(max_size=20).filter(lambda text: 0 < len(text.encode()) < 256)


@given(short_texts, short_texts, short_texts, short_texts, st.binary(max_size=50))
def test_a_binary_push_is_read_as_the_client_writes_it(
    join_ref: str, ref: str, topic: str, event: str, data: bytes
) -> None:
    fields = [text.encode() for text in (join_ref, ref, topic, event)]
    written = bytes([0, *map(len, fields)]) + b"".join(fields) + data
    assert PROTOCOL.read_bytes(written) == Message(
        Kind.EVENT, topic, event, data, ref, join_ref, Shape.V2
    )
    for cut in range(5 + sum(map(len, fields))):
        assert PROTOCOL.read_bytes(written[:cut]) is None


def test_what_a_state_may_hold_can_be_sent() -> None:
    zone = timezone(timedelta(hours=2))
    sent: dict[str, tuple[object, object]] = {
        "decimal": (Decimal("1.50"), "1.50"),
        "uuid": (UUID(int=1), str(UUID(int=1))),
        "nothing": (None, None),
        "text": ("ä", "ä"),
        "date": (date(2026, 2, 28), "2026-02-28"),
        "moment": (datetime(2026, 2, 28, 1, tzinfo=zone), "2026-02-28T01:00:00+02:00"),
        "time": (time(1, 2), "01:02:00"),
        "time with a zone": (time(1, 2, tzinfo=zone), "01:02:00+02:00"),
        "duration": (timedelta(days=1, seconds=2), "P1DT00H00M02S"),
        "bytes": (b"\xff\x00", "/wA="),
        "large": (2**64 - 1, 2**64 - 1),
        "larger": (2**64, "18446744073709551616"),
        "smaller": (-(2**63) - 1, "-9223372036854775809"),
        "nested": ({"a": [(2**70, {"b": True})]}, {"a": [["1180591620717411303424", {"b": True}]]}),
    }
    for name, (value, expected) in sent.items():
        assert json.loads(to_json({"value": value})) == {"value": expected}, name
    together = {name: value for name, (value, _) in sent.items()}
    assert json.loads(to_json(together)) == {name: each for name, (_, each) in sent.items()}
    assert set(JSONSerializer().loads(JSONSerializer().dumps(together))) == set(sent)


def test_what_json_cannot_carry_is_refused() -> None:
    with pytest.raises(TypeError):
        to_json({"odd": object()})
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(TypeError):
        to_json(endless)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r'"cut \ud83d"', "cut \ufffd"),
        (r'{"\udc00": "\ud83d\ude00"}', {"\ufffd": "😀"}),
        (r'["\\ud83d"]', ["\\ud83d"]),
    ],
)
def test_half_a_surrogate_pair_becomes_a_replacement(text: str, expected: object) -> None:
    assert from_json(text) == expected


@pytest.mark.parametrize("opening", ["[", '{"a":', '["\\ud83d",'])
def test_deep_nesting_is_a_value_error(opening: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json(opening * 100_000)
