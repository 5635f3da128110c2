"""Settings with sessions in the database, whatever the storage is."""

from tests.support.layerless import *  # noqa: F403

SESSION_ENGINE = "django.contrib.sessions.backends.db"
