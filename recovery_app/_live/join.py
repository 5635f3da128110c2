"""Own a join: who may, what comes back, and what starts afresh."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from recovery_app._core.manager import RecoveryManager
from recovery_app._live import phoenix
from recovery_app._live.numbering import RECOVERY
from recovery_app._live.session import Session
from recovery_app.exceptions import SnapshotCorrupt, SnapshotError
from recovery_app.signals import observers
from recovery_app.values import Takeover

if TYPE_CHECKING:
    from recovery_app.consumers.application import TopicApplication

logger = logging.getLogger("recovery_app")

_ADMISSION_HOOKS = (
    "authorize_join",
    "should_recover",
    "get_recovery_binding",
    "get_recovery_view",
)
_RESTORE_HOOKS = ("migrate_state", "restore_state", "after_recover", "get_recoverable_state")


class Join:
    """Carry out one ``phx_join``; whatever becomes of the recovery, the join goes on."""

    def __init__(
        self,
        host: TopicApplication,
        frame: phoenix.Frame,
        *,
        manager: RecoveryManager,
        announce: Callable[[str], Awaitable[None]],
    ) -> None:
        self._host = host
        self.topic = frame.topic
        self._token, self._params = _split_params(frame.payload)
        self._manager = manager
        self._announce = announce

    async def carry_out(self) -> tuple[Session, dict[str, Any]]:
        """Give the session, and the response that tells the client.

        Raises `JoinRefused`, and whatever ``mount`` or ``authorize_join`` raises.
        """
        # The mixin's own hooks needn't be called where they do nothing.
        if self._host.has_own(*_ADMISSION_HOOKS):
            await self._host.take_care(*_ADMISSION_HOOKS)
        if self._host.has_own("authorize_join"):
            await self._host.call("authorize_join", self.topic, self._params)
        session = await self._make_session()
        extras = await self._recover(session)
        if extras is None:
            extras = await self._mount(session)
        observers.joined(session.outcome.value)
        return session, {**extras, RECOVERY: session.greeting()}

    async def _make_session(self) -> Session:
        view = await self._host.view()
        return Session(
            self._manager,
            binding=await self._host.binding(view),
            view=view,
            topic=self.topic,
            version=self._host.consumer.recovery_version,
            announce=self._announce,
        )

    async def _recover(self, session: Session) -> Mapping[str, Any] | None:
        """Give the reply's extra keys of a recovered state; ``None`` where there is none."""
        if self._token is None:
            return None
        asks = self._host.has_own("should_recover")
        if asks and not await self._host.call("should_recover", self.topic, self._params):
            return None
        takeover = await session.claim(self._token)
        if takeover is None:
            return None
        try:
            takeover, extras = await self._restore(takeover)
            payload = await self._encode(takeover)
            phoenix.dumps(extras)
        except Exception:
            logger.exception(
                "A state couldn't be restored.",
                extra={"event": "restore_failed", "topic": self.topic},
            )
            await session.fail(SnapshotCorrupt("the application couldn't restore it"))
            self._host.start_afresh()
            return None
        await self._manager.announcer.arecovered(takeover, takeover.state)
        await session.save(payload)
        return extras

    async def _encode(self, takeover: Takeover) -> bytes:
        is_whole = takeover.state.keys() == set(self._host.consumer.recovery_fields)
        if takeover.payload is None or not is_whole or self._host.has_own(*_RESTORE_HOOKS):
            return await self._host.encode()
        # All that was stored came back, and no code of the application's had a say since.
        return takeover.payload

    async def _restore(self, takeover: Takeover) -> tuple[Takeover, Mapping[str, Any]]:
        if self._host.has_own(*_RESTORE_HOOKS):
            await self._host.take_care(*_RESTORE_HOOKS)
        if takeover.version < self._host.consumer.recovery_version:
            state = await self._host.call("migrate_state", takeover.state, takeover.version)
            takeover = replace(takeover, state=state)
        await self._host.restore(takeover.state)
        if not self._host.has_own("after_recover"):
            return takeover, {}
        return takeover, _checked("after_recover", await self._host.call("after_recover", takeover))

    async def _mount(self, session: Session) -> Mapping[str, Any]:
        await self._host.take_care("mount")
        extras = _checked("mount", await self._host.call("mount", self.topic, self._params))
        try:
            await session.start(await self._host.encode())
        except SnapshotError:
            logger.exception(
                "A fresh state can't be kept.",
                extra={"event": "mount_unsaved", "topic": self.topic},
            )
        return extras


def _split_params(payload: phoenix.Payload) -> tuple[object, dict[str, Any]]:
    """Take the token out of a join's payload, or out of the page's params in it."""
    if not isinstance(payload, dict):
        return None, {}
    params = {key: value for key, value in payload.items() if key != RECOVERY}
    token = payload.get(RECOVERY)
    inner = params.get("params")
    if isinstance(inner, dict) and RECOVERY in inner:
        params["params"] = {key: value for key, value in inner.items() if key != RECOVERY}
        token = inner[RECOVERY] if token is None else token
    return token, params


def _checked(hook: str, extras: Any) -> Mapping[str, Any]:
    if extras is None:
        return {}
    if isinstance(extras, Mapping):
        return extras
    raise TypeError(f"{hook} gave {type(extras).__name__}, not a dict or None.")
