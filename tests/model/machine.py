"""The choice of what happens next in a world: Hypothesis makes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.model.browser import Browser
from tests.model.server import TTL, Node
from tests.model.storage import FAULTS, Pending
from tests.model.tab import Tab
from tests.model.wire import Wire
from tests.model.world import NPM, SOCKET, World

MAX_TABS = 2
WINDOW = 32
"""How many events a client has on the wire at most."""
Thing = TypeVar("Thing")
Rule = TypeVar("Rule", bound=Callable[..., Any])

counts = st.sampled_from([1, 1, 1, 1, 2, 2, 3, WINDOW + 3])
places = st.integers(0, 2)
"""Which of several to take: the newest, or one before it."""


def pick(things: Sequence[Thing], place: int) -> Thing:
    return things[-1 - place % len(things)]


def when(find: Callable[[Machine], Sequence[object]]) -> Callable[[Rule], Rule]:
    """Have a rule only while there is something to pick."""
    return precondition(lambda machine: len(find(machine)) > 0)


class Machine(RuleBasedStateMachine):
    """Let happen whatever may, in any order."""

    browser: Browser
    world: World

    @initialize(
        way=st.sampled_from([SOCKET, NPM]),
        gathers=st.booleans(),
        sends=st.booleans(),
        moves=st.integers(0, 4),
    )
    def begin(self, way: str, gathers: bool, sends: bool, moves: int) -> None:
        self.world = World(self.browser, way=way, gathers=gathers, sends=sends)
        self.world.flow(moves)

    # People.

    @rule(place=places, count=counts, fails=st.sampled_from([False, False, True]))
    def push(self, place: int, count: int, fails: bool) -> None:
        self.world.push(self._tab(place), count, fails=fails)

    @rule(place=places)
    def reload(self, place: int) -> None:
        self.world.reload(self._tab(place))

    @precondition(lambda self: len(self.world.tabs) < MAX_TABS)
    @rule()
    def duplicate(self) -> None:
        self.world.duplicate(self._tab(0))

    @rule(place=places)
    def tick(self, place: int) -> None:
        self.world.tick(self._tab(place))

    # Publishers.

    @precondition(lambda self: self.world.sends)
    @rule(node=st.none() | places, count=counts, fails=st.sampled_from([False, False, True]))
    def publish(self, node: int | None, count: int, fails: bool) -> None:
        for _ in range(count):
            self.world.publish(None if node is None else self._node(node), fails=fails)

    @precondition(lambda self: self.world.sends)
    @rule()
    def trim(self) -> None:
        self.world.cellar.trim()

    # The network.

    @when(lambda self: self._dialled)
    @rule(place=places, node=places)
    def accept(self, place: int, node: int) -> None:
        self.world.accept(pick(self._dialled, place), self._node(node))

    @when(lambda self: self._dialled)
    @rule(place=places)
    def refuse(self, place: int) -> None:
        self.world.refuse(pick(self._dialled, place))

    @when(lambda self: self._rising)
    @rule(place=places)
    def carry_up(self, place: int) -> None:
        self.world.carry_up(pick(self._rising, place))

    @when(lambda self: self._falling)
    @rule(place=places)
    def carry_down(self, place: int) -> None:
        self.world.carry_down(pick(self._falling, place))

    @rule(moves=st.integers(1, 10))
    def flow(self, moves: int) -> None:
        self.world.flow(moves)

    @when(lambda self: self._whole)
    @rule(place=places, client_learns=st.booleans(), server_learns=st.booleans())
    def cut(self, place: int, client_learns: bool, server_learns: bool) -> None:
        wire = pick(self._whole, place)
        self.world.cut(wire)
        if client_learns and wire.is_held:
            self.world.tell_client(wire)
        if server_learns:
            self.world.tell_server(wire)

    @when(lambda self: self._deaf)
    @rule(place=places)
    def tell_client(self, place: int) -> None:
        self.world.tell_client(pick(self._deaf, place))

    @when(lambda self: self._haunted)
    @rule(place=places)
    def tell_server(self, place: int) -> None:
        self.world.tell_server(pick(self._haunted, place))

    @when(lambda self: self._joined)
    @rule(place=places, node=places)
    def play_again(self, place: int, node: int) -> None:
        self.world.play_again(pick(self._joined, place), self._node(node))

    # Servers.

    @rule(node=places)
    def crash(self, node: int) -> None:
        self.world.crash(self._node(node))

    @rule(seconds=st.sampled_from([2, TTL / 4, TTL / 4, 3 * TTL]))
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    # The storage.

    @rule(faults=st.lists(st.sampled_from(["", *FAULTS]), min_size=1, max_size=4))
    def plan_faults(self, faults: list[str]) -> None:
        self.world.cellar.faults += faults

    @rule()
    def stop_storage(self) -> None:
        self.world.cellar.is_up = False

    @rule()
    def start_storage(self) -> None:
        self.world.cellar.is_up = True

    @when(lambda self: self._pending)
    @rule(place=places)
    def land(self, place: int) -> None:
        self.world.cellar.land(pick(self._pending, place))
        self.world.settle()

    @when(lambda self: self._pending)
    @rule(place=places, lands_late=st.booleans())
    def fail(self, place: int, lands_late: bool) -> None:
        call = pick(self._pending, place)
        if lands_late:
            call.fail()
        else:
            self.world.cellar.lose(call)
        self.world.settle()

    # All of it.

    @rule()
    def heal(self) -> None:
        self.world.heal()

    def teardown(self) -> None:
        try:
            self.world.heal()
        finally:
            self.world.close()

    # What there is to pick.

    def _tab(self, place: int) -> Tab:
        return pick(self.world.tabs, place)

    def _node(self, place: int) -> Node:
        return pick(self.world.nodes, place)

    @property
    def _dialled(self) -> list[Wire]:
        return [wire for wire in self.world.wires if wire.is_dialled]

    @property
    def _rising(self) -> list[Wire]:
        return [wire for wire in self.world.wires if wire.carries_up]

    @property
    def _falling(self) -> list[Wire]:
        return [wire for wire in self.world.wires if wire.carries_down]

    @property
    def _whole(self) -> list[Wire]:
        return [wire for wire in self.world.wires if wire.is_alive and not wire.is_cut]

    @property
    def _deaf(self) -> list[Wire]:
        """Those that are over, and whose client doesn't know."""
        return [wire for wire in self.world.wires if wire.is_held and wire.is_cut]

    @property
    def _haunted(self) -> list[Wire]:
        """Those that are over, and whose server's end lives."""
        return [wire for wire in self.world.wires if wire.is_alive and not wire.is_held]

    @property
    def _joined(self) -> list[Wire]:
        return [wire for wire in self.world.wires if wire.heard]

    @property
    def _pending(self) -> list[Pending]:
        return self.world.cellar.pending


def run(browser: Browser, **options: Any) -> None:
    """Run examples until one fails, or all went well."""
    kind: type[Machine] = type("Machine", (Machine,), {"browser": browser})
    chosen = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    run_state_machine_as_test(kind, settings=settings(chosen, **options))
