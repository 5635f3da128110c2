"""The private memcached servers."""

from __future__ import annotations

from pathlib import Path

from tests.support.databases import IS_ROOT, program
from tests.support.processes import HOST, Process, free_port

ITEM_SIZE = "2m"


def find_memcached() -> Path | None:
    """Return the path of the server's program."""
    return program("memcached", "/usr/bin")


def make_memcached(directory: Path) -> Process:
    """Return a server on a free port, not started. It forgets all when it stops."""
    port = free_port()
    command: list[str | Path] = [
        find_memcached() or "memcached",
        "-l",
        HOST,
        "-p",
        str(port),
        "-m",
        "64",
        # Django's snapshots may have a megabyte, as many bytes as an item has by default.
        "-I",
        ITEM_SIZE,
    ]
    # memcached refuses to run as root unless it is told so.
    if IS_ROOT:
        command += ["-u", "root"]
    return Process("memcached", command, port=port, log=directory / "memcached.log")
