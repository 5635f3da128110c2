"""What an error tracker records of the frames that a storage's error passes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from recovery_app import RecoveryManager
from recovery_app.clock import Clock
from tests.clock import FakeClock
from tests.core.support import OTHER_SECRET, SECRET, OwnStorage, make_manager

BINDING = b"session-key-of-somebody"
NEW_BINDING = b"session-key-of-another"
SECRET_STATE = "what-was-typed"
ENCRYPTION_KEY = b"the key that encrypts the snapshots"
ALL_KEYS = (SECRET, OTHER_SECRET, ENCRYPTION_KEY)


class RaisesIn(OwnStorage):
    """A storage that raises in a call of some kind, once so many others went well."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.raises = ""
        self.left = 0

    def save(self, key: str, data: bytes, ttl: float) -> None:
        self._fail("save")
        super().save(key, data, ttl)

    def load(self, key: str) -> bytes | None:
        self._fail("load")
        return super().load(key)

    def _fail(self, call: str) -> None:
        if call == self.raises:
            self.left -= 1
            if self.left < 0:
                raise RuntimeError("out of order")


def frames_of(error: BaseException) -> Iterator[FrameType]:
    """Yield the frames of an error, from the caller of the manager's on, and of its causes."""
    found: BaseException | None = error
    while found is not None:
        traceback = found.__traceback__
        while traceback is not None:
            yield traceback.tb_frame
            traceback = traceback.tb_next
        found = found.__cause__ or found.__context__


CALLS: dict[str, Callable[[RecoveryManager, str], Any]] = {
    "save": lambda manager, token: manager.save(
        token, {"text": SECRET_STATE}, binding=BINDING, view="a view"
    ),
    "recover": lambda manager, token: manager.recover(token, binding=BINDING),
    "take_over": lambda manager, token: manager.take_over(token, binding=BINDING),
    "touch": lambda manager, token: manager.touch(token, binding=BINDING),
    "revoke": lambda manager, token: manager.revoke(token, binding=BINDING),
    "renew": lambda manager, token: manager.renew(token, binding=BINDING, new_binding=NEW_BINDING),
    "asave": lambda manager, token: asyncio.run(
        manager.asave(token, {"text": SECRET_STATE}, binding=BINDING)
    ),
    "arecover": lambda manager, token: asyncio.run(manager.arecover(token, binding=BINDING)),
    "atake_over": lambda manager, token: asyncio.run(manager.atake_over(token, binding=BINDING)),
    "atouch": lambda manager, token: asyncio.run(manager.atouch(token, binding=BINDING)),
    "arevoke": lambda manager, token: asyncio.run(manager.arevoke(token, binding=BINDING)),
    "arenew": lambda manager, token: asyncio.run(
        manager.arenew(token, binding=BINDING, new_binding=NEW_BINDING)
    ),
}


OTHER_KEYS: dict[str, Any] = {
    "plain": {},
    "encrypted": {"encryption_keys": [ENCRYPTION_KEY]},
    # The snapshot then has another digest of the binding, which takes more calls.
    "rotated": {"secret": OTHER_SECRET, "secret_fallbacks": [SECRET]},
}


@pytest.mark.parametrize("options", OTHER_KEYS.values(), ids=OTHER_KEYS)
@pytest.mark.parametrize("left", range(4))
@pytest.mark.parametrize("failing", ["load", "save"])
@pytest.mark.parametrize("name", CALLS)
def test_no_frame_holds_a_secret(
    name: str, failing: str, left: int, options: dict[str, Any], clock: FakeClock
) -> None:
    storage = RaisesIn(clock)
    manager = make_manager(storage=storage, clock=clock)
    token = manager.create_token("a socket", binding=BINDING)
    manager.save(token, {"text": SECRET_STATE}, binding=BINDING)
    # Another process doesn't know the socket's id, and so loads before it saves.
    if name.endswith("save") or options:
        manager = make_manager(storage=storage, clock=clock, **options)
    storage.raises, storage.left = failing, left
    try:
        CALLS[name](manager, token)
    except RuntimeError as error:
        frames = list(frames_of(error))
    else:
        assert failing == "save" or left
        return
    for frame in frames:
        path = frame.f_code.co_filename
        if "recovery_app" not in path or "/tests/" in path:
            continue
        secrets = [token, BINDING.decode(), NEW_BINDING.decode(), *map(bytes.decode, ALL_KEYS)]
        # A storage is given the state's bytes, which its own frames have to hold.
        if "/storages/" not in path:
            secrets.append(SECRET_STATE)
        for variable, value in frame.f_locals.items():
            for secret in secrets:
                where = f"{variable} in {frame.f_code.co_name}"
                assert secret not in repr(value), where
