"""The storage on Redis: one server, Sentinel or a Cluster.

- `storage`: the public class; `options`: its options, checked;
- `script`: the fenced steps in Lua; `keys`: the names of keys on the server;
- `commands`: the request for each call; `requests`: requests and their pipelines;
- `errors`: the meaning of each failure;
- `topology`: which server holds which key; `routing`: redirects, failovers and seeds, as
  flows without I/O;
- `sync_client` and `async_client`: drive these flows, blocking or awaiting; `loop_clients`: one
  async client for each event loop; `pipelining` and `connections`: how it sends; `sync_pool`:
  the connections of threads; `packing`: commands as bytes;
- `messages`: the streams of durable groups; `tracking` and `watching`: notifications of changes;
- `scanning` and `listing`: pages of what is stored, as flows over SCAN.
"""

from recovery_app.storages.redis.storage import RedisStorage

__all__ = ["RedisStorage"]
