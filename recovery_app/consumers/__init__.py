"""The edge to Channels: mixins that give a consumer's topics their state back.

`mixins` is what an application uses; `application` calls its code for a page's connection
(`recovery_app._live`), by the table of `hooks` that its class has; `groups` is a topic's channel,
`identity` says who a token is for, and `db` looks after database connections.
"""

from recovery_app.consumers.mixins import RecoveryConsumerMixin, SyncRecoveryConsumerMixin
from recovery_app.exceptions import JoinRefused

__all__ = ["JoinRefused", "RecoveryConsumerMixin", "SyncRecoveryConsumerMixin"]
