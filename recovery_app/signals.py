"""Own what the core announces: two Django signals, and observers for what counts.

`state_recovered` is sent with ``socket_id``, ``state``, ``version`` and ``applied_seq``;
`recovery_failed` with ``socket_id`` (``None`` where the token was forged) and ``error``.
A receiver that raises is logged by Django and breaks nothing. Where a snapshot isn't
found its socket id isn't known either: then the socket's hash stands for it.

An `Observer` is told of everything at once, on the same thread or event loop: it must not
wait for anything. The metrics are one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from django.dispatch import Signal

from recovery_app.exceptions import RecoveryError

state_recovered = Signal()
recovery_failed = Signal()


class Observer:
    """Hear of what happens; override what you care for."""

    def token_created(self) -> None:
        """Hear of a token issued: made, taken over or renewed."""

    def state_saved(self, size_bytes: int) -> None:
        """Hear of a stored state of so many bytes."""

    def recovered(self) -> None:
        """Hear of a state given back."""

    def failed(self, error: RecoveryError) -> None:
        """Hear of a state that couldn't be given back."""

    def joined(self, outcome: str) -> None:
        """Hear of a join and what became of its recovery, in the word that the client is told."""

    def event_repeated(self) -> None:
        """Hear of an event that came once more, and was not applied again."""

    def connection_fenced(self) -> None:
        """Hear of a connection that was taken over, and goes on with a copy of its own."""

    def storage_called(self, operation: str, seconds: float, error: Exception | None) -> None:
        """Hear of a call on the storage: how long it took, and what it raised, if anything."""

    def counted(self, snapshots: int, *, shared: bool) -> None:
        """Hear of about how many live snapshots there are: in all, or in this process alone."""


class Observers:
    """Tell each of some observers what it cares for: as an `Observer` does, by attributes.

    Who hears of what is sorted out when somebody is added, as most of it is told with every
    event of every page.
    """

    token_created: Callable[[], object]
    state_saved: Callable[[int], object]
    recovered: Callable[[], object]
    failed: Callable[[RecoveryError], object]
    joined: Callable[[str], object]
    event_repeated: Callable[[], object]
    connection_fenced: Callable[[], object]
    storage_called: Callable[[str, float, Exception | None], object]
    counted: Callable[..., object]

    def __init__(self) -> None:
        self._observers: tuple[Observer, ...] = ()
        self._started: dict[str, Observer] = {}
        self._listen()

    def add(self, observer: Observer) -> None:
        """Tell ``observer`` too, from now on; once, however often it is added."""
        if observer not in self._observers:
            self._observers = (*self._observers, observer)
            self._listen()

    def start(self, name: str, make: Callable[[], Observer]) -> None:
        """Tell the observer of this name, which is made once a process, whatever is reloaded."""
        if name not in self._started:
            self._started[name] = make()
        self.add(self._started[name])

    def remove(self, observer: Observer) -> None:
        """Tell ``observer`` no more."""
        self._observers = tuple(known for known in self._observers if known is not observer)
        self._listen()

    def _listen(self) -> None:
        for name in Observers.__annotations__:
            setattr(self, name, _teller(list(self._hearing(name))))

    def _hearing(self, name: str) -> Iterator[Callable[..., object]]:
        """Give this method of each observer that has one of its own."""
        bare = getattr(Observer, name)
        for observer in self._observers:
            method = getattr(observer, name)
            if getattr(method, "__func__", None) is not bare:
                yield method


def _teller(methods: list[Callable[..., object]]) -> Callable[..., object]:
    if len(methods) == 1:
        return methods[0]

    def tell(*facts: object, **more: object) -> None:
        for method in methods:
            method(*facts, **more)

    return tell


observers = Observers()
