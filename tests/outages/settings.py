"""The settings of the nodes: sessions in the database, which may be PostgreSQL.

That is the storage too, unless there is a Redis.
"""

import os
from typing import Any

from tests.support.sessions import *  # noqa: F403
from tests.support.sessions import DATABASES, RECOVERY, REDIS_URL

POSTGRESQL_PORT = os.environ.get("POSTGRESQL_PORT")
TIMEOUT_SECONDS = 3.0

if POSTGRESQL_PORT:
    DATABASES["default"] = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "127.0.0.1",
        "PORT": POSTGRESQL_PORT,
        "NAME": "recovery",
        "USER": "recovery",
    }
if POSTGRESQL_PORT and not REDIS_URL:
    options: dict[str, Any] = {"timeout": TIMEOUT_SECONDS}
    RECOVERY["STORAGE"] = {
        "BACKEND": "recovery_app.storages.DatabaseStorage",
        "OPTIONS": options,
    }
if "ENCRYPTION_KEY" in os.environ:
    RECOVERY["ENCRYPTION_KEYS"] = [os.environ["ENCRYPTION_KEY"]]
if "CLEANUP_INTERVAL" in os.environ:
    RECOVERY["CLEANUP_INTERVAL"] = float(os.environ["CLEANUP_INTERVAL"])
if "STORED_IN_DATABASE" in os.environ:
    RECOVERY["STORAGE"] = {"BACKEND": "recovery_app.storages.DatabaseStorage"}
