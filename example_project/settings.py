"""Django settings of the demo, which needs no setup and keeps its data in one directory."""

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
"""The directory of the database and the secret key."""


def load_secret_key(path: Path) -> str:
    """Return the secret key in a file; create it at the first start."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:
            file.write(secrets.token_urlsafe(50))
            file.flush()
            # Two processes may start at once. Creating a link is atomic.
            with contextlib.suppress(FileExistsError):
                os.link(file.name, path)
    return path.read_text()


# Nodes on several machines need the same key, so that they accept each other's tokens.
SECRET_KEY = os.environ.get("DEMO_SECRET_KEY") or load_secret_key(DATA_DIR / "secret-key")
# On for "make demo", and off in the container.
DEBUG = os.environ.get("DEMO_DEBUG", "1") == "1"
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
    # Optional; see monitoring.py.
    *filter(find_spec, ("django_prometheus", "health_check")),
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    # Sets the cookie of visitors, to which their tokens are bound.
    "recovery_app.middleware.RecoveryMiddleware",
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

# Tells who is writing in the chat. Nothing that has to last goes over it.
CHANNEL_LAYERS: dict[str, Any] = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

REDIS_URL = os.environ.get("REDIS_URL")
"""A Redis shared by several nodes, which then store only the secret key themselves."""

if REDIS_URL:
    RECOVERY["STORAGE"] = {
        "BACKEND": "recovery_app.storages.RedisStorage",
        "OPTIONS": {"url": REDIS_URL},
    }
    # Each node has a database of its own, so a login in the admin has to travel in a cookie.
    SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            # Longer than the layer blocks for a message. The default of redis-py 8 is 5 seconds.
            "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": 30}]},
        }
    }

STATIC_URL = "/static/"
# The npm clients, for the page /live/ and the tests.
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
        "recovery": {
            "()": "logging.Formatter",
            "fmt": "{asctime} {levelname} {event} {socket_hash} {topic!r}: {message}",
            "style": "{",
            "defaults": {"socket_hash": "-", "topic": "-"},
        },
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "recovery"},
        "errors": {"class": "logging.StreamHandler"},
    },
    "loggers": {
        "recovery_app": {"handlers": ["console"], "level": "INFO"},
        # With DEBUG off, Django would only mail them.
        "django.request": {"handlers": ["errors"], "level": "ERROR", "propagate": False},
    },
}
