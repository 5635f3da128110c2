"""The databases of the suite: SQLite, and private PostgreSQL and MariaDB servers.

``tests/settings.py`` has an alias for each whose programs are here. A server is started when
a test that is marked with its alias was collected (``tests/conftest.py``). A further database
is one more entry in `SERVERS`.
"""

from __future__ import annotations

import glob
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from tests.support.processes import HOST, Process, as_user, free_port

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@dataclass(frozen=True, kw_only=True)
class DatabaseServer:
    """How to find a kind of server and to make a private one in an empty directory."""

    alias: str
    title: str
    engine: str
    user: str
    programs: Callable[[], Collection[Path | None]]
    make: Callable[[Path], Process]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def is_here(self) -> bool:
        """Return whether all its programs are on this machine."""
        return all(self.programs())

    def settings(self) -> dict[str, Any]:
        """Return its entry of ``DATABASES``; the port is known when it has started."""
        return {
            "ENGINE": self.engine,
            "HOST": HOST,
            "NAME": "recovery",
            "USER": self.user,
            "OPTIONS": dict(self.options),
            # Django would wait for "default", which isn't made where no test needs it.
            "TEST": {"DEPENDENCIES": []},
        }


def program(name: str, pattern: str = "/usr/sbin") -> Path | None:
    """Return the path of a server's program: the last that matches, else from ``PATH``."""
    paths = sorted(glob.glob(f"{pattern}/{name}"))
    path = paths[-1] if paths else shutil.which(name)
    return Path(path) if path else None


def run(command: list[str | Path], *, user: str | None = None) -> None:
    """Run a program that prepares a server; raise with its output if it fails."""
    done = subprocess.run(
        command, cwd="/", capture_output=True, text=True, check=False, **as_user(user)
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


def postgresql_programs() -> list[Path | None]:
    """Return initdb, postgres and pg_isready."""
    names = ("initdb", "postgres", "pg_isready")
    return [program(name, "/usr/lib/postgresql/*/bin") for name in names]


def make_postgresql(directory: Path) -> Process:
    """Make a PostgreSQL cluster and give its server, not started."""
    initdb, postgres, pg_isready = map(str, postgresql_programs())
    # PostgreSQL refuses to run as root; its package makes this user.
    user = "postgres" if IS_ROOT else None
    if user:
        shutil.chown(directory, user, user)
    data, port = f"{directory}/data", str(free_port())
    run(
        [initdb, "-D", data, "-U", "recovery", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"],
        user=user,
    )
    ask = [pg_isready, "-q", "-h", HOST, "-p", port]
    return Process(
        "PostgreSQL",
        [postgres, "-D", data, "-h", HOST, "-p", port, "-k", "", "-F"],
        port=int(port),
        log=directory / "log",
        cwd=directory,
        user=user,
        is_ready=lambda: subprocess.run(ask, check=False).returncode == 0,
        stop_signal=signal.SIGINT,
    )


def mariadb_programs() -> list[Path | None]:
    """Return mariadb-install-db and mariadbd."""
    return [program("mariadb-install-db"), program("mariadbd")]


def make_mariadb(directory: Path) -> Process:
    """Make MariaDB's own tables and give its server, not started."""
    install, mariadbd = map(str, mariadb_programs())
    # Of a common tmpdir it would remove what another server is using.
    own = [f"--datadir={directory}/data", f"--tmpdir={directory}"]
    common = ["--no-defaults", *own, "--skip-name-resolve"]
    if IS_ROOT:
        common.append("--user=root")
    run([install, *common, "--auth-root-authentication-method=normal", "--skip-test-db"])
    port = free_port()
    return Process(
        "MariaDB",
        [
            mariadbd,
            *common,
            f"--bind-address={HOST}",
            f"--port={port}",
            f"--socket={directory}/socket",
            "--character-set-server=utf8mb4",
            "--innodb-flush-log-at-trx-commit=0",
        ],
        port=port,
        log=directory / "log",
        cwd=directory,
    )


SERVERS = {
    server.alias: server
    for server in (
        DatabaseServer(
            alias="postgresql",
            title="PostgreSQL",
            engine="django.db.backends.postgresql",
            user="recovery",
            programs=postgresql_programs,
            make=make_postgresql,
        ),
        DatabaseServer(
            alias="mariadb",
            title="MariaDB",
            engine="django.db.backends.mysql",
            user="root",
            programs=mariadb_programs,
            make=make_mariadb,
            # Else PyMySQL reads all certificates of the machine for each connection, and each
            # test has one of its own: a tenth of a second.
            options={"ssl_disabled": True},
        ),
    )
}

PARAMS = [
    pytest.param(alias, id=name, marks=pytest.mark.django_db(transaction=True, databases=[alias]))
    for alias, name in (("default", "sqlite"), *((alias, alias) for alias in SERVERS))
]
"""Parameters for a test that runs on every database; the value is the alias."""


def server_settings() -> dict[str, dict[str, Any]]:
    """Return the entries of ``DATABASES`` for the servers that are here."""
    return {alias: server.settings() for alias, server in SERVERS.items() if server.is_here}


def marked_aliases(item: pytest.Item) -> set[str]:
    """Return the database aliases that a test is marked with."""
    marker = item.get_closest_marker("django_db")
    names = marker.kwargs.get("databases") if marker else None
    return set(settings.DATABASES if names == "__all__" else names or ())


@contextmanager
def running(aliases: Collection[str], databases: dict[str, dict[str, Any]]) -> Iterator[None]:
    """Run the servers of these aliases and write their ports into Django's ``DATABASES``."""
    with ExitStack() as stack:
        for alias in SERVERS.keys() & set(aliases) & databases.keys():
            # Not below pytest's own directory, which only its user may enter.
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="recovery-"))
            server = stack.enter_context(SERVERS[alias].make(Path(directory)))
            databases[alias]["PORT"] = server.port
        yield
