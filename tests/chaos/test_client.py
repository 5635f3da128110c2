"""The kit's own client: its rules one by one, without a connection."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recovery_app.chaos.client import MAX_ON_WIRE, Client, Drop

NOW, TIMEOUT, HEARTBEAT, ASK = 1_000.0, 5.0, 2.0, 1.0


class Talk:
    """A client, and the server's part of the talk written by hand."""

    def __init__(self) -> None:
        self.client = Client(
            topic="ledger",
            params={"a": 1},
            timeout_seconds=TIMEOUT,
            heartbeat_seconds=HEARTBEAT,
            ask_seconds=ASK,
        )
        self.now = NOW
        self.sent: list[list[Any]] = []

    def connect(self) -> dict[str, Any]:
        """Begin a connection and give what the join carries."""
        (frame,) = map(json.loads, self.client.connect(self.now))
        assert frame[0] == frame[1]
        assert frame[2:4] == ["ledger", "phx_join"]
        self.join_ref = frame[0]
        payload: dict[str, Any] = frame[4]
        return payload

    def joined(self, outcome: str = "recovered", *, seq: int = 0, token: str | None = "t") -> None:
        recovery = {"token": token, "outcome": outcome, "ttl": 300, "seq": seq}
        self.answer(self.join_ref, "ok", {"state": outcome, "_recovery": recovery})

    def answer(self, ref: str, status: str, response: dict[str, Any]) -> None:
        self.hear("phx_reply", {"status": status, "response": response}, ref)

    def hear(self, event: str, payload: Any, ref: str | None = None) -> None:
        frame = [self.join_ref, ref, "ledger", event, payload]
        self.client.receive(json.dumps(frame), self.now)

    def reply(self, number: int, *, seq: int, **more: Any) -> None:
        """Answer the last frame that was sent with a seq."""
        ref = next(
            ref for _, ref, _, _, payload in reversed(self.sent) if payload["_seq"] == number
        )
        self.answer(ref, "ok", {"n": number, "_recovery": {"seq": seq, **more}})

    def push(self, count: int = 1) -> None:
        for _ in range(count):
            self.client.push("add", {"x": True})

    def tick(self, seconds: float = 0) -> list[int]:
        """Let time pass; give the seqs that are sent."""
        self.now += seconds
        frames = [json.loads(frame) for frame in self.client.tick(self.now)]
        events = [frame for frame in frames if frame[3] == "add"]
        assert all(frame[0] == self.join_ref and frame[4]["x"] for frame in events)
        self.sent += events
        return [frame[4]["_seq"] for frame in events]

    @property
    def ack(self) -> int:
        ack: int = self.sent[-1][4]["_ack"]
        return ack

    @property
    def kept(self) -> list[int]:
        return [event.seq for event in self.client.kept]


@pytest.fixture
def talk() -> Talk:
    """Give a client that has joined afresh."""
    talk = Talk()
    assert talk.connect() == {"a": 1}
    talk.joined("new")
    return talk


def test_events_are_numbered_and_leave_when_they_are_safe(talk: Talk) -> None:
    talk.push(3)
    assert talk.tick() == [1, 2, 3]
    assert talk.ack == 0
    assert talk.tick() == []
    talk.reply(1, seq=1)
    talk.reply(2, seq=1)
    assert talk.kept == [2, 3]
    talk.push()
    assert talk.tick() == [4]
    assert talk.ack == 2
    talk.reply(3, seq=4)
    assert talk.kept == [4]
    talk.reply(4, seq=4)
    assert talk.kept == []
    assert {number: reply.response for number, reply in talk.client.replies.items()} == {
        number: {"n": number + 1} for number in range(4)
    }
    talk.push()
    assert talk.tick() == [5]
    assert talk.ack == 4


def test_what_is_saved_later_is_asked_for(talk: Talk) -> None:
    talk.push(2)
    talk.tick()
    talk.reply(1, seq=0)
    talk.reply(2, seq=0)
    assert talk.tick(ASK - 0.1) == []
    assert talk.tick(0.1) == [2]
    assert talk.tick() == []
    talk.reply(2, seq=1)
    assert talk.kept == [2]
    talk.push()
    assert talk.tick(ASK) == [3]
    talk.reply(3, seq=3)
    assert talk.kept == []
    assert talk.tick(1) == []


