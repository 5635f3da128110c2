"""What the tests run against: real servers, a real browser, the real npm clients.

- `needs`: what to do about a server that isn't here (left out on a laptop, an error in CI);
- `processes`: a server process on a free loopback port, its output in a file;
- `databases`: PostgreSQL and MariaDB as aliases of Django's ``DATABASES``;
- `asgi`: the example (or any application) under uvicorn or daphne;
- `communicators`: those of Channels, with patience;
- `browser`: Chromium; `node`: scripts that use the npm clients.

``tests/conftest.py`` makes fixtures of them. One more kind of server, say Redis, is a
function that finds its program, a `processes.Process` that starts it in a directory
of its own, and a session fixture that calls `needs.require` first.
"""
