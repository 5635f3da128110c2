"""The pages on durable groups: list, search, messages, deletion, on each kind of storage."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from recovery_app import RecoveryManager, groups
from recovery_app._live import group_lag
from recovery_app.admin import group_pages
from recovery_app.admin.groups import GroupAdmin
from recovery_app.middleware import override_manager
from recovery_app.storages import MigratingStorage, RedisStorage, Storage, memory_messages
from recovery_app.storages.redis import scanning
from tests.admin.conftest import MakeClient
from tests.admin.support import CONFIRMED, link_to, save, text_of
from tests.admin.test_storages import make
from tests.clock import FakeClock
from tests.consumers.test_durable_groups import Room, page_of
from tests.core.support import OwnStorage, make_manager

LIST = "/admin/recovery_app/storedgroup/"
ROOM = f"{LIST}room_3A1/"
"""The address of the group "room:1"."""
VIEW, DELETE, MESSAGES = "view_storedgroup", "delete_storedgroup", "view_storedgroup_messages"
SECRET = {"type": "chat.message", "text": "Hello", "password": "hunter2"}


@pytest.fixture
def viewer(client_of: MakeClient) -> Client:
    """Return the client of somebody who may view and delete groups."""
    return client_of(VIEW, DELETE)


@pytest.fixture(params=["memory", "database", "redis", "cluster"])
def current(request: pytest.FixtureRequest, db: None) -> Iterator[RecoveryManager]:
    """Return the current manager, with each kind of storage that has groups."""
    made = make_manager(storage=make(request.param, request))
    with made, override_manager(made):
        yield made


def rows_of(response: Any) -> dict[str, list[str]]:
    """Return the cells of each row of the list, by the names of the groups."""
    rows = re.findall(r"<tr>\s*<th scope=\"row\".*?</tr>", response.content.decode(), re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    texts = [[unescape(re.sub("<[^>]+>", "", cell)).strip() for cell in row] for row in cells]
    return {name: rest for name, *rest in texts}


def publish(group: str, *numbers: int) -> None:
    for number in numbers:
        groups.publish(group, {"type": "chat.message", "number": number})


def test_groups_are_listed_page_by_page(
    current: RecoveryManager, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GroupAdmin, "list_per_page", 3)
    save(current, "a page in no group")
    for number in range(7):
        publish(f"room:{number}", *range(number + 1))
    publish("team *", 1)
    found: dict[str, list[str]] = {}
    address = LIST
    while True:
        response: Any = viewer.get(address)
        page = rows_of(response)
        assert len(page) <= 3
        assert not page.keys() & found.keys()
        found |= page
        if "Next page" not in text_of(response):
            break
        address = LIST + link_to(response, "Next page")
    lengths = {f"room:{number}": str(number + 1) for number in range(7)} | {"team *": "1"}
    assert {name: cells[0] for name, cells in found.items()} == lengths
    assert all(
        re.fullmatch(r"\d+ seconds? ago", cell) for cells in found.values() for cell in cells[1:3]
    )
    assert rows_of(viewer.get(LIST, {"q": "team"})).keys() == {"team *"}
    assert rows_of(viewer.get(LIST, {"q": "eam"})) == {}
    assert "No groups match." in text_of(viewer.get(LIST, {"q": "*"}))
    assert "isn’t valid" in text_of(viewer.get(LIST, {"cursor": "x@y"})) or not isinstance(
        current.storage, RedisStorage
    )


def test_a_group_shows_its_last_messages(
    current: RecoveryManager, viewer: Client, client_of: MakeClient
) -> None:
    publish("room:1", *range(30))
    groups.publish("room:1", SECRET)
    text = text_of(viewer.get(f"{ROOM}change/"))
    assert "Messages 31 " in text
    assert text.count("number int") == GroupAdmin.shown_messages - 1
    assert text.index("Hello") < text.index("number int 29") < text.index("number int 28")
    assert "hunter2" not in viewer.get(f"{ROOM}change/").content.decode()
    assert "1 value is hidden because of its name" in text
    seen = text_of(client_of(VIEW, MESSAGES).get(f"{ROOM}change/"))
    assert "password str hunter2" in seen
    assert "You have permission to see it" in seen


def test_the_messages_are_deleted_once_that_is_confirmed(
    current: RecoveryManager, viewer: Client
) -> None:
    publish("room:1", 1, 2)
    position = current.storage.newest_position("room:1")
    asked = viewer.get(f"{ROOM}delete/")
    assert "Delete all messages of the group “room:1” (2)?" in text_of(asked)
    assert viewer.post(f"{ROOM}delete/").status_code == 200
    assert LogEntry.objects.count() == 0
    done = viewer.post(f"{ROOM}delete/", CONFIRMED, follow=True)
    assert "The messages of the group room:1 are deleted." in done.content.decode()
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.change_message) == ("room:1", "Deleted all messages.")
    assert "Deleted all messages." in viewer.get(f"{ROOM}history/").content.decode()
    # A page that is in it finds out, and so does one that the log hasn't met before.
    assert not current.storage.read_messages("room:1", position, 10).is_complete
    publish("room:1", 3)
    assert not current.storage.read_messages("room:1", position, 10).is_complete
    again = viewer.get(f"{LIST}room_3A2/change/", follow=True)
    assert "There is no group room:2" in again.content.decode()
    assert "nothing to delete" in text_of(viewer.get(f"{LIST}room_3A2/delete/"))
    viewer.post(f"{LIST}room_3A2/delete/", CONFIRMED)
    assert LogEntry.objects.count() == 1


def test_how_far_a_place_is_behind(current: RecoveryManager) -> None:
    storage = current.storage
    start = storage.newest_position("room:1")
    publish("room:1", 1, 2, 3)
    (second,) = (place for place, data in storage.read_messages("room:1", start, 2).items[1:])
    counts = [storage.count_behind("room:1", each) for each in (start, second, "5", "rubbish")]
    assert counts == [3, 1, None, None]
    assert storage.count_behind("room:1", storage.newest_position("room:1")) == 0
    assert storage.count_behind("room:2", start) is None


def test_a_group_without_messages_has_no_times(current: RecoveryManager, viewer: Client) -> None:
    current.storage.newest_position("room:1")
    assert rows_of(viewer.get(LIST))["room:1"][:3] == ["0", "–", "–"]
    assert "There are no messages." in text_of(viewer.get(f"{ROOM}change/"))


def test_the_slowest_page_is_found_by_the_snapshots(
    manager: RecoveryManager, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def visit(*numbers: int) -> None:
        """Have a page join, and leave after these messages."""
        async with page_of(manager, Room) as page:
            await page.join(group="room:1")
            for number in numbers:
                await groups.apublish("room:1", {"type": "chat.message", "number": number})
            await page.hear(*numbers)
            await page.ask()

    asyncio.run(visit(1, 2))
    asyncio.run(visit(3, 4, 5))
    save(manager, "in no group")
    assert rows_of(viewer.get(LIST))["room:1"][3:] == ["2", "3"]
    text = text_of(viewer.get(f"{ROOM}change/"))
    assert "Pages 2 Slowest is behind by 3" in text
    assert "by their snapshots, of which there are 3." in text
    monkeypatch.setattr(group_pages, "MAX_BEHIND", 3)
    assert rows_of(viewer.get(LIST))["room:1"][4] == "3 or more"
    monkeypatch.setattr(memory_messages, "MAX_MESSAGES", 2)
    publish("room:1", 6)
    assert rows_of(viewer.get(LIST))["room:1"][4] == "more than the log has"
    monkeypatch.setattr(group_lag, "MAX_SNAPSHOTS", 2)
    monkeypatch.setattr(group_lag, "PAGE", 2)
    assert "of which 2 were looked at" in text_of(viewer.get(LIST))


def test_encrypted_messages_are_shown_to_whoever_has_the_key(
    clock: FakeClock, viewer: Client
) -> None:
    manager = make_manager(clock=clock, encryption_keys=["k" * 32])
    with manager, override_manager(manager):
        groups.publish("room:1", SECRET)
        assert "text str Hello" in text_of(viewer.get(f"{ROOM}change/"))
    other = make_manager(clock=clock, storage=manager.storage)
    with other, override_manager(other):
        assert "This message can’t be read" in text_of(viewer.get(f"{ROOM}change/"))


REQUESTS = [
    ("get", LIST, {}, VIEW),
    ("get", f"{ROOM}change/", {}, VIEW),
    ("get", f"{ROOM}history/", {}, VIEW),
    ("get", f"{ROOM}delete/", {}, DELETE),
    ("post", f"{ROOM}delete/", CONFIRMED, DELETE),
]


@pytest.mark.parametrize(("method", "address", "form", "needed"), REQUESTS)
def test_each_view_needs_its_permission(
    manager: RecoveryManager,
    client_of: MakeClient,
    method: str,
    address: str,
    form: dict[str, str],
    needed: str,
) -> None:
    publish("room:1", 1)
    others = {VIEW, DELETE, MESSAGES} - {needed}
    for client in (client_of(*others), client_of(needed, is_staff=False), Client()):
        assert getattr(client, method)(address, form).status_code in (302, 403)
        assert manager.storage.describe_group("room:1") is not None
    response = getattr(client_of(needed), method)(address, form)
    assert response.status_code == (302 if method == "post" else 200)
    is_there = manager.storage.describe_group("room:1") is not None
    assert is_there is (method == "get")


class Own(OwnStorage):
    """A storage of an application's own."""


