"""Whatever a client sends, the connection goes on and the state stays whole."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from asgiref.sync import async_to_sync
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery_app import RecoveryManager
from tests.consumers.apps import Counter
from tests.consumers.wire import TOPIC, connected, recovery_of
from tests.support.processes import TOP

EVENTS = ["phx_join", "phx_leave", "phx_reply", "phx_close", "heartbeat", "add", "mount", "x"]
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
refs = st.sampled_from(["1", None, "2"]) | values
topics = st.sampled_from([TOPIC, "", "phoenix", "room:1"]) | values
events = st.sampled_from(EVENTS) | values
payloads = st.dictionaries(st.sampled_from(["_recovery", "by", "params"]) | st.text(), values)
arrays = st.tuples(refs, refs, topics, events, payloads | values).map(list)
objects = st.fixed_dictionaries(
    {},
    optional={
        "join_ref": refs,
        "ref": refs,
        "topic": topics,
        "event": events,
        "payload": payloads | values,
    },
)
texts = (arrays | objects | values).map(json.dumps) | st.text(min_size=1)
frames = st.lists(texts | st.binary(min_size=1), max_size=12)


@settings(max_examples=150, deadline=None)
@given(frames)
def test_a_connection_survives_any_frames(sent: list[str | bytes]) -> None:
    async_to_sync(_survive)(sent)


async def _survive(sent: list[str | bytes]) -> None:
    manager = RecoveryManager(secret=b"s" * 32, cleanup_interval=None)
    async with connected(Counter, manager) as client:
        for frame in sent:
            if isinstance(frame, str):
                await client.raw.send_to(text_data=frame)
            else:
                await client.raw.send_to(bytes_data=frame)
        await client.send("phoenix", "heartbeat", {}, ref="the last one")
        await asyncio.wait_for(_hear_until(client, "the last one"), timeout=60)
        await client.send(TOPIC, "phx_join", {}, ref="new", join_ref="new")
        joined = await asyncio.wait_for(_hear_until(client, "new"), timeout=60)
        assert recovery_of(joined["payload"])["outcome"] == "new"


async def _hear_until(client: Any, ref: str) -> dict[str, Any]:
    while True:
        answer = json.loads(await client.raw.receive_from(timeout=5))
        if isinstance(answer, list) and answer[1] == ref and answer[3] == "phx_reply":
            return dict(zip(("join_ref", "ref", "topic", "event", "payload"), answer, strict=True))


async def test_a_payload_as_deep_as_the_client_allows_is_answered(
    manager: RecoveryManager,
) -> None:
    source = (TOP / "js" / "src" / "events" / "page_event.js").read_text()
    (levels,) = re.findall(r"const MAX_DEPTH = (\d+);", source)
    deep: dict[str, Any] = {}
    for _ in range(int(levels) - 1):
        deep = {"inner": deep}
    async with connected(Counter, manager) as client:
        await client.join()
        reply = await client.push("add", {"deep": deep, "_seq": 1})
        assert reply["response"]["_recovery"] == {"seq": 1}
