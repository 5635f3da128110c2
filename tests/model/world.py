"""Own the world between pages and nodes, its faults, and what must hold in it at any time."""

from __future__ import annotations

import json
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from recovery_app.clock import MICROSECONDS
from recovery_app.storages import MemoryStorage
from recovery_app.tokens import issued_us_of, key_of
from tests.model.browser import Browser
from tests.model.loop import StillLoop
from tests.model.server import TOKEN_MAX_AGE, TTL, End, GatheringLedger, Ledger, Node
from tests.model.storage import Cellar

SKEW = 7.0
"""How far the clocks of the two nodes are apart."""
HEALING_ROUNDS = 400
START = float(int(time.time()))
TOKEN = "lv_recovery_ledger"
RECOVERED = "recovered"
KEEPS_TOKEN = ("version", "unavailable")


@dataclass(eq=False)
class Wire:
    """One connection: what is on its way, and who knows that it is over."""

    page: int
    number: int
    up: deque[str] = field(default_factory=deque)
    down: deque[str] = field(default_factory=deque)
    heard: list[str] = field(default_factory=list)
    """What has reached the server, for whoever plays it again."""
    end: End | None = None
    is_dialled: bool = True
    """The client waits for it to open."""
    is_held: bool = True
    """The client has not let go of it, nor was it told that it is over."""
    is_cut: bool = False

    @property
    def shown(self) -> str:
        """Give the token that its last join showed."""
        token: str = json.loads(self.joins[-1])[-1]["_recovery"]
        return token

    @property
    def joins(self) -> list[str]:
        return [text for text in self.heard if '"phx_join"' in text]

    @property
    def is_alive(self) -> bool:
        """Say whether the server's end still runs."""
        return self.end is not None and self.end in self.end.node.ends

    @property
    def carries_down(self) -> bool:
        return bool(self.down) and self.is_held and not self.is_cut

    @property
    def carries_up(self) -> bool:
        return bool(self.up) and self.is_alive and not self.is_cut


@dataclass(eq=False)
class Tab:
    """One tab: the page in it, and what that was told of the events pushed."""

    number: int
    page: int
    pushed: list[int] = field(default_factory=list)
    failing: set[int] = field(default_factory=set)
    settled: dict[int, dict[str, Any]] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    """Those of a state that is lost."""
    promised: set[int] = field(default_factory=set)
    """Those that were pushed by the page that is in the tab now."""
    wire: Wire | None = None
    """That by which it joined last."""
    outcomes: list[str] = field(default_factory=list)

    @property
    def is_joined(self) -> bool:
        return self.wire is not None and self.wire.is_held and not self.wire.is_cut

    @property
    def unsettled(self) -> list[int]:
        over = self.settled.keys() | self.lost
        return [number for number in self.pushed if number not in over]

    @property
    def expected(self) -> list[int]:
        """Give the state that all of this makes."""
        without = self.lost | self.gone | self.failing
        return [number for number in self.pushed if number not in without]


