"""The world: tabs and nodes, what lies between them, and its faults."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable
from typing import Any

from recovery_app._core.tokens import issued_us_of, key_of
from recovery_app._live.group_reader import publish
from recovery_app._live.pushes import MAX_PUSHES
from recovery_app.clock import MICROSECONDS
from recovery_app.exceptions import StorageUnavailable
from recovery_app.storages import MemoryStorage
from tests.model.browser import Browser
from tests.model.loop import StillLoop
from tests.model.sent import Sent
from tests.model.server import GROUP, TOKEN_MAX_AGE, TTL, End, Node, ledger
from tests.model.storage import Cellar
from tests.model.tab import RECOVERED, Tab
from tests.model.token_order import TokenOrder
from tests.model.wire import Wire

SOCKET, NPM = "socket", "npm"
"""The ways of a page to carry its events: those of the JavaScript client's."""
SKEW = 7.0
"""How far the clocks of the two nodes are apart."""
HEALING_ROUNDS = 100
MAX_CUTS = 3
"""After so many an event may be given up."""
FLOW = 200
"""After so many moves there is no end to them."""
START = float(int(time.time()))
TOKEN = "lv_recovery_ledger"
KEPT = f"{TOKEN}:events"


class World:
    """Tabs, nodes, and all that lies between. Nothing happens in it by itself."""

    def __init__(
        self, browser: Browser, *, way: str = SOCKET, gathers: bool = False, sends: bool = False
    ) -> None:
        self.loop = StillLoop()
        self.browser = browser
        store = MemoryStorage(clock=lambda: START + self.loop.now)
        self.cellar = Cellar(store)
        self.sends = sends
        self.consumer = ledger(self.cellar, sends=sends, gathers=gathers)
        self.nodes = [self._make_node(skew) for skew in (0.0, -SKEW)]
        self._publisher = self._make_node(0.0)
        self._published: list[asyncio.Task[None]] = []
        self.wires: list[Wire] = []
        self.tabs: list[Tab] = []
        self._hearing: Wire
        """That by which a client hears what it tells of now."""
        self._order = TokenOrder()
        self.cuts = 0
        self._pages = 0
        self._ids = 0
        self._do("reset")
        tab = self._open_tab()
        self._do("open", tab.page, way)

    def close(self) -> None:
        self.cellar.heal()
        self.loop.settle()
        for node in [*self.nodes, self._publisher]:
            node.crash()
            node.manager.close()
        self.loop.close()

    # What a publisher does.

    def publish(self, node: Node | None, *, fails: bool = False) -> None:
        """Publish a message from a node or elsewhere. If that raises, it may be published."""
        self._ids += 1
        message = json.dumps({"type": "note.posted", "id": self._ids, "fails": fails}).encode()
        driver = (node or self._publisher).manager.driver
        publishing = driver.arun(publish(driver, GROUP, message))
        self._published.append(self.loop.create_task(self._publish(self._ids, publishing, fails)))
        self.settle()

    async def _publish(self, number: int, publishing: Awaitable[None], fails: bool) -> None:
        try:
            await publishing
        except StorageUnavailable:
            return
        assert fails or self.cellar.log.count(number) == 1, f"{number} isn't published once."

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
        before = tab.page
        tab.reload(self._next_page())
        self._do("reload", before, tab.page)

    def duplicate(self, tab: Tab) -> Tab:
        """Open a second tab, over a copy of the first one's storage."""
        copy = self._open_tab()
        copy.copy_of(tab, self._kept_in(tab))
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
        texts = [wire.down.popleft() for _ in range(frames)]
        for text in texts:
            wire.note_heard(text)
        self._do("heard", wire.number, texts)

    def flow(self, moves: int = FLOW) -> None:
        """Bring what there is where it goes, on all connections that clients hold."""
        while moves > 0 and sum(self._move(wire) for wire in list(self.wires)):
            moves -= 1

    def cut(self, wire: Wire) -> None:
        """Lose all that is on its way. Each side learns of it later, or never."""
        self.cuts += 1
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
        self._handle_messages()
        for tab in self.tabs:
            tab.check_state(self.stored(tab)["events"])
            if tab.sent:
                tab.sent.check_end(self.stored(tab))
        self._let_go()

    def stored(self, tab: Tab) -> dict[str, Any]:
        """Return the state that the tab's token stands for."""
        found = self.nodes[0].manager.inspect(key_of(self._storage_of(tab)[TOKEN]))
        assert found is not None
        assert found.state is not None
        return dict(found.state)

    def settle(self) -> None:
        """Let servers do what they can."""
        self.loop.settle()
        self.check()

    # Inside.

    def _handle_messages(self) -> None:
        """Wait until servers have noticed all messages."""
        for task in self._published:
            task.result()
        for _ in range(HEALING_ROUNDS):
            waiting = [tab.sent.has_all_messages(self.stored(tab)) for tab in self.tabs if tab.sent]
            if all(waiting):
                break
            self.pass_time(1)
            self.flow()

    def _let_go(self) -> None:
        """See that pages hear what is safe by now, and keep nothing for ever."""
        for _ in range(HEALING_ROUNDS):
            keeping = [tab for tab in self.tabs if KEPT in self._storage_of(tab)]
            if not keeping:
                return
            for tab in keeping:
                self.tick(tab)
            self.flow()
        raise AssertionError(f"It keeps what is safe: {keeping}.")

    def _kept_in(self, tab: Tab) -> set[int]:
        """Return the events in the tab's storage: a page with many stores the last ones later."""
        kept = json.loads(self._storage_of(tab).get(KEPT, "[]"))
        return {event["payload"]["id"] for event in kept}

    def _storage_of(self, tab: Tab) -> dict[str, str]:
        """Return the items in the tab's storage."""
        ((_, _, items),) = self.browser.do("look", tab.page)
        found: dict[str, str] = items
        return found

    def check(self) -> None:
        """See what holds at any time."""
        for node in self.nodes:
            for end in node.ends:
                end.check()

    def _make_node(self, skew: float) -> Node:
        return Node(self.loop, self.cellar, self.consumer, lambda: START + self.loop.now + skew)

    def _next_page(self) -> int:
        self._pages += 1
        return self._pages

    def _open_tab(self) -> Tab:
        sent = Sent(self.cellar) if self.sends else None
        tab = Tab(number=len(self.tabs), page=self._next_page(), sent=sent)
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
                    continue
                self._order.note_sent(wire, rest[0])
                if not wire.is_cut:
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
        has_others = len(self.tabs) > 1
        if what == "outcome":
            if detail["outcome"] == RECOVERED:
                self._order.check(self._hearing.shown, detail["response"]["events"])
            tab.hear_outcome(detail, self._hearing, self._may_lose)
        elif what == "lost":
            tab.hear_lost(detail, self._may_lose)
        elif what == "told":
            assert tab.sent
            tab.sent.hear_push(detail)
        elif what == "missed":
            assert tab.sent
            tab.sent.hear_missed(self._may_miss())
        elif what == "settled":
            tab.hear_reply(detail["id"], detail, is_promised=True, may_be_copied=has_others)
        elif what == "reply":
            number = detail["payload"]["id"]
            tab.hear_reply(number, detail, is_promised=False, may_be_copied=has_others)

    def _may_miss(self) -> bool:
        """Return whether pushes may be gone: another tab had them, or there are very many."""
        return len(self.tabs) > 1 or self._ids >= MAX_PUSHES

    def _may_lose(self, outcome: str) -> bool:
        """Return whether a state may be gone, by what has happened."""
        if outcome in ("superseded", "copied"):
            return len(self.tabs) > 1
        if outcome == "undeliverable":
            return self.cuts >= MAX_CUTS
        if outcome not in ("expired", "not_found"):
            return False
        token = self._hearing.shown
        is_old = START + self.loop.now - issued_us_of(token) / MICROSECONDS > TOKEN_MAX_AGE - SKEW
        return is_old or key_of(token) in self.cellar.expired
