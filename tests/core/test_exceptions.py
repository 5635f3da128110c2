"""Tests of the errors to their tree, and: what they carry and never carry."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from recovery_app import exceptions
from recovery_app.exceptions import (
    InvalidSignature,
    JoinRefused,
    MalformedToken,
    RecoveryError,
    SnapshotCorrupt,
    SnapshotNotFound,
    StateTooLarge,
    StorageError,
    StorageUnavailable,
    TokenExpired,
    TokenSuperseded,
    UnserializableState,
    VersionMismatch,
)

HASH = "0123456789abcdef"
ERRORS: list[RecoveryError] = [
    MalformedToken("it is no token"),
    InvalidSignature(socket_hash=HASH),
    TokenExpired(age_seconds=301.4, limit_seconds=300, socket_hash=HASH),
    TokenSuperseded(socket_hash=HASH),
    TokenSuperseded(revoked=True, socket_hash=HASH),
    SnapshotNotFound(socket_hash=HASH),
    SnapshotCorrupt("it is cut short", socket_hash=HASH),
    StateTooLarge(size_bytes=2, limit_bytes=1, socket_hash=HASH),
    UnserializableState('state["a"]', "it is a set", socket_hash=HASH),
    VersionMismatch(stored=2, supported=1, socket_hash=HASH),
    VersionMismatch(stored=2, supported=1, of_format=True, socket_hash=HASH),
    StorageError("It failed.", socket_hash=HASH),
    StorageUnavailable("A storage", "load", socket_hash=HASH),
]

each_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)


def test_the_tree_is_the_one_that_is_drawn() -> None:
    """The module's docstring draws it, two spaces and a line for each level."""
    matches = (
        re.match(r"[ │├└─]*([A-Z]\w+)(?:  |$)", line)
        for line in (exceptions.__doc__ or "").splitlines()
    )
    drawn = [(match.start(1), match[1]) for match in matches if match]
    parents: dict[int, str] = {}
    for depth, name in drawn:
        kind = getattr(exceptions, name)
        above = [parents[level] for level in sorted(parents) if level < depth]
        expected = getattr(exceptions, above[-1]) if above else Exception
        assert kind.__bases__ == (expected,), name
        parents = {level: other for level, other in parents.items() if level < depth}
        parents[depth] = name
    named = {name for _, name in drawn}
    assert named == {
        name
        for name, kind in vars(exceptions).items()
        if isinstance(kind, type) and issubclass(kind, Exception)
    }


@each_error
def test_an_error_survives_pickle_and_copy(error: RecoveryError) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert again.__dict__ == error.__dict__


@each_error
def test_an_error_says_what_it_is_in_a_sentence(error: RecoveryError) -> None:
    assert str(error).endswith(".")
    assert error.socket_hash in (HASH, None)
    assert HASH not in str(error)


def test_reasons_are_few_and_short() -> None:
    reasons = {type(error).reason for error in ERRORS}
    assert reasons == {
        "malformed",
        "signature",
        "expired",
        "superseded",
        "not_found",
        "corrupt",
        "too_large",
        "unserializable",
        "version",
        "storage",
        "unavailable",
    }


def test_the_attributes_are_there() -> None:
    expired = TokenExpired(age_seconds=301.4, limit_seconds=300)
    assert (expired.age_seconds, expired.limit_seconds) == (301.4, 300)
    assert str(expired) == "The token is 301 s old, more than the limit of 300 s."
    revoked = TokenSuperseded(revoked=True)
    assert revoked.revoked
    assert "revoked" in str(revoked)
    assert "revoked" not in str(TokenSuperseded())
    unserializable = UnserializableState('state["a"]', "it is a set")
    assert (unserializable.path, unserializable.problem) == ('state["a"]', "it is a set")
    mismatch = VersionMismatch(stored=2, supported=1, of_format=True)
    assert (mismatch.stored, mismatch.supported, mismatch.of_format) == (2, 1, True)
    unavailable = StorageUnavailable("A storage", "load")
    assert (unavailable.storage, unavailable.operation) == ("A storage", "load")


def test_a_refused_join_carries_its_reason() -> None:
    assert JoinRefused().reason == "unauthorized"
    assert JoinRefused("full").reason == "full"
    assert not issubclass(JoinRefused, RecoveryError)
