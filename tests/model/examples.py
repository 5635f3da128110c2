"""What Hypothesis seldom or never comes to by chance: one way through a world each."""

from __future__ import annotations

from collections.abc import Callable

from recovery_app._live.replies import MAX_REPLIES
from tests.model.browser import Browser
from tests.model.server import TTL
from tests.model.storage import SLOW
from tests.model.tab import Tab
from tests.model.wire import Wire
from tests.model.world import World

Example = Callable[[World], None]


def lose_a_save(world: World) -> None:
    """Have a push handled whose save fails, and the node crash."""
    world.push(world.tabs[0])
    world.flow()
    world.cellar.is_up = False
    world.push(world.tabs[0])
    world.flow()
    for node in world.nodes:
        world.crash(node)
    world.cellar.is_up = True


def come_back_after_another_tab(world: World) -> None:
    """Have a tab come back, with an event on its way, after its copy has used the state."""
    first = world.tabs[0]
    world.push(first)
    world.flow()
    second = world.duplicate(first)
    world.flow()
    world.push(second)
    world.flow()
    # It has the same number as the copy's, and never arrives.
    world.cut(wire_of(first))
    world.push(first)


def come_back_to_a_state_of_its_own(world: World) -> None:
    """Have a tab go on with a state of its own when its copy has the old one, and come back."""
    first = world.tabs[0]
    world.push(first)
    world.flow()
    second = world.duplicate(first)
    world.flow()
    for tab in (second, first):
        world.push(tab)
        world.flow()
    leave(world, first)


def fail_to_begin_anew(world: World) -> None:
    """Have a page come back when its state has expired, and the first save of the next one fail."""
    tab = world.tabs[0]
    world.push(tab)
    world.flow()
    leave(world, tab)
    world.pass_time(3 * TTL)
    world.tick(tab)
    world.cellar.faults = ["", SLOW]
    world.flow()
    world.cellar.lose(world.cellar.pending[0])
    world.settle()
    world.flow()
    # The next touch saves what isn't saved, if it may.
    world.pass_time(world.nodes[0].manager.touch_interval)


def lose_the_reply_to_a_join(world: World) -> None:
    """Have a page come back whose server takes over, and the page never hear of it."""
    tab = world.tabs[0]
    leave(world, tab)
    world.tick(tab)
    wire = world.wires[-1]
    world.accept(wire, world.nodes[1])
    world.carry_up(wire)
    world.cut(wire)


def land_a_save_late(world: World) -> None:
    """Have a save told as failed that lands when the next one has, and the node crash."""
    tab = world.tabs[0]
    world.cellar.faults = [SLOW]
    world.push(tab)
    world.flow()
    world.cellar.pending[0].fail()
    world.settle()
    world.push(tab)
    world.flow()
    for call in list(world.cellar.pending):
        world.cellar.land(call)
    for node in world.nodes:
        world.crash(node)


def lose_the_replies(world: World) -> None:
    """Lose all replies to what is sent at once, of more events than a server keeps replies to."""
    tab = world.tabs[0]
    world.push(tab, MAX_REPLIES + 3)
    wire = wire_of(tab)
    while wire.carries_up:
        world.carry_up(wire)
    world.cut(wire)
    world.tell_server(wire)


def fail_in_a_group(world: World) -> None:
    """Have a page catch up with messages, one of which fails; later ones are gone unread."""
    tab = world.tabs[0]
    world.push(tab, fails=True)
    world.flow()
    leave(world, tab)
    for fails in (False, True, False):
        world.publish(None, fails=fails)
    world.tick(tab)
    world.flow()
    world.cut(wire_of(tab))
    world.publish(None)
    world.cellar.trim()


def leave(world: World, tab: Tab) -> None:
    """Cut a tab's connection, and let both sides know."""
    wire = wire_of(tab)
    world.cut(wire)
    world.tell_server(wire)
    world.tell_client(wire)


def wire_of(tab: Tab) -> Wire:
    """Return the connection by which a tab has joined."""
    assert tab.wire is not None
    return tab.wire


EXAMPLES: tuple[Example, ...] = (
    lose_a_save,
    come_back_after_another_tab,
    come_back_to_a_state_of_its_own,
    fail_to_begin_anew,
    lose_the_reply_to_a_join,
    land_a_save_late,
    lose_the_replies,
    fail_in_a_group,
)


def follow(pages: Browser, example: Example) -> None:
    """Go one example's way through worlds of its own, to the end, with groups and without."""
    for sends in (False, True):
        world = World(pages, sends=sends)
        try:
            world.flow()
            example(world)
            world.heal()
        finally:
            world.close()