@pytest.mark.parametrize("address", [LIST, f"{ROOM}change/", f"{ROOM}delete/"])
def test_a_storage_without_groups_says_so(viewer: Client, address: str) -> None:
    manager = make_manager(storage=Own(lambda: 0.0))
    with manager, override_manager(manager):
        text = text_of(viewer.get(address)).replace("'", "’")
        assert "Own can’t list durable groups" in text


def test_a_site_that_moves_lists_those_of_its_new_storage(
    current: RecoveryManager, viewer: Client
) -> None:
    storage: Storage = MigratingStorage(current.storage, Own(lambda: 0.0))
    manager = make_manager(storage=storage)
    with manager, override_manager(manager):
        publish("room:1", 1, 2)
        assert rows_of(viewer.get(LIST))["room:1"][0] == "2"
        assert "number int 2" in text_of(viewer.get(f"{ROOM}change/"))
        viewer.post(f"{ROOM}delete/", CONFIRMED)
        assert manager.storage.describe_group("room:1") is None


def test_a_page_ends_after_so_many_keys_of_others(
    request: pytest.FixtureRequest, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "STEP_KEYS", 10)
    manager = make_manager(storage=make("redis", request))
    with manager, override_manager(manager):
        for number in range(1500):
            manager.storage.save(f"other {number}", b"", 60)
        publish("room:1", 1)
        found, address, pages = dict[str, list[str]](), LIST, 0
        while "Next page" in text_of(response := viewer.get(address)):
            found |= rows_of(response)
            address, pages = LIST + link_to(response, "Next page"), pages + 1
        assert (found | rows_of(response)).keys() == {"room:1"}
        assert pages
