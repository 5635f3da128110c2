"""Own the edge to Channels: mixins that give a consumer's topics their state back.

`connection` sorts what a WebSocket brings, `topic` lives one joined topic, `mailbox` keeps
its order, `hooks` calls the application, `binding` tells whose topic it is, `groups` cleans
up after it. `mixins` has what an application sees.
"""

from recovery_app.consumers.mixins import RecoveryConsumerMixin, SyncRecoveryConsumerMixin
from recovery_app.exceptions import JoinRefused

__all__ = ["JoinRefused", "RecoveryConsumerMixin", "SyncRecoveryConsumerMixin"]
