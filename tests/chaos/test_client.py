"""The kit's own client, without a connection."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recovery_app.chaos.client import MAX_IN_FLIGHT, Client, Disconnect

NOW, TIMEOUT, HEARTBEAT, RESEND = 1_000.0, 5.0, 2.0, 1.0


class Dialog:
    """A client, and the messages of the server."""

    def __init__(self) -> None:
        self.client = Client(
            topic="ledger",
            params={"a": 1},
            timeout_seconds=TIMEOUT,
            heartbeat_seconds=HEARTBEAT,
            resend_seconds=RESEND,
        )
        self.now = NOW
        self.received: Any = None
        self.sent: list[list[Any]] = []

    def connect(self) -> dict[str, Any]:
        """Connect, and return the payload of the join."""
        (frame,) = map(json.loads, self.client.connect(self.now))
        assert frame[0] == frame[1]
        assert frame[2:4] == ["ledger", "phx_join"]
        self.join_ref = frame[0]
        payload: dict[str, Any] = frame[4]
        self.received = payload.pop("_recv")
        return payload

    def receive_join(
        self,
        outcome: str = "recovered",
        *,
        seq: int = 0,
        token: str | None = "t",
        missed: bool = False,
    ) -> None:
        recovery = {"token": token, "outcome": outcome, "ttl": 300, "seq": seq, "missed": missed}
        self.receive_reply(self.join_ref, "ok", {"state": outcome, "_recovery": recovery})

    def receive_reply(self, ref: str, status: str, response: dict[str, Any]) -> None:
        self.receive("phx_reply", {"status": status, "response": response}, ref)

    def receive(self, event: str, payload: Any, ref: str | None = None) -> None:
        frame = [self.join_ref, ref, "ledger", event, payload]
        self.client.receive(json.dumps(frame), self.now)

    def receive_pushes(self, *numbers: int) -> None:
        for number in numbers:
            self.receive("told", {"n": number, "_push": number})

    def reply(self, number: int, *, seq: int, **more: Any) -> None:
        """Reply to the latest frame with this seq."""
        ref = next(
            ref for _, ref, _, _, payload in reversed(self.sent) if payload["_seq"] == number
        )
        self.receive_reply(ref, "ok", {"n": number, "_recovery": {"seq": seq, **more}})

    def push(self, count: int = 1) -> None:
        for _ in range(count):
            self.client.push("add", {"x": True})

    def tick(self, seconds: float = 0) -> list[int]:
        """Advance the clock; return the seqs that are sent."""
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
    def queue(self) -> list[int]:
        return [event.seq for event in self.client.queue]


@pytest.fixture
def dialog() -> Dialog:
    """Return a client that has joined with a new state."""
    dialog = Dialog()
    assert dialog.connect() == {"a": 1}
    dialog.receive_join("new")
    return dialog


def test_events_are_numbered_and_removed_when_they_are_saved(dialog: Dialog) -> None:
    dialog.push(3)
    assert dialog.tick() == [1, 2, 3]
    assert dialog.ack == 0
    assert dialog.tick() == []
    dialog.reply(1, seq=1)
    dialog.reply(2, seq=1)
    assert dialog.queue == [2, 3]
    dialog.push()
    assert dialog.tick() == [4]
    assert dialog.ack == 2
    dialog.reply(3, seq=4)
    assert dialog.queue == [4]
    dialog.reply(4, seq=4)
    assert dialog.queue == []
    assert {number: reply.response for number, reply in dialog.client.replies.items()} == {
        number: {"n": number + 1} for number in range(4)
    }
    dialog.push()
    assert dialog.tick() == [5]
    assert dialog.ack == 4


def test_the_last_event_is_sent_again_until_it_is_saved(dialog: Dialog) -> None:
    dialog.push(2)
    dialog.tick()
    dialog.reply(1, seq=0)
    dialog.reply(2, seq=0)
    assert dialog.tick(RESEND - 0.1) == []
    assert dialog.tick(0.1) == [2]
    assert dialog.tick() == []
    dialog.reply(2, seq=1)
    assert dialog.queue == [2]
    dialog.push()
    assert dialog.tick(RESEND) == [3]
    dialog.reply(3, seq=3)
    assert dialog.queue == []
    assert dialog.tick(1) == []


def test_nothing_is_sent_before_the_reply_to_the_join() -> None:
    dialog = Dialog()
    dialog.push()
    dialog.connect()
    assert dialog.tick(1) == []
    dialog.receive_join("new")
    assert dialog.tick() == [1]
    assert dialog.client.state == {"state": "new"}
    assert dialog.client.token == "t"


def test_the_token_is_sent_and_replaced(dialog: Dialog) -> None:
    assert dialog.connect() == {"a": 1, "_recovery": "t"}
    dialog.receive("recovery:token", {"token": "pushed", "ttl": 1})
    assert dialog.connect()["_recovery"] == "pushed"
    dialog.receive_join(token=None)
    assert dialog.connect()["_recovery"] == "pushed"


def test_after_a_recovery_unsaved_and_unanswered_events_are_sent(
    dialog: Dialog,
) -> None:
    dialog.push(5)
    dialog.tick()
    dialog.reply(1, seq=0)
    dialog.reply(4, seq=0)
    dialog.connect()
    dialog.receive_join(seq=3)
    # 1 is saved and answered; 2 and 3 are saved but have no reply; 4 isn't saved.
    assert dialog.tick() == [2, 3, 4, 5]
    dialog.reply(2, seq=3, repeat=True)
    assert dialog.queue == [3, 4, 5]
    dialog.reply(4, seq=4)
    assert dialog.client.repeats == 1
    assert dialog.client.replies[3].response == {"n": 4}
    dialog.push()
    assert dialog.tick() == [6]


def test_a_forgotten_reply_is_marked(dialog: Dialog) -> None:
    dialog.push()
    dialog.tick()
    dialog.receive_reply(dialog.sent[-1][1], "ok", {"_recovery": {"seq": 1, "repeat": True}})
    assert dialog.client.replies[0].is_forgotten
    assert dialog.queue == []


def test_the_first_reply_counts(dialog: Dialog) -> None:
    dialog.push()
    dialog.tick()
    dialog.reply(1, seq=0)
    dialog.connect()
    dialog.receive_join(seq=0)
    assert dialog.tick() == [1]
    dialog.receive_reply(dialog.sent[-1][1], "ok", {"n": "another", "_recovery": {"seq": 1}})
    assert dialog.client.replies[0].response == {"n": 1}
    assert dialog.queue == []


def test_a_client_continues_from_the_seq_of_the_join() -> None:
    dialog = Dialog()
    dialog.client.token = "earlier"
    assert dialog.connect()["_recovery"] == "earlier"
    dialog.receive_join(seq=5)
    dialog.push()
    assert dialog.tick() == [6]
    assert dialog.ack == 5


def test_an_error_is_a_reply(dialog: Dialog) -> None:
    dialog.push()
    dialog.tick()
    response = {"reason": "event crashed", "_recovery": {"seq": 1}}
    dialog.receive_reply(dialog.sent[-1][1], "error", response)
    assert dialog.client.replies[0].status == "error"
    assert dialog.client.replies[0].response == {"reason": "event crashed"}
    assert dialog.queue == []


def test_an_event_without_a_reply_is_sent_again_after_a_timeout(dialog: Dialog) -> None:
    dialog.push(2)
    dialog.tick()
    dialog.reply(2, seq=1)
    assert dialog.tick(TIMEOUT - 0.1) == []
    dialog.receive("anything", {})
    assert dialog.tick(0.1) == [1]
    # The reply to the first attempt counts too.
    dialog.receive_reply(dialog.sent[0][1], "ok", {"late": True, "_recovery": {"seq": 2}})
    assert dialog.client.replies[0].response == {"late": True}
    assert dialog.queue == []


def test_a_gap_is_filled_from_its_start(dialog: Dialog) -> None:
    dialog.push(4)
    dialog.tick()
    dialog.reply(1, seq=1)
    for _, ref, _, _, payload in dialog.sent[2:4]:
        assert payload["_seq"] in (3, 4)
        dialog.receive_reply(ref, "error", {"reason": "seq_gap", "seq": 1, "_recovery": {"seq": 1}})
        again = dialog.tick()
        # A second error about the same gap has no effect.
        assert again == ([2, 3, 4] if payload["_seq"] == 3 else [])
    assert set(dialog.client.replies) == {0}


def test_the_number_of_events_in_flight_is_limited(dialog: Dialog) -> None:
    dialog.push(MAX_IN_FLIGHT + 2)
    assert dialog.tick() == list(range(1, MAX_IN_FLIGHT + 1))
    assert dialog.tick() == []
    dialog.reply(1, seq=1)
    assert dialog.tick() == [MAX_IN_FLIGHT + 1]


def test_nothing_is_sent_too_far_ahead_of_a_missing_reply(dialog: Dialog) -> None:
    dialog.push(MAX_IN_FLIGHT + 2)
    dialog.tick()
    for number in range(2, MAX_IN_FLIGHT + 1):
        dialog.reply(number, seq=number)
    assert dialog.tick() == []
    dialog.reply(1, seq=MAX_IN_FLIGHT)
    assert dialog.tick() == [MAX_IN_FLIGHT + 1, MAX_IN_FLIGHT + 2]


@pytest.mark.parametrize("outcome", ["version", "failed", "unavailable"])
def test_events_stay_queued_if_the_state_is_unavailable(dialog: Dialog, outcome: str) -> None:
    dialog.push(2)
    dialog.tick()
    dialog.connect()
    with pytest.raises(Disconnect, match=outcome):
        dialog.receive_join(outcome, token=None)
    assert dialog.tick() == []
    assert dialog.connect()["_recovery"] == "t"
    dialog.receive_join(seq=1)
    assert dialog.tick() == [1, 2]
    assert dialog.client.problems == []


@pytest.mark.parametrize(
    "outcome", ["copied", "expired", "not_found", "superseded", "rejected", "new"]
)
def test_sent_events_are_lost_with_the_state(dialog: Dialog, outcome: str) -> None:
    dialog.push(2)
    dialog.tick()
    dialog.reply(1, seq=1)
    dialog.push()
    dialog.connect()
    dialog.receive_join(outcome)
    assert dialog.client.lost == {1}
    assert outcome in dialog.client.problems[0]
    assert dialog.tick() == [1]
    assert dialog.ack == 0


def test_lost_writes_are_reported(dialog: Dialog) -> None:
    dialog.push(4)
    dialog.tick()
    for number in (1, 2, 3):
        dialog.reply(number, seq=3)
    dialog.connect()
    dialog.receive_join(seq=1)
    assert "3 was saved, but a join has only 1" in dialog.client.problems[0]
    assert dialog.client.lost == {3}
    dialog.push()
    assert dialog.tick() == [2]


def test_messages_for_another_join_or_topic_are_ignored(dialog: Dialog) -> None:
    dialog.push()
    dialog.tick()
    ref = dialog.sent[-1][1]
    for join_ref, topic in (("99", "ledger"), (dialog.join_ref, "other")):
        payload = {"status": "ok", "response": {"_recovery": {"seq": 1}}}
        frame = [join_ref, ref, topic, "phx_reply", payload]
        dialog.client.receive(json.dumps(frame), dialog.now)
    dialog.client.receive('"no frame"', dialog.now)
    assert dialog.client.replies == {}


# Reasons to disconnect


def test_a_join_without_a_reply() -> None:
    dialog = Dialog()
    dialog.connect()
    dialog.tick(TIMEOUT)
    with pytest.raises(Disconnect, match="the join has no reply"):
        dialog.tick(0.1)


def test_a_join_that_is_refused() -> None:
    dialog = Dialog()
    dialog.connect()
    with pytest.raises(Disconnect, match="no entry"):
        dialog.receive_reply(dialog.join_ref, "error", {"reason": "no entry"})


@pytest.mark.parametrize("event", ["phx_close", "phx_error"])
def test_a_channel_that_ends(dialog: Dialog, event: str) -> None:
    with pytest.raises(Disconnect, match=event):
        dialog.receive(event, {})


def test_a_silent_connection(dialog: Dialog) -> None:
    dialog.now += HEARTBEAT + 0.1
    (beat,) = map(json.loads, dialog.client.tick(dialog.now))
    assert beat[0] is None
    assert beat[2:] == ["phoenix", "heartbeat", {}]
    assert dialog.tick(HEARTBEAT) == []
    with pytest.raises(Disconnect, match="heartbeat"):
        dialog.tick(0.1)


def test_any_message_keeps_the_connection_alive(dialog: Dialog) -> None:
    for _ in range(3):
        dialog.now += HEARTBEAT + 0.1
        assert len(dialog.client.tick(dialog.now)) == 1
        dialog.client.receive(json.dumps([None, "9", "phoenix", "phx_reply", {}]), dialog.now)


# Pushes


def test_each_push_counts_once(dialog: Dialog) -> None:
    assert [dialog.received] == [None]
    dialog.receive_pushes(1, 2)
    dialog.connect()
    assert dialog.received == 2
    dialog.receive_join()
    dialog.receive_pushes(2, 3)
    pushes = dialog.client.pushes
    assert (pushes.count, pushes.repeats, pushes.missed) == (3, 1, 0)
    assert dialog.client.problems == []


def test_a_gap_between_pushes_is_a_problem(dialog: Dialog) -> None:
    dialog.receive_pushes(1, 3, 4)
    assert dialog.client.problems == ["push 3 came after push 1"]


def test_a_gap_that_was_told_of_is_none(dialog: Dialog) -> None:
    dialog.receive_pushes(1)
    dialog.connect()
    dialog.receive_join(missed=True)
    dialog.receive_pushes(5, 6)
    assert (dialog.client.pushes.missed, dialog.client.problems) == (1, [])
    dialog.receive_pushes(8)
    assert dialog.client.problems == ["push 8 came after push 6"]


def test_the_server_is_told_of_pushes_now_and_then(dialog: Dialog) -> None:
    dialog.receive_pushes(*range(1, 32))
    assert dialog.client.tick(dialog.now) == []
    dialog.receive_pushes(32)
    ((join_ref, ref, _, event, payload),) = map(json.loads, dialog.client.tick(dialog.now))
    assert (join_ref, event, payload) == (dialog.join_ref, "recovery:received", {"_recv": 32})
    assert ref != join_ref, "its reply is none to the join"
    assert dialog.client.tick(dialog.now) == []


def test_a_push_of_a_join_whose_reply_was_lost_counts_for_nothing(dialog: Dialog) -> None:
    dialog.connect()
    dialog.receive_pushes(1)
    dialog.connect()
    assert dialog.received is None


def test_a_fresh_state_has_pushes_of_its_own(dialog: Dialog) -> None:
    dialog.receive_pushes(1, 2)
    dialog.connect()
    dialog.receive_join("expired")
    dialog.receive_pushes(1)
    assert dialog.client.pushes.count == 3
