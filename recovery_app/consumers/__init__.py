"""The edge to Channels: mixins that recover the state of a consumer's topics.

`mixins` is the public part; `application` calls the consumer's code for a page's connection
(`recovery_app._live`), through the `hooks` table of its class; `groups` is a topic's channel,
`identity` computes who can use a token, and `db` closes old database connections.
"""

from recovery_app.consumers.mixins import RecoveryConsumerMixin, SyncRecoveryConsumerMixin
from recovery_app.exceptions import JoinRefused

__all__ = ["JoinRefused", "RecoveryConsumerMixin", "SyncRecoveryConsumerMixin"]