def test_nothing_is_sent_before_the_join_is_answered() -> None:
    talk = Talk()
    talk.push()
    talk.connect()
    assert talk.tick(1) == []
    talk.joined("new")
    assert talk.tick() == [1]
    assert talk.client.state == {"state": "new"}
    assert talk.client.token == "t"


def test_the_token_is_shown_and_replaced(talk: Talk) -> None:
    assert talk.connect() == {"a": 1, "_recovery": "t"}
    talk.hear("recovery:token", {"token": "pushed", "ttl": 1})
    assert talk.connect()["_recovery"] == "pushed"
    talk.joined(token=None)
    assert talk.connect()["_recovery"] == "pushed"


def test_after_a_recovery_only_what_was_not_applied_is_sent_with_what_has_no_reply(
    talk: Talk,
) -> None:
    talk.push(5)
    talk.tick()
    talk.reply(1, seq=0)
    talk.reply(4, seq=0)
    talk.connect()
    talk.joined(seq=3)
    # 1 is safe and answered; 2 and 3 are safe, but have no reply; 4 isn't safe.
    assert talk.tick() == [2, 3, 4, 5]
    talk.reply(2, seq=3, repeat=True)
    assert talk.kept == [3, 4, 5]
    talk.reply(4, seq=4)
    assert talk.client.repeats == 1
    assert talk.client.replies[3].response == {"n": 4}
    talk.push()
    assert talk.tick() == [6]


def test_a_reply_that_is_not_known_any_more_is_told_as_such(talk: Talk) -> None:
    talk.push()
    talk.tick()
    talk.answer(talk.sent[-1][1], "ok", {"_recovery": {"seq": 1, "repeat": True}})
    assert talk.client.replies[0].is_forgotten
    assert talk.kept == []


def test_the_first_reply_counts(talk: Talk) -> None:
    talk.push()
    talk.tick()
    talk.reply(1, seq=0)
    talk.connect()
    talk.joined(seq=0)
    assert talk.tick() == [1]
    talk.answer(talk.sent[-1][1], "ok", {"n": "another", "_recovery": {"seq": 1}})
    assert talk.client.replies[0].response == {"n": 1}
    assert talk.kept == []


def test_a_client_goes_on_from_the_number_that_it_is_told() -> None:
    talk = Talk()
    talk.client.token = "of before"
    assert talk.connect()["_recovery"] == "of before"
    talk.joined(seq=5)
    talk.push()
    assert talk.tick() == [6]
    assert talk.ack == 5


def test_an_error_is_a_reply(talk: Talk) -> None:
    talk.push()
    talk.tick()
    response = {"reason": "event crashed", "_recovery": {"seq": 1}}
    talk.answer(talk.sent[-1][1], "error", response)
    assert talk.client.replies[0].status == "error"
    assert talk.client.replies[0].response == {"reason": "event crashed"}
    assert talk.kept == []


def test_what_has_no_reply_in_time_is_sent_again_on_the_same_connection(talk: Talk) -> None:
    talk.push(2)
    talk.tick()
    talk.reply(2, seq=1)
    assert talk.tick(TIMEOUT - 0.1) == []
    talk.hear("anything", {})
    assert talk.tick(0.1) == [1]
    # The reply to the first sending is one as well.
    talk.answer(talk.sent[0][1], "ok", {"late": True, "_recovery": {"seq": 2}})
    assert talk.client.replies[0].response == {"late": True}
    assert talk.kept == []


def test_a_gap_is_filled_from_where_it_begins(talk: Talk) -> None:
    talk.push(4)
    talk.tick()
    talk.reply(1, seq=1)
    for _, ref, _, _, payload in talk.sent[2:4]:
        assert payload["_seq"] in (3, 4)
        talk.answer(ref, "error", {"reason": "seq_gap", "seq": 1, "_recovery": {"seq": 1}})
        again = talk.tick()
        # A second answer about the same gap asks for nothing new.
        assert again == ([2, 3, 4] if payload["_seq"] == 3 else [])
    assert set(talk.client.replies) == {0}


