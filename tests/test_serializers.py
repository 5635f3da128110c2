"""Tests of every serializer: one contract: what goes in comes out, or a clean error does."""

from __future__ import annotations

import collections
import dataclasses
import enum
import gc
import inspect
import io
import itertools
import math
import subprocess
import sys
import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack  # type: ignore[import-untyped]
import orjson
import pytest
from django.core.files.base import ContentFile
from django.db.models import TextChoices
from django.utils.module_loading import import_string
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recovery_app.exceptions import SnapshotCorrupt, UnserializableState
from recovery_app.models import StoredSnapshot
from recovery_app.serializers import (
    BUILTIN,
    JSONSerializer,
    MsgPackSerializer,
    Serializer,
    serializer_name,
)
from tests.support.scale import IS_FULL

# A new one joins here.
SERIALIZERS: list[Serializer] = [JSONSerializer(), MsgPackSerializer()]
JSON, MSGPACK = SERIALIZERS

# A busy machine is no finding.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
every = pytest.mark.parametrize("serializer", SERIALIZERS, ids=serializer_name)

BERLIN = ZoneInfo("Europe/Berlin")
NAMED = timezone(timedelta(hours=5, minutes=45), "Kathmandu's ~ own")
ODD = timezone(-timedelta(hours=23, minutes=59, seconds=59, microseconds=999999))


def likeness(value: Any) -> Any:
    """Spell a value so that two are equal only if nothing at all tells them apart."""
    kind = type(value)
    if kind is dict:
        return [(key, type(key), likeness(each)) for key, each in value.items()]
    if kind in (list, tuple):
        return ["list", *map(likeness, value)]
    if kind in (datetime, time):
        plain = value.replace(tzinfo=None).isoformat()
        return kind, plain, value.fold, likeness_of_zone(value.tzinfo)
    return kind, hex(value) if kind is int else repr(value)


def short(value: Any) -> str:
    return "huge" if isinstance(value, int) and abs(value) > 2**200 else ascii(value)[:40]


def likeness_of_zone(zone: tzinfo | None) -> Any:
    if isinstance(zone, ZoneInfo):
        return ZoneInfo, zone.key
    return type(zone), zone and (zone.utcoffset(None), zone.tzname(None))


def nested(depth: int, innermost: Any, wraps: str) -> Any:
    """Put a value into dicts (d), lists (l) and tuples (t), by turns."""
    for _, wrap in zip(range(depth), itertools.cycle(wraps), strict=False):
        innermost = {"a": innermost} if wrap == "d" else [innermost]
        innermost = tuple(innermost) if wrap == "t" else innermost
    return innermost


# What goes in comes out

VALUES: list[Any] = [
    *("", "plain", "Güneş 🌞", "\0", "~", "~~", "~:", "~:x", "~int:ff", "~uuid:", '"~', "\\"),
    *(True, False, None, 0, 1, -1, 127, -(2**63), 2**64 - 1),
    *(2**64, -(2**63) - 1, 10**30, -(10**5000)),
    *(0.0, -0.0, 1.0, 0.1, 5e-324, sys.float_info.max, -sys.float_info.max, 2.0**1010, 1e16),
    *([], {}, [[]], [{}], {"": {"": []}}, {"~int:1": 1}, {"__r": ["dt", "x"]}),
    *(b"", b"\0\xff~", bytes(range(256)), date.min, date.max, date(2024, 2, 29)),
    *(datetime.min, datetime.max, datetime(2024, 5, 1, 12, 30, 1, 5), time.min, time.max),
    *(datetime(2024, 10, 27, 2, 30, fold=fold, tzinfo=BERLIN) for fold in (0, 1)),
    datetime(2024, 3, 31, 2, 30, tzinfo=BERLIN),
    *(datetime(2024, 5, 1, fold=1, tzinfo=zone) for zone in (timezone.utc, NAMED, ODD, None)),
    *(time(23, 59, fold=1, tzinfo=zone) for zone in (timezone.utc, NAMED, ODD, BERLIN)),
    *(datetime.min.replace(tzinfo=zone) for zone in (timezone(timedelta(0), ""), BERLIN)),
    *(timedelta.min, timedelta.max, timedelta(0), timedelta.resolution, timedelta(days=-1)),
    *map(Decimal, ("0", "-0", "1.10", "1E+5", "-1e-999", "NaN", "-sNaN12", "-Infinity")),
    Decimal("3." + "14" * 500),
    *(UUID(int=0), UUID(int=2**128 - 1), UUID("12345678-1234-5678-1234-567812345678")),
]


