"""The connection, as its topics see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recovery_app._core.manager import RecoveryManager
from recovery_app._live.interfaces import ConnectedConsumer
from recovery_app._live.limits import Backlog, RepeatBudget
from recovery_app._live.protocol import WireProtocol
from recovery_app._live.record import ConnectionRecord
from recovery_app._live.started import StartedSockets

if TYPE_CHECKING:
    from recovery_app._live.topic import Topic


@dataclass(slots=True, kw_only=True)
class ConnectionContext:
    """What a topic needs of its connection."""

    consumer: ConnectedConsumer
    protocol: WireProtocol
    manager: RecoveryManager
    send: Callable[[str], Awaitable[None]]
    forget: Callable[[Topic], None]
    backlog: Backlog
    repeats: RepeatBudget
    started: StartedSockets
    record: ConnectionRecord