def test_only_so_many_are_on_the_wire(talk: Talk) -> None:
    talk.push(MAX_ON_WIRE + 2)
    assert talk.tick() == list(range(1, MAX_ON_WIRE + 1))
    assert talk.tick() == []
    talk.reply(1, seq=1)
    assert talk.tick() == [MAX_ON_WIRE + 1]


def test_nothing_is_sent_too_far_ahead_of_a_missing_reply(talk: Talk) -> None:
    talk.push(MAX_ON_WIRE + 2)
    talk.tick()
    for number in range(2, MAX_ON_WIRE + 1):
        talk.reply(number, seq=number)
    assert talk.tick() == []
    talk.reply(1, seq=MAX_ON_WIRE)
    assert talk.tick() == [MAX_ON_WIRE + 1, MAX_ON_WIRE + 2]


@pytest.mark.parametrize("outcome", ["version", "unavailable"])
def test_where_the_state_cant_be_had_all_is_kept_for_the_next_join(
    talk: Talk, outcome: str
) -> None:
    talk.push(2)
    talk.tick()
    talk.connect()
    with pytest.raises(Drop, match=outcome):
        talk.joined(outcome, token=None)
    assert talk.tick() == []
    assert talk.connect()["_recovery"] == "t"
    talk.joined(seq=1)
    assert talk.tick() == [1, 2]
    assert talk.client.problems == []


@pytest.mark.parametrize("outcome", ["expired", "not_found", "superseded", "rejected", "new"])
def test_what_was_sent_is_lost_with_its_state(talk: Talk, outcome: str) -> None:
    talk.push(2)
    talk.tick()
    talk.reply(1, seq=1)
    talk.push()
    talk.connect()
    talk.joined(outcome)
    assert talk.client.lost == {1}
    assert outcome in talk.client.problems[0]
    assert talk.tick() == [1]
    assert talk.ack == 0


def test_a_storage_that_lost_writes_is_told(talk: Talk) -> None:
    talk.push(4)
    talk.tick()
    for number in (1, 2, 3):
        talk.reply(number, seq=3)
    talk.connect()
    talk.joined(seq=1)
    assert "3 was safe, and a join says 1" in talk.client.problems[0]
    assert talk.client.lost == {3}
    talk.push()
    assert talk.tick() == [2]


def test_what_is_for_another_join_or_topic_is_left_alone(talk: Talk) -> None:
    talk.push()
    talk.tick()
    ref = talk.sent[-1][1]
    for join_ref, topic in (("99", "ledger"), (talk.join_ref, "other")):
        payload = {"status": "ok", "response": {"_recovery": {"seq": 1}}}
        frame = [join_ref, ref, topic, "phx_reply", payload]
        talk.client.receive(json.dumps(frame), talk.now)
    talk.client.receive('"no frame"', talk.now)
    assert talk.client.replies == {}


# When a connection is of no use


def test_a_join_without_a_reply() -> None:
    talk = Talk()
    talk.connect()
    talk.tick(TIMEOUT)
    with pytest.raises(Drop, match="the join has no reply"):
        talk.tick(0.1)


def test_a_join_that_is_refused() -> None:
    talk = Talk()
    talk.connect()
    with pytest.raises(Drop, match="no entry"):
        talk.answer(talk.join_ref, "error", {"reason": "no entry"})


@pytest.mark.parametrize("event", ["phx_close", "phx_error"])
def test_a_channel_that_ends(talk: Talk, event: str) -> None:
    with pytest.raises(Drop, match=event):
        talk.hear(event, {})


def test_a_silent_connection(talk: Talk) -> None:
    talk.now += HEARTBEAT + 0.1
    (beat,) = map(json.loads, talk.client.tick(talk.now))
    assert beat[0] is None
    assert beat[2:] == ["phoenix", "heartbeat", {}]
    assert talk.tick(HEARTBEAT) == []
    with pytest.raises(Drop, match="heartbeat"):
        talk.tick(0.1)


def test_any_sign_of_life_will_do(talk: Talk) -> None:
    for _ in range(3):
        talk.now += HEARTBEAT + 0.1
        assert len(talk.client.tick(talk.now)) == 1
        talk.client.receive(json.dumps([None, "9", "phoenix", "phx_reply", {}]), talk.now)
