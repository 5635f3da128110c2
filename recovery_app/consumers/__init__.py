"""Own the edge to Channels: mixins that give a consumer's topics their state back.

From the WebSocket inward: `mixins` is what an application sees, `connection` sorts what a
WebSocket brings, `topic` lives one joined topic (`joining` begins it, `mailbox` keeps its
order, `groups` has its channel), `host` calls the application (`hooks` knows async from
sync, `care` looks after database connections, `binding` knows whose topic it is).

A frame is read in the one task that waits for the WebSocket, and never passes through
Channels' dispatcher, which starts and cancels tasks for each message; `mixins` says how.
"""

from recovery_app.consumers.mixins import RecoveryConsumerMixin, SyncRecoveryConsumerMixin
from recovery_app.exceptions import JoinRefused

__all__ = ["JoinRefused", "RecoveryConsumerMixin", "SyncRecoveryConsumerMixin"]
