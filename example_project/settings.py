"""Own Django's settings for the demo: nothing to set up, everything in one directory."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(os.environ.get("DEMO_DATA") or BASE_DIR / ".demo")
"""The database and the secret key: what a restart needs to find again."""


def keep_secret_key(path: Path) -> str:
    """Make a secret key at the first start, and give the same one ever after."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:
            file.write(secrets.token_urlsafe(50))
            file.flush()
            # Two processes may start at once: the link is made whole, and only once.
            with contextlib.suppress(FileExistsError):
                os.link(file.name, path)
    return path.read_text()


# Nodes that share no directory are given the same key: a token of one is good on all.
SECRET_KEY = os.environ.get("DEMO_SECRET_KEY") or keep_secret_key(DATA_DIR / "secret-key")
DEBUG = True
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", *os.environ.get("DEMO_HOSTS", "").split()]
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "example_project.urls"
ASGI_APPLICATION = "example_project.asgi.application"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "channels",
    "recovery_app",
    "example_project",
    # What watches it, where it is installed (example_project/monitoring.py).
    *filter(find_spec, ("django_prometheus", "health_check")),
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_DIR / "demo.sqlite3",
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

RECOVERY: dict[str, Any] = {
    "STORAGE": {"BACKEND": "recovery_app.storages.DatabaseStorage"},
    "TTL": timedelta(hours=1),
}

REDIS_URL = os.environ.get("REDIS_URL")
"""Where many nodes meet: with it no node keeps anything of its own but the secret key."""

if REDIS_URL:
    RECOVERY["STORAGE"] = {
        "BACKEND": "recovery_app.storages.RedisStorage",
        "OPTIONS": {"url": REDIS_URL},
    }
    # Not in a cache on Redis: Django takes a session for gone while its cache is away, and so
    # the token that is bound to it is refused. Here a session is saved once, so its key stays.
    SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    SILENCED_SYSTEM_CHECKS = ["recovery_app.W008"]
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            # Longer than the layer waits for a message: redis-py 8 gives up after 5 seconds.
            "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": 30}]},
        }
    }

STATIC_URL = "/static/"
# The npm clients, for the page /live/ and the tests. Nothing else needs them.
NODE_MODULES = Path(os.environ.get("EXAMPLE_NODE_MODULES") or BASE_DIR / "node_modules")
STATICFILES_DIRS = [
    (name, NODE_MODULES / name / "priv" / "static")
    for name in ("phoenix", "phoenix_live_view")
    if (NODE_MODULES / name).is_dir()
]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "told": {
            "()": "logging.Formatter",
            "fmt": "{asctime} {levelname} {event} {socket_hash} {topic!r}: {message}",
            "style": "{",
            "defaults": {"socket_hash": "-", "topic": "-"},
        },
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "told"}},
    "loggers": {"recovery_app": {"handlers": ["console"], "level": "INFO"}},
}
