"""The Django's settings for the suite. Its databases are made in ``tests/conftest.py``."""

import pymysql

from tests.support.caches import cache_settings
from tests.support.databases import server_settings

# mysqlclient has no wheels and needs a compiler; Django accepts PyMySQL in its place.
pymysql.install_as_MySQLdb()

SECRET_KEY = "a secret of the test-suite, as long as a real one has to be"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
USE_TZ = True

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "channels",
    "recovery_app",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
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
# A password of a test needs no second of hashing.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/static/"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "",
        # Nobody needs these databases after a crash of the machine.
        "OPTIONS": {"timeout": 20, "init_command": "PRAGMA synchronous = OFF"},
    },
    **server_settings(),
}
DATABASE_ROUTERS = ["tests.support.caches.CacheRouter"]

CACHES = cache_settings()
