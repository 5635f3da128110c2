"""The settings of the application.

``CHAOS_STORAGE`` is the setting ``STORAGE`` as JSON, ``CHAOS_DATABASE`` the port of a PostgreSQL
server, ``CHAOS_SQLITE`` the path of a database in a file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

SECRET_KEY = "a secret of the application that is cut and killed all the time"
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
ROOT_URLCONF = "tests.chaos.app.urls"
STATIC_URL = "/static/"
STATICFILES_DIRS = [("chaos", Path(__file__).parents[1])]
INSTALLED_APPS = ["django.contrib.staticfiles", "channels", "recovery_app"]

DATABASES = {}
if os.environ.get("CHAOS_DATABASE"):
    DATABASES["default"] = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "127.0.0.1",
        "PORT": os.environ["CHAOS_DATABASE"],
        "NAME": "postgres",
        "USER": "recovery",
        "CONN_MAX_AGE": 60,
    }

if os.environ.get("CHAOS_SQLITE"):
    DATABASES["default"] = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["CHAOS_SQLITE"],
        "OPTIONS": {"timeout": 20, "init_command": "PRAGMA journal_mode=WAL"},
    }

RECOVERY = {"STORAGE": json.loads(os.environ["CHAOS_STORAGE"]), "TTL": 300}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"recovery_app": {"handlers": ["console"], "level": "WARNING"}},
}
