"""Own the storage on Redis: one server, Sentinel or a Cluster.

- `storage`: what the outside sees; `options`: what may be said about it;
- `script`: the fenced steps, in Lua; `wire`: calls and packets, free of I/O;
- `topology`: which server holds what; `servers` and `stations`: blocking calls, and those of
  an event loop, batched in `batching` over the connections of `lanes`;
- `listing`: pages by SCAN; `errors`: what each failure means here.
"""

from recovery_app.storages.redis.storage import RedisStorage

__all__ = ["RedisStorage"]
