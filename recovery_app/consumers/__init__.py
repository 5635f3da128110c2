"""Own the edge to Channels: mixins that give a consumer's topics their state back.

From the WebSocket inward: `mixins` is what an application sees, `connection` sorts what a
WebSocket brings, `topic` lives one joined topic (`joining` begins it, `mailbox` keeps its
order, `groups` has its channel), `host` calls the application (`hooks` knows async from
sync, `binding` whose topic it is).
"""

from recovery_app.consumers.mixins import RecoveryConsumerMixin, SyncRecoveryConsumerMixin
from recovery_app.exceptions import JoinRefused

__all__ = ["JoinRefused", "RecoveryConsumerMixin", "SyncRecoveryConsumerMixin"]
