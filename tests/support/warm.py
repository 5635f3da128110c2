"""Start Python programs by a fork of a process that has imported what they import.

The imports are nine tenths of what a server costs the processor until it answers. The warm process
has no settings, threads or event loop, and each fork of it is a session with the environment and
log that it is given; nothing but the imports is shared. Where a program couldn't tell (`suits`), it
is started so; else, and elsewhere than on Linux, by an ``exec`` as ever.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from tempfile import TemporaryFile
from types import ModuleType
from typing import IO, cast

# None of these needs settings. One that isn't there is left to the program to miss.
MODULES = (
    *("uvicorn.main", "uvicorn.lifespan.on", "uvicorn.loops.uvloop"),
    *("uvicorn.protocols.http.httptools_impl", "uvicorn.protocols.websockets.websockets_impl"),
    # Not Daphne, which makes an event loop as soon as it is imported.
    *("twisted.internet.endpoints", "twisted.protocols.policies", "twisted.web.http"),
    *("autobahn.websocket.protocol", "dns.asyncresolver", "prometheus_client"),
    *("django.core.asgi", "django.core.management.commands.migrate", "django.test.signals"),
    *("django.db.backends.sqlite3.base", "django.contrib.admin.options"),
    *("django.contrib.staticfiles.handlers", "django.contrib.sessions.backends.db"),
    *("django.contrib.messages.storage.fallback", "django.template.loader_tags"),
    *("channels.auth", "channels.generic.websocket", "channels.security.websocket"),
    *("redis.asyncio.cluster", "redis.sentinel", "opentelemetry.trace"),
    *("recovery_app.consumers", "recovery_app.drain", "recovery_app.middleware"),
    *("recovery_app.metrics", "recovery_app.checks", "recovery_app.tracing", "recovery_app.health"),
)
# What the interpreter or one of the modules reads but once.
READ_EARLY = ("PYTHON", "PROMETHEUS", "prometheus", "OTEL", "LD_", "MALLOC")
STRICT = "WARM_STRICT"
REQUEST_BYTES = 2**18
END_SECONDS = 60
RUN_SECONDS = 300


def suits(env: Mapping[str, str]) -> bool:
    """Return whether a program with this environment may be started by a fork."""
    names = {name for name in {*env, *os.environ} if name.startswith(READ_EARLY)}
    return sys.platform == "linux" and all(env.get(n) == os.environ.get(n) for n in names)


class Forked:
    """A program that runs, as `subprocess.Popen` would give it."""

    def __init__(self, pid: int, args: Sequence[str], ended: int) -> None:
        self.pid = pid
        self.args = args
        self.returncode: int | None = None
        self._ended = ended

    def poll(self) -> int | None:
        """Return the exit status, if it has ended."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit status."""
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(os.read(self._ended, 16))
            os.close(self._ended)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def start(module: str, *arguments: str, env: Mapping[str, str], output: IO[bytes]) -> Forked:
    """Do what ``python -m module`` does, at the top of the tree."""
    with open(os.devnull, "rb") as nothing:
        fds = [nothing.fileno(), output.fileno(), output.fileno()]
        return _warm_process().start([module, *arguments], env, fds)


def run(
    *command: str, env: Mapping[str, str], strict: bool = False, timeout: float = RUN_SECONDS
) -> subprocess.CompletedProcess[str]:
    """Do what ``python`` does at the top of the tree with ``-m module …`` or ``-c code …``.

    ``strict`` makes warnings errors.
    """
    if not suits(env):
        return run_afresh(*command, env=env, strict=strict, timeout=timeout)
    arguments = list(command[1:] if command[0] == "-m" else command)
    env = {**env, STRICT: "1"} if strict else env
    with open(os.devnull) as nothing, TemporaryFile("w+") as out, TemporaryFile("w+") as errors:
        fds = [nothing.fileno(), out.fileno(), errors.fileno()]
        forked = _warm_process().start(arguments, env, fds)
        try:
            status = forked.wait(timeout)
        finally:
            forked.send_signal(signal.SIGKILL)
        for file in (out, errors):
            file.seek(0)
        return subprocess.CompletedProcess(command, status, out.read(), errors.read())


def run_afresh(
    *command: str, env: Mapping[str, str], strict: bool = False, timeout: float = RUN_SECONDS
) -> subprocess.CompletedProcess[str]:
    """Do the same without a fork, so that nothing has been imported yet."""
    python = [sys.executable, *(("-W", "error") if strict else ()), *command]
    return subprocess.run(
        python, env=env, capture_output=True, text=True, timeout=timeout, check=False
    )


