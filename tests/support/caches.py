"""The caches of the suite: each kind that Django reaches, as an alias of ``CACHES``.

An alias whose server isn't running yet has a ``LOCATION`` that nobody listens at; the fixture
that starts the server writes the address (``tests/conftest.py``). The tables of database
caches are made with the test databases, each in its own by `CacheRouter`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.databases import SERVERS

if TYPE_CHECKING:
    from django.db.models import Model

BACKENDS = "django.core.cache.backends"
NOWHERE = "127.0.0.1:1"
TABLE = "cache_on_"
DJANGO_REDIS = "django_redis"
_WAYS = {
    "pickle": {},
    "json": {
        "SERIALIZER": f"{DJANGO_REDIS}.serializers.json.JSONSerializer",
        "COMPRESSOR": f"{DJANGO_REDIS}.compressors.zlib.ZlibCompressor",
    },
    "msgpack": {
        "SERIALIZER": f"{DJANGO_REDIS}.serializers.msgpack.MSGPackSerializer",
        # An outage must be seen all the same.
        "IGNORE_EXCEPTIONS": True,
    },
}
ON_REDIS = ["redis", *(f"{DJANGO_REDIS}-{way}" for way in _WAYS)]
"""The aliases whose ``LOCATION`` is a database of the Redis server."""


def cache_settings() -> dict[str, dict[str, Any]]:
    """Return ``CACHES``."""
    in_databases = {
        f"database-{alias}": {
            "BACKEND": f"{BACKENDS}.db.DatabaseCache",
            "LOCATION": f"{TABLE}{alias}",
        }
        for alias in ("default", *SERVERS)
    }
    return {
        "default": {"BACKEND": f"{BACKENDS}.locmem.LocMemCache"},
        "locmem": {"BACKEND": f"{BACKENDS}.locmem.LocMemCache", "LOCATION": "locmem"},
        "file": {"BACKEND": f"{BACKENDS}.filebased.FileBasedCache", "LOCATION": ""},
        "memcached": {
            "BACKEND": f"{BACKENDS}.memcached.PyMemcacheCache",
            "LOCATION": NOWHERE,
        },
        "redis": {"BACKEND": f"{BACKENDS}.redis.RedisCache", "LOCATION": f"redis://{NOWHERE}"},
        **in_databases,
        **{
            f"{DJANGO_REDIS}-{way}": {
                "BACKEND": f"{DJANGO_REDIS}.cache.RedisCache",
                "LOCATION": f"redis://{NOWHERE}",
                "OPTIONS": options,
            }
            for way, options in _WAYS.items()
        },
    }


class CacheRouter:
    """Send the table of each database cache to the database that it is named after."""

    def db_for_read(self, model: type[Model], **_hints: object) -> str | None:
        """Return the alias, or nothing for a model that is no cache's."""
        table = model._meta.db_table
        return table.removeprefix(TABLE) if table.startswith(TABLE) else None

    db_for_write = db_for_read

    def allow_migrate(
        self, db: str, app_label: str, model_name: str | None = None, **hints: Any
    ) -> bool | None:
        """Have each table made in one database only."""
        return db == self.db_for_read(hints["model"]) if app_label == "django_cache" else None
