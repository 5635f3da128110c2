"""Any order of the calls of two processes with both storages and of one with the old storage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from recovery_app.clock import to_us
from recovery_app.exceptions import StorageUnavailable
from recovery_app.fencing import Decision, Verdict
from recovery_app.snapshots import Header, Snapshot
from recovery_app.storages import MemoryStorage, MigratingStorage, Storage
from recovery_app.storages.migrating.flows import Flow
from recovery_app.testing.contract.base import KEY, claim_of, snapshot_bytes
from tests.clock import FakeClock

TTL = 60
NODES = 2


@dataclass
class Connection:
    """A connection that may save: its token, and the process that it is on."""

    issued_us: int
    where: int


class Pending:
    """A step that is under way, or one call of the old storage that is made at once."""

    def __init__(self, flow: Flow[Any], started: int) -> None:
        self.flow = flow
        self.started = started
        self.next: Any = next(flow)

    def advance(self) -> tuple[bool, Any]:
        """Make one call; return whether that was the last, and the result."""
        storage, method, arguments, options = self.next
        try:
            self.next = self.flow.send(getattr(storage, method)(*arguments, **options))
        except StopIteration as stop:
            return True, stop.value
        except StorageUnavailable:
            return True, None
        return False, None


@dataclass
class Save:
    """A save that was answered as done: when it began and when it ended, in calls."""

    number: int
    began: int
    ended: int
    issued_us: int


class Races(RuleBasedStateMachine):
    """A page on one key; it may come back with its first token to any process at any time."""

    @initialize()
    def start(self) -> None:
        self.clock = FakeClock()
        self.now_us = to_us(self.clock())
        self.first_us = self.now_us
        self.time = self.number = 0
        self.new = MemoryStorage(clock=self.clock)
        self.old: Storage = MemoryStorage(clock=self.clock)
        self.nodes = [MigratingStorage(self.new, self.old, clock=self.clock) for _ in range(NODES)]
        self.connections = [Connection(self.first_us, NODES)]
        self.pending: list[tuple[str, Pending, Any]] = []
        self.saves: list[Save] = []
        self.begin_save(0)

    def tick(self) -> int:
        self.time += 1
        self.now_us += 1
        return self.time

    # What a page does.

    @rule(pick=st.integers(0, 9))
    def begin_save(self, pick: int) -> None:
        connection = self.connections[pick % len(self.connections)]
        self.number += 1
        began = self.tick()
        data = snapshot_bytes(
            connection.issued_us, b"%d" % self.number, floor=self.first_us, version=0
        )
        save = Save(self.number, began, 0, connection.issued_us)
        if connection.where == NODES:
            self.saved(save, self.old.save_fenced(KEY, data, TTL))
            return
        steps = self.nodes[connection.where]._steps
        if steps.is_settled(KEY):
            self.saved(save, self.new.save_fenced(KEY, data, TTL))
        else:
            flow = steps.save_fenced(KEY, data, TTL)
            self.pending.append(("save", Pending(flow, began), save))

    @rule(where=st.integers(0, NODES))
    def begin_takeover(self, where: int) -> None:
        began = self.tick()
        options: Any = {"now_us": self.now_us, "newest_version": 0}
        claim = claim_of(self.first_us)
        if where == NODES:
            self.taken(began, where, self.old.take_over(KEY, claim, TTL, **options))
            return
        flow = self.nodes[where]._steps.take_over(KEY, claim, TTL, **options)
        self.pending.append(("takeover", Pending(flow, began), where))

    @rule(pick=st.integers(0, 9))
    def touch(self, pick: int) -> None:
        connection = self.connections[pick % len(self.connections)]
        storage = [*self.nodes, self.old][connection.where]
        began = self.tick()
        try:
            verdict = storage.touch_fenced(KEY, claim_of(connection.issued_us), TTL)
        except StorageUnavailable:
            return
        self.may_use(connection.issued_us, began, verdict)

    @precondition(lambda self: self.pending)
    @rule(pick=st.integers(0, 9), calls=st.integers(1, 9))
    def advance(self, pick: int, calls: int) -> None:
        index = pick % len(self.pending)
        kind, pending, about = self.pending[index]
        for _ in range(calls):
            self.tick()
            is_done, result = pending.advance()
            if is_done:
                del self.pending[index]
                if result is not None:
                    if kind == "save":
                        self.saved(about, result)
                    else:
                        self.taken(pending.started, about, result)
                break

    @precondition(lambda self: self.pending)
    @rule(pick=st.integers(0, 9))
    def die(self, pick: int) -> None:
        del self.pending[pick % len(self.pending)]

    # What must hold.

    def saved(self, save: Save, verdict: Verdict) -> None:
        self.may_use(save.issued_us, save.began, verdict)
        if verdict is Verdict.DONE:
            save.ended = self.tick()
            self.saves.append(save)

    def may_use(self, issued_us: int, began: int, verdict: Verdict) -> None:
        """Check that what began after a takeover had ended isn't done with an older token."""
        if verdict is Verdict.DONE:
            assert not any(
                ended < began and taken_us > issued_us for taken_us, ended in self.takeovers
            ), "an older token was accepted"
        else:
            assert verdict is Verdict.FENCED

    @property
    def takeovers(self) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = self.__dict__.setdefault("_takeovers", [])
        return found

    def taken(self, began: int, where: int, decision: Decision) -> None:
        if decision.verdict is not Verdict.DONE:
            # Nothing is ever lost, and only the old storage asks the client to come back.
            assert (decision.verdict, where) == (Verdict.VERSION_TOO_NEW, NODES)
            return
        data = decision.data or b""
        number = int(Snapshot.from_bytes(data).state)
        read = next((save for save in self.saves if save.number == number), None)
        for other in self.saves:
            is_lost = other.ended < began and (read is not None and read.ended < other.began)
            assert not is_lost, f"save {number} came back instead of {other.number}"
        issued_us = Header.read(data).fence
        assert all(issued_us != taken_us for taken_us, _ in self.takeovers)
        self.takeovers.append((issued_us, self.tick()))
        self.connections.append(Connection(issued_us, where))


def test_no_older_save_wins_in_any_order_of_calls() -> None:
    run_state_machine_as_test(
        Races, settings=settings(max_examples=100, stateful_step_count=40, deadline=None)
    )