class Piped(Forked):
    """A program whose input, output and errors are pipes of text."""

    @classmethod
    def start(cls, module: str, *arguments: str, env: Mapping[str, str]) -> Piped:
        """Do what ``python -W error -m module`` does, at the top of the tree."""
        if sys.platform != "linux":
            command = [sys.executable, "-W", "error", "-m", module, *arguments]
            pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
            return cast("Piped", subprocess.Popen(command, env=env, text=True, **pipes))
        (their_in, stdin), (stdout, their_out), (stderr, their_err) = (os.pipe() for _ in range(3))
        theirs = [their_in, their_out, their_err]
        env = {**env, STRICT: "1"}
        forked = _warm_process().start([module, *arguments], env, theirs)
        for fd in theirs:
            os.close(fd)
        self = cls(forked.pid, forked.args, forked._ended)
        self.stdin = os.fdopen(stdin, "w")
        self.stdout, self.stderr = os.fdopen(stdout), os.fdopen(stderr)
        return self

    stdin: IO[str]
    stdout: IO[str]
    stderr: IO[str]

    def __enter__(self) -> Piped:
        return self

    def __exit__(self, *_: object) -> None:
        self.send_signal(signal.SIGKILL)
        self.wait()
        with suppress(BrokenPipeError):
            self.stdin.close()
        self.stdout.close()
        self.stderr.close()

    def communicate(self) -> tuple[str, str]:
        """Return the rest of the output and the errors, once it has ended."""
        self.stdin.close()
        # Its errors fit into the pipe.
        return self.stdout.read(), self.stderr.read()


class _WarmProcess:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wire, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "tests.support.warm", str(other.fileno())],
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
            )

    def start(self, args: Sequence[str], env: Mapping[str, str], fds: Sequence[int]) -> Forked:
        ended, end = os.pipe()
        request = json.dumps({"args": args, "env": dict(env)}).encode()
        with self._lock:
            socket.send_fds(self._wire, [request], [*fds, end])
            os.close(end)
            answer = self._wire.recv(16)
        assert answer, "the warm process has ended"
        return Forked(int(answer), args, ended)

    def close(self) -> None:
        self._wire.close()
        self._popen.wait(END_SECONDS)


@cache
def _warm_process() -> _WarmProcess:
    from tests.support.processes import TOP

    assert os.path.samefile(TOP, os.getcwd()), "the tests are run at the top of the tree"
    made = _WarmProcess()
    atexit.register(made.close)
    return made


# The warm process


def main() -> None:
    """Fork for each request, and become what it asks for."""
    wire = socket.socket(fileno=int(sys.argv[1]))
    _import_all()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ends: dict[int, int] = {}
    while True:
        if woken in select.select([wire.fileno(), woken], [], [])[0]:
            os.read(woken, 4096)
            _tell_of_ends(ends)
            continue
        request, fds, _flags, _address = socket.recv_fds(wire, REQUEST_BYTES, 4)
        if not request:
            # The tests have ended, or were killed, and leave nothing behind.
            _end(ends)
            return
        pid = os.fork()
        if not pid:
            wire.close()
            break
        *streams, ends[pid] = fds
        for fd in streams:
            os.close(fd)
        wire.send(str(pid).encode())
    _become(fds[:3], **json.loads(request))


def _import_all() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in MODULES:
            with suppress(ImportError):
                importlib.import_module(name)
    assert "twisted.internet.reactor" not in sys.modules
    gc.collect()
    gc.freeze()


def _tell_of_ends(ends: dict[int, int]) -> None:
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            end = ends.pop(found[0])
            with suppress(BrokenPipeError):
                os.write(end, str(os.waitstatus_to_exitcode(found[1])).encode())
            os.close(end)


def _end(pids: Iterable[int]) -> None:
    for pid in pids:
        # One that was forked a moment ago has no group of its own yet.
        for send in (os.killpg, os.kill):
            with suppress(ProcessLookupError):
                send(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _become(streams: list[int], args: list[str], env: dict[str, str]) -> None:
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, 4096)
    if env.pop(STRICT, None):
        warnings.simplefilter("error")
    os.environ.clear()
    os.environ.update(env)
    if args[0] == "-c":
        code, sys.argv = args[1], ["-c", *args[2:]]
        sys.modules["__main__"] = main = ModuleType("__main__")
        exec(compile(code, "<string>", "exec"), vars(main))
        return
    sys.argv = args
    runpy.run_module(args[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
