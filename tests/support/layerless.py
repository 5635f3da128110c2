"""The example's settings without a channel layer, which shares Redis with the storage.

Channels ends a connection whose layer fails, so an outage of Redis would be one of both.
"""

from example_project.settings import *  # noqa: F403

CHANNEL_LAYERS = {}
