"""Further tests of the shop in ``docs/testing.md``; ``tests/test_testing.py`` runs them there."""

import copy
import time
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.test import override_settings
from shop.consumers import CartConsumer  # type: ignore[import-not-found]

from recovery_app import get_manager
from recovery_app.exceptions import JoinRefused, StorageUnavailable
from recovery_app.models import StoredSnapshot
from recovery_app.storages import DatabaseStorage, MemoryStorage
from recovery_app.testing import ConnectionClosed, RecoveryCommunicator, temporary_manager

seen: list[Any] = []


class Strict(CartConsumer):  # type: ignore[misc]
    recovery_topics = ("cart", "list:*")

    async def connect(self):
        if self.scope["path"] == "/closed/":
            await self.close(4403)
        else:
            await self.accept()

    async def authorize_join(self, topic, params):
        if params.get("key") == "wrong":
            raise JoinRefused("wrong key")

    async def handle_event(self, event, payload):
        if event == "leave":
            await self.close(4000)
            return None
        if event == "fail":
            raise ValueError
        return await super().handle_event(event, payload)


async def test_channels_own_communicator_reaches_the_manager_too(recovery_manager):
    page = WebsocketCommunicator(CartConsumer.as_asgi(), "/ws/")
    await page.connect()
    await page.send_json_to(["1", "1", "cart", "phx_join", {}])
    assert (await page.receive_json_from())[4]["status"] == "ok"
    await page.disconnect()
    assert recovery_manager.count() == 1


def test_the_process_has_the_manager(recovery_manager, recovery_storage, recovery_clock):
    assert get_manager() is recovery_manager
    assert recovery_manager.storage is recovery_storage
    assert recovery_manager.clock is recovery_clock
    with override_settings(SECRET_KEY="another secret of the shop, as long as it has to be"):
        assert get_manager() is recovery_manager


@pytest.mark.parametrize("number", [1, 2])
def test_no_snapshot_of_a_test_is_found_by_the_next(number):
    manager = get_manager()
    assert isinstance(manager.storage, MemoryStorage)
    assert manager.count() == 0
    manager.save(manager.create_token("socket"), {})
    seen.append(manager)
    assert len(set(map(id, seen))) == number


def test_each_call_of_a_failing_storage_fails(recovery_manager, recovery_storage):
    token = recovery_manager.create_token("socket")
    recovery_manager.save(token, {"n": 1})
    for call in (
        lambda: recovery_manager.save(token, {"n": 2}),
        lambda: recovery_manager.recover(token),
        lambda: recovery_manager.touch(token),
        lambda: recovery_manager.take_over(token),
        lambda: recovery_manager.revoke(token),
        recovery_manager.cleanup_expired,
        recovery_manager.count,
    ):
        with recovery_storage.failing(), pytest.raises(StorageUnavailable):
            call()
    assert recovery_manager.recover(token) == {"n": 1}


async def test_several_topics_and_refusals(recovery_manager):
    async with RecoveryCommunicator(Strict) as page:
        await page.join("list:1")
        refused = await page.join("cart", {"key": "wrong"})
        assert (refused.status, refused.outcome) == ("error", None)
        assert refused.response == {"reason": "wrong key"}
        await page.join("cart", {"key": "right"})
        await page.push("add", {"item": "tea"})
        await page.push("add", {"item": "milk"}, topic="list:1")
        assert (await page.push("fail")).status == "error"
        await page.crash()
        assert (await page.come_back()).response == {"items": ["tea"]}
        assert page.token("list:1") != page.token("cart")
        reply = await page.push("add", {"item": "bread"}, topic="list:1")
        assert reply.response == {"items": ["milk", "bread"]}
        assert [(await page.next_push()).topic for _ in range(3)] == ["cart", "list:1", "list:1"]


async def test_a_token_that_is_pushed_is_kept(recovery_manager):
    async with RecoveryCommunicator(CartConsumer) as page:
        await page.join("cart")
        await page.push("add", {"item": "tea"})
        other = RecoveryCommunicator(CartConsumer)
        other._topics = copy.deepcopy(page._topics)  # as a duplicated tab has them
        await other.come_back()
        before = page.token()
        await page.push("add", {"item": "milk"})
        await page.drop()
        assert page.token() != before
        assert (await page.come_back()).response == {"items": ["tea", "milk"]}
        await other.close()


async def test_a_connection_that_is_closed_says_so(recovery_manager):
    with pytest.raises(ConnectionClosed) as refused:
        await RecoveryCommunicator(Strict, "/closed/").connect()
    assert refused.value.code == 4403
    async with RecoveryCommunicator(Strict) as page:
        await page.join("cart")
        with pytest.raises(ConnectionClosed) as closed:
            await page.push("leave")
    assert closed.value.code == 4000


@pytest.mark.django_db(transaction=True)
async def test_a_user_in_a_real_database():
    user = await User.objects.acreate(username="ann")
    with temporary_manager(storage=DatabaseStorage(), clock=time.time):
        async with RecoveryCommunicator(CartConsumer, scope={"user": user}) as page:
            await page.join("cart")
            await page.push("add", {"item": "tea"})
            await page.drop()
            joined = await page.come_back()
    assert joined.outcome == "recovered"
    assert await StoredSnapshot.objects.acount() == 1


@pytest.mark.django_db(transaction=True)
async def test_a_user_is_loaded_from_the_database(recovery_manager):
    user = await User.objects.acreate(username="ann")
    async with RecoveryCommunicator(CartConsumer, scope={"user": user}) as page:
        await page.join("cart")
        await page.drop()
        assert (await page.come_back()).outcome == "recovered"
        await user.adelete()
        await page.drop()
        assert (await page.come_back()).outcome == "rejected"