@every
@pytest.mark.parametrize("value", VALUES, ids=short)
def test_each_value_comes_back(serializer: Serializer, value: Any):
    beside_others = {"a": [value, {"b": (value, 1)}], "c": Decimal("1.0"), "~": UUID(int=1)}
    for state in ({"value": value}, {"a": [{"b": value}]}, beside_others):
        before = likeness(state)
        assert likeness(serializer.loads(serializer.dumps(state))) == before
        assert likeness(state) == before


zones = st.one_of(
    st.none(),
    st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York"]).map(ZoneInfo),
    st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone),
)
rich = st.one_of(
    st.builds(datetime.replace, st.datetimes(), fold=st.integers(0, 1), tzinfo=zones),
    st.builds(time.replace, st.times(), fold=st.integers(0, 1), tzinfo=zones),
    st.dates(),
    st.timedeltas(),
    st.decimals(),
    st.uuids(),
    st.binary(),
)
plain = st.one_of(
    st.text(), st.text().map("~{}".format), st.booleans(), st.none(), st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip
keys = st.one_of(st.text(max_size=5), st.just("~"))


def states_of(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        lists = st.lists(inner, max_size=5)
        return st.one_of(lists, lists.map(tuple), st.dictionaries(keys, inner, max_size=5))

    return st.dictionaries(keys, st.recursive(values, containers, max_leaves=20), max_size=5)


@every
@unhurried
@given(state=states_of(plain) | states_of(plain | rich))
def test_any_state_comes_back(serializer: Serializer, state: dict[str, Any]):
    assert likeness(serializer.loads(serializer.dumps(state))) == likeness(state)


@every
def test_a_zone_keeps_its_rules(serializer: Serializer):
    noon = datetime(2024, 3, 30, 12, tzinfo=BERLIN)
    back = serializer.loads(serializer.dumps({"noon": noon}))["noon"]
    assert (back + timedelta(days=1)).utcoffset() == timedelta(hours=2)
    assert back.utcoffset() == timedelta(hours=1)


@every
def test_the_context_of_decimals_has_no_part_in_it(serializer: Serializer):
    state = {"price": Decimal("1234567.89E+40")}
    with localcontext() as context:
        context.prec, context.capitals = 3, 0
        back = serializer.loads(serializer.dumps(state))
    assert likeness(back) == likeness(state)


@every
def test_many_tuples_come_back_as_lists(serializer: Serializer):
    rows = tuple((number, "(é)", None) for number in range(1000))
    for beside in (1, b"", Decimal(1), UUID(int=1)):
        back = serializer.loads(serializer.dumps({"rows": rows, "beside": beside}))
        assert back == {"rows": [list(row) for row in rows], "beside": beside}


# Depth

# Each container by itself, and all in turn; `make test-full` has each pair too.
NESTS = [*"ldt", "ldt", *(("ld", "lt", "dt") if IS_FULL else ())]
# Just over the edge, over what Python recurses to, and far away.
TOO_DEEP = [254, 1100, 20_000, *((300, 2100, 100_000) if IS_FULL else ())]
each_nest = pytest.mark.parametrize("wraps", NESTS)


@every
@each_nest
@pytest.mark.parametrize("innermost", [1, [], {}, Decimal(1), UUID(int=1), "~"], ids=repr)
def test_depth_to_the_edge(serializer: Serializer, wraps: str, innermost: Any):
    depth = 253 - isinstance(innermost, list | dict)
    state = {"a": nested(depth, innermost, wraps), "b": "x" * 999}
    back = serializer.loads(serializer.dumps(state))
    assert likeness(serializer.loads(serializer.dumps(back))) == likeness(state)


@every
@each_nest
@pytest.mark.parametrize("innermost", [1, UUID(int=1)], ids=repr)
@pytest.mark.parametrize("depth", TOO_DEEP)
def test_depth_over_the_edge(serializer: Serializer, wraps: str, innermost: Any, depth: int):
    state = {"a": nested(depth, innermost, wraps)}
    with pytest.raises(UnserializableState) as caught:
        serializer.dumps(state)
    assert caught.value.problem == "it is nested more than 254 deep"
    assert len(caught.value.path) < 200


@every
def test_depth_needs_no_stack(serializer: Serializer):
    state = {"a": nested(253, UUID(int=1), "ld"), "b": Decimal(1), "c": "~"}

    def below(frames: int) -> dict[str, Any]:
        return below(frames - 1) if frames else serializer.loads(serializer.dumps(state))

    assert below(sys.getrecursionlimit() - len(inspect.stack()) - 40) == state


def cycles() -> Iterator[Any]:
    of_dicts: dict[str, Any] = {"b": {}}
    of_dicts["b"]["c"] = of_dicts
    of_lists: list[Any] = [0, 0]
    of_lists[:] = [of_lists, of_lists]
    of_tuples: list[Any] = []
    of_tuples.append((Decimal(1), {"b": of_tuples}))
    yield pytest.param(of_dicts, 'state["a"].b.c', id="dicts")
    yield pytest.param(of_lists, 'state["a"][1]', id="lists")
    yield pytest.param(of_tuples, 'state["a"][0][1].b', id="tuples")


@every
@pytest.mark.parametrize(("value", "path"), [*cycles()])
def test_what_contains_itself(serializer: Serializer, value: Any, path: str):
    with pytest.raises(UnserializableState) as caught:
        serializer.dumps({"a": value})
    assert (caught.value.path, caught.value.problem) == (path, "it contains itself")


# What can't be stored


class Color(enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    SMALL = 1


class Raw(bytes, enum.Enum):
    ONE = b"1"


class Status(TextChoices):
    OPEN = "open"


class Elsewhere(tzinfo):
    def utcoffset(self, when: datetime | None, /) -> timedelta:
        return timedelta(hours=1)

    def dst(self, when: datetime | None, /) -> None:
        return None

    def tzname(self, when: datetime | None, /) -> str:
        return "elsewhere"


class Point(NamedTuple):
    x: int


@dataclasses.dataclass
class Item:
    price: int = 1


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Real(float):
    pass


class Moment(datetime):
    pass


def zone_without_key() -> ZoneInfo:
    (path,) = [path for path in map(Path, zoneinfo.TZPATH) if (path / "UTC").exists()][:1]
    with (path / "UTC").open("rb") as file:
        return ZoneInfo.from_file(file)


UNSERIALIZABLE: list[Any] = [
    *(math.nan, -math.nan, math.inf, -math.inf, 1j, {1}, frozenset(), range(2), object(), ...),
    *(bytearray(b"1"), memoryview(b"1"), iter([]), print, int, Item(), Item, timezone.utc),
    *(Color.RED, Size.SMALL, Raw.ONE, Status.OPEN, Point(1)),
    *(collections.OrderedDict(a=1), collections.defaultdict(int), collections.Counter("a")),
    *(Text("a"), Whole(1), Real(1), Moment.now(BERLIN), mark_safe("<b>"), gettext_lazy("yes")),
    *("\ud800", "a\udfff~", orjson.Fragment(b"1"), msgpack.Timestamp(1), msgpack.ExtType(1, b"f")),
    *({1: 1}, {None: 1}, {b"a": 1}, {(1,): 1}, {1.5: 1}, {True: 1}, {Size.SMALL: 1}),
    *({Text("a"): 1}, {Status.OPEN: 1}, {mark_safe("a"): 1}, {UUID(int=1): 1}, {date.max: 1}),
    *(datetime(2024, 1, 1, tzinfo=zone) for zone in (Elsewhere(), zone_without_key())),
    time(1, tzinfo=timezone(timedelta(hours=1), "\ud800")),
]


# Each beside what JSON has and what it lacks; what else may be there is the same for all of them.
BESIDE: list[Any] = [(value, beside) for value in UNSERIALIZABLE for beside in (1, UUID(int=1))]
BESIDE += [(1j, beside) for beside in (None, b"", "~", 10**30)]


@every
@pytest.mark.parametrize(
    ("value", "beside"),
    [
        pytest.param(value, beside, id=f"{type(value).__name__}-{beside!r}")
        for value, beside in BESIDE
    ],
)
def test_anything_else_is_refused_where_it_is(serializer: Serializer, value: Any, beside: Any):
    state = {"beside": beside, "items": [[], 1, (1,), {"price": value, "z": [beside]}]}
    with pytest.raises(UnserializableState) as caught:
        serializer.dumps(state)
    assert caught.value.path == 'state["items"][3].price'
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@every
@pytest.mark.parametrize(
    ("state", "path"),
    [
        ({"a": 1j}, 'state["a"]'),
        ({"": 1j}, 'state[""]'),
        ({"a b": {"c d": {"e": 1j}}}, 'state["a b"]["c d"].e'),
        ({"a": [[{"ü": 1j}]]}, 'state["a"][0][0].ü'),
        ({"a": {'"]\n': 1j}}, r'state["a"]["\"]\n"]'),
        ({"a": {"x" * 99: 1j}}, f'state["a"]["{"x" * 40}…"]'),
        ({"a": {"\ud800": 1}}, r'state["a"]["\ud800"]'),
        ({"a": {"b": {1: 1j}}}, 'state["a"].b'),
        ({1: 1}, "state"),
        ({"a": nested(100, 1j, "l")}, f'state["a"]{"[0]" * 15} … {"[0]" * 16}'),
    ],
)
def test_paths(serializer: Serializer, state: dict[str, Any], path: str):
    with pytest.raises(UnserializableState) as caught:
        serializer.dumps(state)
    assert caught.value.path == path
    assert str(caught.value).encode()


@every
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (math.nan, "nan is not a finite number"),
        ({1: 2}, "it has a key that is an int, but keys are str; store str(key)"),
        (Color.RED, f"it is a {__name__}.Color, an enum; store its value"),
        pytest.param(
            object(),
            "it is an object; store str(it), or its parts",
            id="object",
        ),
        ("\ud800", "the text has a lone surrogate, which isn't a character"),
        (
            Whole(1),
            f"it is a {__name__}.Whole and would come back as a plain int; store a plain one",
        ),
    ],
    ids=repr,
)
def test_problems(serializer: Serializer, value: Any, problem: str):
    with pytest.raises(UnserializableState) as caught:
        serializer.dumps({"a": value})
    assert caught.value.problem == problem


@dataclasses.dataclass
class Line:
    price: int = 1


class Basket:
    """A class of the application's, with attributes."""


@every
@pytest.mark.parametrize(
    ("value", "instead"),
    [
        (StoredSnapshot(), "its pk, and load it in after_recover()"),
        (StoredSnapshot.objects.all(), "a list of pks, and load them in after_recover()"),
        (gettext_lazy("a word"), "str(it)"),
        (ContentFile(b"data", "name"), "its name"),
        (io.StringIO(), "its name, or its content"),
        ({1, 2}, "sorted(it)"),
        (frozenset(), "sorted(it)"),
        ((each for each in "a"), "list(it)"),
        (len.__class__, "what identifies it, such as its name"),
        (lambda: None, "what identifies it, such as its name"),
        (Line(), "dataclasses.asdict(it)"),
        (Basket(), "a dict of what it is made of"),
        (1j, "str(it), or its parts"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_to_store_instead(serializer: Serializer, value: Any, instead: str):
    with pytest.raises(UnserializableState) as caught:
        serializer.dumps({"a": value})
    assert caught.value.problem.endswith(f"; store {instead}")


@every
def test_the_advice_for_safe_strings_works(serializer: Serializer):
    safe = mark_safe("<b>")
    with pytest.raises(UnserializableState, match=r"SafeString .* store it\[:\]"):
        serializer.dumps({"html": safe})
    assert serializer.loads(serializer.dumps({"html": safe[:]})) == {"html": "<b>"}


@every
@pytest.mark.parametrize("state", [None, [], "a", collections.OrderedDict(), ({},)], ids=repr)
def test_a_state_is_a_dict(serializer: Serializer, state: Any):
    with pytest.raises(
        UnserializableState, match=r"^state can't be stored: .*a state must be a dict"
    ):
        serializer.dumps(state)


# Bytes that hold no state


def read(serializer: Serializer, data: bytes) -> None:
    """Read bytes that may hold anything: an error of ours, or a state like any other."""
    try:
        state = serializer.loads(data)
    except SnapshotCorrupt:
        return
    assert likeness(serializer.loads(serializer.dumps(state))) == likeness(state)


@every
@unhurried
@given(data=st.binary())
def test_any_bytes(serializer: Serializer, data: bytes):
    read(serializer, data)


@every
@unhurried
@given(
    state=states_of(plain | rich),
    edits=st.lists(st.tuples(st.integers(0), st.integers(0, 3), st.binary(max_size=3)), max_size=4),
)
def test_damaged_bytes(
    serializer: Serializer, state: dict[str, Any], edits: list[tuple[int, int, bytes]]
):
    data = serializer.dumps(state)
    for place, cut, put in edits:
        at = place % (len(data) + 1)
        data = data[:at] + put + data[at + cut :]
    read(serializer, data)


texts = st.one_of(
    st.text(),
    st.text(alphabet="0123456789-+:.TEN /abcdef", max_size=40),
    st.tuples(st.just("2024-01-01T00:00:00 0 "), st.text(max_size=20)).map("".join),
    st.tuples(st.just("00:00 1 "), st.text(alphabet="+-0123456789. U/", max_size=20)).map("".join),
)


@unhurried
@given(
    text=texts,
    name=st.sampled_from(
        ["int", "datetime", "date", "time", "timedelta", "decimal", "uuid", "bytes"]
    )
    | st.text(max_size=3),
)
def test_any_text_of_a_rich_value(text: str, name: str):
    read(JSON, b"~" + orjson.dumps({"a": [f"~{name}:{text}"]}))


@unhurried
@given(code=st.integers(-1, 10), payload=st.binary() | texts.map(str.encode))
def test_any_payload_of_a_rich_value(code: int, payload: bytes):
    # Packed by hand: msgpack itself writes no code below zero.
    read(MSGPACK, b"\x81\xa1a\xc8%b%c%b" % (len(payload).to_bytes(2, "big"), code & 255, payload))


CORRUPT: list[tuple[Serializer, bytes]] = [
    *(
        (JSON, data)
        for data in (b"", b"~", b"null", b"[]", b"~[]", b'"a"', b"{}{}", b"{}x", b"\xff")
    ),
    *((JSON, data) for data in (b'{"a":NaN}', b'{"a":1e999}', b"{1:2}", b'{"a":"\\ud800"}')),
    *((JSON, b"[" * 10**6), (JSON, b'{"a":' * 5000 + b"1" + b"}" * 5000)),
    *((JSON, b'~{"a":"%b"}' % data) for data in (b"~", b"~x", b"~x:1", b"~int:", b"~int:zz")),
    *((JSON, b'~{"a":"~%b"}' % data) for data in (b"bytes:?", b"uuid:1", b"decimal:x", b"date:1")),
    (JSON, b'~{"a":"~timedelta:%b"}' % (b"9" * 30)),
    *(
        (JSON, b'~{"a":"~datetime:2024-01-01T00:00:00 %b"}' % data)
        for data in (
            b"0",
            b"2 ",
            b"0 No/Where",
            b"0 ../UTC",
            b"0 America",
            b"0 +",
            b"0 +90000000000",
        )
    ),
    *((MSGPACK, data) for data in (b"", b"\xc0", b"\x90", b"\xc1", b"\x81\xa1a", b"\x80\x80")),
    *((MSGPACK, b"\x81\x01\x01"), (MSGPACK, b"\x81\xa1\xff\x01"), (MSGPACK, b"\x81\xc4\x00\x01")),
    *((MSGPACK, b"\x81\xa1a\xcb\x7f\xf8" + bytes(6)), (MSGPACK, b"\x81\xa1a\xca\xff\x80\0\0")),
    *(
        (MSGPACK, b"\x81\xa1a\xd6\xff" + bytes(4)),
        (MSGPACK, b"\x81\xa1a\xc7\x0c\xff" + b"\xff" * 12),
    ),
    *((MSGPACK, b"\x81\xa1a\x81\xc4\x00\x01"), (MSGPACK, b"\x81\xc4\x01x\x01")),
    *((MSGPACK, b"\x81\xa1a\xd4\x63x"), (MSGPACK, b"\x81\xa1a\xd4\x02\xff")),
    *((MSGPACK, data + b"\xff" * 4) for data in (b"\xdd", b"\xdb", b"\xdf", b"\xc6", b"\xc9")),
    *((MSGPACK, b"\x91" * 10**6), (MSGPACK, b"\x81\xa1a" * 5000 + b"\x01")),
]


@pytest.mark.parametrize(("serializer", "data"), CORRUPT, ids=short)
def test_corrupt_bytes(serializer: Serializer, data: bytes):
    with pytest.raises(SnapshotCorrupt) as caught:
        serializer.loads(data)
    assert len(str(caught.value)) < 100
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@every
def test_an_error_quotes_nothing(serializer: Serializer):
    data = serializer.dumps({"hush": "hush", "at": Decimal("12345678")})
    for length in range(len(data)):
        with pytest.raises(SnapshotCorrupt) as caught:
            serializer.loads(data[:length])
        assert "hush" not in str(caught.value)
    with pytest.raises(SnapshotCorrupt) as caught:
        serializer.loads(data.replace(b"12345678", b"hushhush"))
    assert str(caught.value) == "The snapshot can't be read: it has a broken decimal."


BOMB = """
import resource
from recovery_app.exceptions import SnapshotCorrupt
from recovery_app.serializers import MsgPackSerializer

resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
million = (10**6).to_bytes(4, "big")
try:
    MsgPackSerializer().loads((b"\\xdd" + million) * 1000 + b"\\xc0" * 10**6)
except SnapshotCorrupt:
    print("clean")
"""


def test_nested_made_up_lengths_are_clean_without_the_memory():
    done = subprocess.run([sys.executable, "-c", BOMB], capture_output=True, check=True, text=True)
    assert done.stdout == "clean\n"


# Speed, by what runs rather than by the clock


def python_calls(function: Callable[[], object]) -> int:
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    gc.disable()  # Hypothesis has it call some Python of its own.
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
        gc.enable()
    return calls


def plain_state(rows: int) -> dict[str, Any]:
    row = {"id": 1, "name": "Ünal ~ x", "price": 1.5, "done": None, "tags": ["a", True, -1]}
    return {"items": [dict(row) for _ in range(rows)], "at": (1, 2)}


@every
def test_no_python_code_looks_at_plain_values(serializer: Serializer):
    few, many = plain_state(1), plain_state(1000)
    short, long = serializer.dumps(few), serializer.dumps(many)
    assert python_calls(lambda: serializer.dumps(few)) == python_calls(
        lambda: serializer.dumps(many)
    )
    assert python_calls(lambda: serializer.loads(short)) == python_calls(
        lambda: serializer.loads(long)
    )


def test_plain_bytes_are_those_of_the_format():
    state = plain_state(3)
    assert JSON.dumps(state) == orjson.dumps(state)
    assert MSGPACK.dumps(state) == msgpack.packb(state)


# Bytes that stay readable for ever

STORED = {
    "int": [-1, 2**70],
    "text": "~:é",
    "datetime": [
        datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=BERLIN),
        datetime(2024, 1, 1, 0, 0, 1),
    ],
    "date": date(2024, 2, 29),
    "time": time(1, 2, 3, 4, tzinfo=NAMED),
    "timedelta": timedelta(days=-1, microseconds=1),
    "decimal": Decimal("-1.10"),
    "uuid": UUID(int=255),
    "bytes": b"\xff~",
}
STORED_JSON = (
    '~{"int":[-1,"~int:400000000000000000"],"text":"~:~:é",'
    '"datetime":["~datetime:2024-10-27T02:30:00 1 Europe/Berlin",'
    '"~datetime:2024-01-01T00:00:01 0 "],'
    '"date":"~date:2024-02-29","time":"~time:01:02:03.000004 0 +20700000000 Kathmandu\'s ~ own",'
    '"timedelta":"~timedelta:-86399999999","decimal":"~decimal:-1.10",'
    '"uuid":"~uuid:000000000000000000000000000000ff","bytes":"~bytes:/34="}'
).encode()
STORED_MSGPACK = (
    b"\x89\xa3int\x92\xff\xc7\x12\x01400000000000000000\xa4text\xa4~:\xc3\xa9"
    b"\xa8datetime\x92\xc7#\x022024-10-27T02:30:00 1 Europe/Berlin"
    b"\xc7\x16\x022024-01-01T00:00:01 0 "
    b"\xa4date\xc7\n\x032024-02-29\xa4time\xc70\x0401:02:03.000004 0 +20700000000 Kathmandu's ~ own"
    b"\xa9timedelta\xc7\x0c\x05-86399999999\xa7decimal\xc7\x05\x06-1.10"
    b"\xa4uuid\xc7 \x07000000000000000000000000000000ff\xa5bytes\xc4\x02\xff~"
)


@pytest.mark.parametrize(
    ("serializer", "data"),
    [(JSON, STORED_JSON), (MSGPACK, STORED_MSGPACK)],
    ids=["json", "msgpack"],
)
def test_stored_bytes_stay_as_they_are(serializer: Serializer, data: bytes):
    assert likeness(serializer.loads(data)) == likeness(STORED)
    assert serializer.dumps(STORED) == data


# Names and custom serializers


class Reversed:
    """A serializer as somebody outside would write it."""

    def dumps(self, state: Mapping[str, Any]) -> bytes:
        return JSON.dumps(state)[::-1]

    def loads(self, data: bytes) -> dict[str, Any]:
        return JSON.loads(data[::-1])


@every
def test_what_one_wrote_is_read_by_its_name(serializer: Serializer):
    data = serializer.dumps(STORED)
    assert likeness(BUILTIN[serializer_name(serializer)].loads(data)) == likeness(STORED)


def test_names():
    assert list(BUILTIN) == ["json", "msgpack"]
    assert serializer_name(Reversed()) == f"{__name__}.Reversed"
    named = Reversed()
    named.name = "backwards"  # type: ignore[attr-defined]
    assert serializer_name(named) == "backwards"


def test_a_custom_serializer_is_one():
    assert isinstance(Reversed(), Serializer)
    assert not isinstance(object(), Serializer)
    assert Reversed().loads(Reversed().dumps(STORED)) == STORED


@pytest.mark.parametrize("name", ["JSONSerializer", "MsgPackSerializer"])
def test_the_dotted_paths(name: str):
    serializer = import_string(f"recovery_app.serializers.{name}")()
    assert isinstance(serializer, Serializer)


@every
def test_a_serializer_holds_nothing(serializer: Serializer):
    with pytest.raises(AttributeError):
        serializer.name = "other"  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        serializer.other = 1  # type: ignore[attr-defined]
