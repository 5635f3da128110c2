"""The timers of one topic, for touches and delayed saves."""

from __future__ import annotations

import asyncio
import random

from recovery_app._live.mailbox import Mailbox
from recovery_app._live.session import Session

_SPREAD = (0.8, 1.0)


class Timers:
    """Posts touches and delayed saves to the mailbox of a topic, from `start` to `stop`."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._session: Session | None = None
        self._touch_timer: asyncio.TimerHandle | None = None
        self._touch_waits = False
        self._keeping_alive: asyncio.Task[None] | None = None
        self._flush_timer: asyncio.TimerHandle | None = None

    def start(self, session: Session) -> None:
        """Touch the session's snapshot from now on."""
        self._session = session
        self._schedule_touch(session)

    def gather_save(self, seconds: float) -> None:
        """Have the session saved once, some seconds after the first change."""
        if self._flush_timer is None:
            self._schedule_flush(seconds)

    def stop(self) -> bool:
        """Stop; return whether a delayed save is still to be made."""
        self._session = None
        for timer in (self._touch_timer, self._flush_timer, self._keeping_alive):
            if timer is not None:
                timer.cancel()
        self._keeping_alive = None
        return self._flush_timer is not None

    def _schedule_flush(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._flush_timer = loop.call_later(seconds, self._post_flush, seconds)

    def _post_flush(self, seconds: float) -> None:
        if not self._mailbox.try_post(self._flush):
            self._schedule_flush(seconds)

    async def _flush(self) -> None:
        self._flush_timer = None
        if self._session is not None:
            await self._session.save()

    def _schedule_touch(self, session: Session) -> None:
        # Spread out, or connections that came back at once would touch at once for ever.
        delay = session.manager.touch_interval * random.uniform(*_SPREAD)
        self._touch_timer = asyncio.get_running_loop().call_later(delay, self._post_touch)

    def _post_touch(self) -> None:
        if self._session is None:
            return
        self._schedule_touch(self._session)
        if not self._touch_waits and self._mailbox.try_post(self._touch):
            self._touch_waits = True
        elif self._keeping_alive is None:
            # A handler takes long, or a flood came: the snapshot must not expire meanwhile.
            self._keeping_alive = asyncio.create_task(self._keep_alive(self._session))

    async def _touch(self) -> None:
        self._touch_waits = False
        if self._session is not None:
            await self._session.touch()

    async def _keep_alive(self, session: Session) -> None:
        await session.keep_alive()
        self._keeping_alive = None
