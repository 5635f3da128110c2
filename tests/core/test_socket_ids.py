"""Hold managers to socket ids: tokens carry a hash, and the id is learned where it can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from recovery_app._concurrency import LRUCache
from recovery_app._core.tokens import hash_socket_id
from recovery_app.storages import MemoryStorage
from tests.core.support import make_manager

SOCKET = "the socket"
KEY = hash_socket_id(SOCKET).hex()


@pytest.fixture
def nodes(calls: Callable[[Any], Any]) -> list[Any]:
    """Return two managers on one storage, as two processes have them."""
    storage = MemoryStorage()
    return [calls(make_manager(storage=storage)) for _ in range(2)]


def test_another_node_learns_the_id_from_what_is_stored(nodes: list[Any]) -> None:
    here, there = nodes
    token = here.create_token(SOCKET)
    here.save(token, {"count": 1})
    there.save(token, {"count": 2})
    assert there.take_over(token).socket_id == SOCKET


@pytest.mark.parametrize("learn", ["recover", "take_over"])
def test_a_node_remembers_the_ids_that_it_was_given(nodes: list[Any], learn: str) -> None:
    here, there = nodes
    token = here.create_token(SOCKET)
    here.save(token, {"count": 1})
    getattr(there, learn)(token)
    here.storage.delete(KEY)
    newer = here.create_token(SOCKET)
    there.save(newer, {"count": 2})
    assert there.take_over(newer).socket_id == SOCKET


def test_the_hash_stands_in_until_the_id_is_known(nodes: list[Any]) -> None:
    here, there = nodes
    token = here.create_token(SOCKET)
    there.save(token, {"count": 1})
    assert there.recover(token) == {"count": 1}
    (info,) = there.snapshots().items
    assert info.socket_id == KEY
    here.save(token, {"count": 2})
    there.save(token, {"count": 3})
    (info,) = there.snapshots().items
    assert info.socket_id == SOCKET


def test_what_cannot_be_read_teaches_no_id(nodes: list[Any]) -> None:
    here, there = nodes
    first = here.create_token(SOCKET)
    here.revoke(first)
    second = here.create_token(SOCKET)
    there.save(second, {"count": 1})
    assert there.snapshots().items[0].socket_id == KEY


def test_the_ids_used_last_are_remembered() -> None:
    ids: LRUCache[str, str] = LRUCache(2)
    for name in ("a", "b", "c", "d"):
        ids.put(name.upper(), name)
        assert ids.get("A") == "a"
    assert [ids.get(key) for key in "BCD"] == [None, "c", "d"]