class World:
    """Tabs, nodes, and all that lies between. Nothing happens in it by itself."""

    def __init__(self, browser: Browser, *, gathers: bool = False, seed: int = 0) -> None:
        self.loop = StillLoop()
        self.browser = browser
        store = MemoryStorage(clock=lambda: START + self.loop.now)
        self.cellar = Cellar(store)
        self.consumer = GatheringLedger if gathers else Ledger
        self.nodes = [self._make_node(skew) for skew in (0.0, -SKEW)]
        self.wires: list[Wire] = []
        self.tabs: list[Tab] = []
        self._hearing: Wire
        """That by which a client hears what it tells of now."""
        self._pages = 0
        self._ids = 0
        self._do("reset", seed)
        tab = self._open_tab()
        self._do("open", tab.page)

    def close(self) -> None:
        self.cellar.heal()
        for node in self.nodes:
            node.crash()
            node.manager.close()
        self.loop.close()

    # What a person does.

    def push(self, tab: Tab, count: int = 1, *, fails: bool = False) -> None:
        """Push events; one that fails is applied, with an error for a reply."""
        ids = range(self._ids + 1, self._ids + 1 + count)
        self._ids += count
        tab.pushed += ids
        tab.promised.update(ids)
        if fails:
            tab.failing.update(ids)
        self._do("push", tab.page, "fail" if fails else "add", list(ids))

    def reload(self, tab: Tab) -> None:
        """Load the page anew, over the tab's own storage."""
        before, tab.page = tab.page, self._next_page()
        tab.promised.clear()
        tab.wire = None
        self._do("reload", before, tab.page)

    def duplicate(self, tab: Tab) -> Tab:
        """Open a second tab, over a copy of the first one's storage."""
        copy = self._open_tab()
        copy.pushed, copy.failing = list(tab.pushed), set(tab.failing)
        copy.settled, copy.lost, copy.gone = dict(tab.settled), set(tab.lost), set(tab.gone)
        self._do("duplicate", tab.page, copy.page)
        return copy

    def tick(self, tab: Tab) -> None:
        """Let the page's next timer go off: whatever else is late, it comes before that."""
        self._do("tick", tab.page)

    # What the network does.

    def accept(self, wire: Wire, node: Node) -> None:
        """Open a connection, to one of the nodes."""
        self._connect(wire, node)
        self._do("opened", wire.number)

    def refuse(self, wire: Wire) -> None:
        """Let an attempt to connect fail."""
        self.cut(wire)
        self.tell_client(wire)

    def carry_up(self, wire: Wire) -> None:
        """Bring the next frame to the server, even if the client has let go since."""
        assert wire.end is not None
        text = wire.up.popleft()
        wire.heard.append(text)
        wire.end.receive(text)

    def carry_down(self, wire: Wire, frames: int = 1) -> None:
        """Bring the next frames to the client."""
        self._hearing = wire
        self._do("heard", wire.number, [wire.down.popleft() for _ in range(frames)])

    def flow(self, moves: int = 10_000) -> None:
        """Bring what there is where it goes, on all connections that clients hold."""
        while moves > 0 and any([self._move(wire) for wire in list(self.wires)]):
            moves -= 1

    def cut(self, wire: Wire) -> None:
        """Lose all that is on its way. Each side learns of it later, or never."""
        wire.is_cut = True
        wire.up.clear()
        wire.down.clear()

    def tell_client(self, wire: Wire) -> None:
        wire.is_held = wire.is_dialled = False
        self._do("closed", wire.number)

    def tell_server(self, wire: Wire) -> None:
        """Let the server's end hear that the client is gone."""
        assert wire.end is not None
        wire.up.clear()
        wire.end.disconnect()

    def play_again(self, wire: Wire, node: Node) -> Wire:
        """Repeat the join on a connection of its own, which nobody reads."""
        replay = Wire(page=0, number=0, is_dialled=False, is_held=False)
        self._connect(replay, node)
        assert replay.end is not None
        replay.end.receive(wire.joins[-1])
        self.wires.append(replay)
        return replay

    # What servers do.

    def crash(self, node: Node) -> None:
        """Kill a node's process: its connections are cut, and no client knows of it yet."""
        node.crash()
        for wire in self.wires:
            if wire.end is not None and wire.end.node is node:
                self.cut(wire)

    def pass_time(self, seconds: float) -> None:
        """Let time pass for servers and storage; pages have their own."""
        step = TTL / 8
        while seconds > 0:
            self.loop.advance(min(step, seconds))
            seconds -= step
        self.check()

    # The end.

    def heal(self) -> None:
        """Let all go well from now on, until each event is told of and all states are equal."""
        self.cellar.heal()
        self.settle()
        for wire in self.wires:
            if wire.is_held and wire.is_cut:
                self.tell_client(wire)
        for _ in range(HEALING_ROUNDS):
            self.flow()
            waiting = [tab for tab in self.tabs if tab.unsettled or not tab.is_joined]
            if not waiting:
                break
            for tab in waiting:
                self.tick(tab)
        for tab in self.tabs:
            assert tab.is_joined, f"It never came back: {tab}."
            assert not tab.unsettled, f"Nothing was told of {tab.unsettled}."
        # By then each connection has saved what it gathered, and knows who took it over.
        self.pass_time(self.nodes[0].manager.touch_interval)
        self.flow()
        for tab in self.tabs:
            self._check_state(tab, self.stored(tab))

    def stored(self, tab: Tab) -> list[int]:
        """Give the state that the tab's token stands for."""
        ((_, _, shelf),) = self.browser.do("look", tab.page)
        found = self.nodes[0].manager.inspect(key_of(shelf[TOKEN]))
        assert found is not None
        assert found.state is not None
        events: list[int] = found.state["events"]
        return events

    def settle(self) -> None:
        """Let servers do what they can."""
        self.loop.settle()
        self.check()

    # Inside.

    def check(self) -> None:
        """See what holds at any time."""
        for node in self.nodes:
            for end in node.ends:
                end.check()

    def _make_node(self, skew: float) -> Node:
        return Node(
            self.loop, self.cellar, self.consumer, lambda: START + self.loop.now + skew
        )

    def _next_page(self) -> int:
        self._pages += 1
        return self._pages

    def _open_tab(self) -> Tab:
        tab = Tab(number=len(self.tabs), page=self._next_page())
        self.tabs.append(tab)
        return tab

    def _do(self, command: str, *words: Any) -> None:
        for what, number, *rest in self.browser.do(command, *words):
            if what == "dial":
                self.wires.append(Wire(page=number, number=rest[0]))
            elif what == "note":
                self._note(number, *rest)
            else:
                wire = next(wire for wire in self.wires if wire.number == number)
                if what == "hang_up":
                    wire.is_held = wire.is_dialled = False
                    wire.down.clear()
                elif not wire.is_cut:
                    wire.up.append(rest[0])
        self.check()

    def _connect(self, wire: Wire, node: Node) -> None:
        def send(text: str) -> None:
            if wire.is_held and not wire.is_cut:
                wire.down.append(text)

        wire.is_dialled = False
        wire.end = End(node, send)

    def _move(self, wire: Wire) -> bool:
        """Bring on what there is in one direction; say whether there was anything."""
        if not wire.is_held:
            return False
        if wire.is_dialled:
            self.accept(wire, self.nodes[wire.number % len(self.nodes)])
        elif wire.carries_up:
            while wire.carries_up:
                self.carry_up(wire)
        elif wire.carries_down:
            self.carry_down(wire, len(wire.down))
        else:
            return False
        return True

    def _note(self, page: int, what: str, detail: dict[str, Any]) -> None:
        tab = next(tab for tab in self.tabs if tab.page == page)
        if what == "outcome":
            self._note_outcome(tab, detail)
        elif what == "lost":
            self._note_lost(tab, detail)
        elif what != "given_up":
            number = detail["id"] if what == "settled" else detail["payload"]["id"]
            self._note_reply(tab, number, detail, is_promised=what == "settled")

    def _note_outcome(self, tab: Tab, detail: dict[str, Any]) -> None:
        outcome = detail["outcome"]
        tab.outcomes.append(outcome)
        if outcome in KEEPS_TOKEN:
            return
        tab.wire = self._hearing
        if outcome == RECOVERED:
            self._check_told(tab, detail["response"]["events"])
            return
        assert detail["response"]["events"] == []
        is_first = outcome == "new" and not tab.gone and not tab.settled
        assert is_first or self.may_lose(outcome), f"The state was lost: {outcome}."
        tab.gone |= tab.settled.keys()

    def may_lose(self, outcome: str) -> bool:
        """Say whether a state may be gone, by what has happened."""
        if outcome == "superseded":
            return len(self.tabs) > 1
        if outcome not in ("expired", "not_found"):
            return False
        token = self._hearing.shown
        is_old = START + self.loop.now - issued_us_of(token) / MICROSECONDS > TOKEN_MAX_AGE - SKEW
        return is_old or key_of(token) in self.cellar.expired

    def _note_lost(self, tab: Tab, detail: dict[str, Any]) -> None:
        assert detail["reason"] not in (None, RECOVERED, *KEEPS_TOKEN), detail
        assert self.may_lose(detail["reason"]), detail
        for event in detail["events"]:
            number = event["payload"]["id"]
            assert number in tab.pushed
            assert number not in tab.lost, f"{number} is told as lost once more."
            tab.lost.add(number)

    def _note_reply(
        self, tab: Tab, number: int, detail: dict[str, Any], *, is_promised: bool
    ) -> None:
        assert is_promised == (number in tab.promised), f"{number} was told in the wrong way."
        assert number not in tab.settled, f"{number} is settled once more."
        assert number not in tab.lost, f"{number} was lost, and is settled."
        tab.settled[number] = detail
        response = detail["response"]
        if number in tab.failing:
            assert detail["status"] == "error", detail
            assert response == {"reason": "event crashed"}, detail
            return
        assert detail["status"] == "ok", detail
        if is_promised or response:
            assert response["id"] == number, f"{number} has the reply {response}."

    def _check_told(self, tab: Tab, events: list[int]) -> None:
        """See that nothing was applied twice, nor out of order, in a state that is told."""
        assert len(set(events)) == len(events), f"Applied twice: {events}."
        own = [number for number in tab.pushed if number in events]
        assert [number for number in events if number in own] == own, f"Out of order: {events}."
        assert not tab.failing.intersection(events), f"Failed and applied: {events}."

    def _check_state(self, tab: Tab, events: list[int]) -> None:
        self._check_told(tab, events)
        alone = [number for number in events if number in tab.pushed]
        assert alone == tab.expected, f"{alone} is there, and not {tab.expected}."
        for number in alone:
            place = tab.settled[number]["response"].get("place", events.index(number) + 1)
            assert events[place - 1] == number, f"{number} was told to be at {place}: {events}."
