"""Tests of the stored value: its bytes: readable for ever, and never anything but clean errors."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery_app.exceptions import SnapshotCorrupt, VersionMismatch
from recovery_app.snapshots import (
    MAX_SEQ,
    MAX_US,
    MAX_VERSION,
    Header,
    Snapshot,
    digest_binding,
    is_marker,
    revoked_marker,
    socket_id_in,
)

# What version 1 wrote. These bytes never change: later versions must read them as well.
GOLDEN = bytes.fromhex(
    "5253 01 00 00000003 00065bfeda27c240 00065bfeda27c23f 0000000000000008"
    "00065bfeda188000 00065bfeda27c241 2744ccd10c7533bd736ad890f9dd5cab"
    "000a 0006 0006 0004 00000007"
    "74686520736f636b6574 612076696577 613ac3a97069 6a736f6e"
    "7265706c696573 7b22636f756e74223a317d"
)
SNAPSHOT = Snapshot(
    header=Header(
        fence=1_790_000_000_123_456,
        floor=1_790_000_000_123_455,
        binding=digest_binding(b"me"),
        version=3,
        applied_seq=7,
        created_us=1_789_999_999_123_456,
        saved_us=1_790_000_000_123_457,
        format=1,
    ),
    socket_id="the socket",
    view="a view",
    topic="a:épi",
    serializer="json",
    replies=b"replies",
    state=b'{"count":1}',
)
GOLDEN_2 = bytes.fromhex(
    "5253 02 00 00000003 00065bfeda27c240 00065bfeda27c23f 0000000000000008"
    "00065bfeda188000 00065bfeda27c241 2744ccd10c7533bd736ad890f9dd5cab"
    "70707070707070707070707070707070 73737373737373737373737373737373"
    "000a 0006 0006 0004 00000007"
    "74686520736f636b6574 612076696577 613ac3a97069 6a736f6e"
    "7265706c696573 7b22636f756e74223a317d"
)
GOLDEN_MARKER = bytes.fromhex(
    "5253 01 01 00000000 0000000000000005 0000000000000005 0000000000000000"
    "0000000000000003 0000000000000004 2744ccd10c7533bd736ad890f9dd5cab"
    "0000 0000 0000 0000 00000000"
)
MARKER = Header(
    fence=5,
    floor=5,
    binding=digest_binding(b"me"),
    flags=1,
    created_us=3,
    saved_us=4,
    format=1,
)

times = st.integers(0, MAX_US)
texts = st.text(st.characters(codec="utf-8"), max_size=50)
headers = st.builds(
    Header,
    fence=times,
    floor=times,
    binding=st.binary(min_size=16, max_size=16),
    flags=st.integers(0, 255),
    version=st.integers(0, MAX_VERSION),
    applied_seq=st.none() | st.integers(0, MAX_SEQ),
    created_us=times,
    saved_us=times,
)
snapshots = st.builds(
    Snapshot,
    header=headers,
    socket_id=texts,
    view=texts,
    topic=texts,
    serializer=texts,
    replies=st.binary(),
    state=st.binary(),
    person=st.binary(min_size=16, max_size=16),
    seal=st.binary(min_size=16, max_size=16),
)


def test_version_1_is_read_and_written_for_ever() -> None:
    assert SNAPSHOT.to_bytes() == GOLDEN
    assert Snapshot.from_bytes(GOLDEN) == SNAPSHOT
    assert Header.read(GOLDEN) == SNAPSHOT.header
    assert not is_marker(GOLDEN)


def test_version_2_is_read_and_written_for_ever() -> None:
    header = replace(SNAPSHOT.header, format=2)
    snapshot = replace(SNAPSHOT, header=header, person=b"p" * 16, seal=b"s" * 16)
    assert snapshot.to_bytes() == GOLDEN_2
    assert Snapshot.from_bytes(GOLDEN_2) == snapshot
    assert Header.read(GOLDEN_2) == header
    assert not is_marker(GOLDEN_2)


def test_a_marker_of_version_1_is_read_and_written_for_ever() -> None:
    # Whatever stood there before, nothing of it is left but times and whose it was.
    before = replace(MARKER, flags=0, version=3, applied_seq=7)
    assert revoked_marker(before) == GOLDEN_MARKER
    assert Header.read(GOLDEN_MARKER) == MARKER
    assert is_marker(GOLDEN_MARKER)
    assert Snapshot.from_bytes(GOLDEN_MARKER).state == b""


@given(snapshots)
def test_what_is_written_is_read(snapshot: Snapshot) -> None:
    data = snapshot.to_bytes()
    assert Snapshot.from_bytes(data) == snapshot
    assert Header.read(data) == snapshot.header
    assert socket_id_in(data) == snapshot.socket_id


@given(snapshots, headers)
def test_a_header_is_changed_in_place(snapshot: Snapshot, header: Header) -> None:
    changed = header.put_on(snapshot.to_bytes())
    assert Snapshot.from_bytes(changed) == replace(snapshot, header=header)


@pytest.mark.parametrize("length", range(len(GOLDEN)))
def test_a_snapshot_that_was_cut_is_corrupt(length: int) -> None:
    cut = GOLDEN[:length]
    if length >= len(GOLDEN) - len(SNAPSHOT.state):
        # Only the state lacks its end, which its serializer finds out.
        assert Snapshot.from_bytes(cut).state == SNAPSHOT.state[: length - len(GOLDEN)]
        return
    with pytest.raises(SnapshotCorrupt) as raised:
        Snapshot.from_bytes(cut)
    assert raised.value.problem in str(raised.value)
    assert socket_id_in(cut) == ""
    assert not is_marker(cut)


@pytest.mark.parametrize("position", range(len(GOLDEN)))
def test_a_broken_byte_is_a_clean_error_if_any(position: int) -> None:
    for value in {0x00, 0x01, 0x02, 0x7F, 0x80, 0xFF} - {GOLDEN[position]}:
        broken = GOLDEN[:position] + bytes([value]) + GOLDEN[position + 1 :]
        with suppress(SnapshotCorrupt, VersionMismatch):
            Snapshot.from_bytes(broken)


@given(st.binary() | st.binary().map(lambda rest: b"RS\x01\x00" + rest))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(SnapshotCorrupt, VersionMismatch):
        Snapshot.from_bytes(data)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"RS",
        b"SR" + GOLDEN[2:],
        b"RS\x00" + GOLDEN[3:],
        GOLDEN[:8] + b"\xff" + GOLDEN[9:],
        GOLDEN[:16] + (MAX_US + 1).to_bytes(8, "big") + GOLDEN[24:],
    ],
)
def test_a_broken_header_is_corrupt(broken: bytes) -> None:
    with pytest.raises(SnapshotCorrupt):
        Header.read(broken)


@pytest.mark.parametrize("format_", [3, 255])
def test_a_newer_format_is_told_from_broken_bytes(format_: int) -> None:
    newer = b"RS" + bytes([format_]) + GOLDEN[3:]
    for read in (Header.read, Snapshot.from_bytes):
        with pytest.raises(VersionMismatch) as raised:
            read(newer)
        assert (raised.value.stored, raised.value.supported) == (format_, 2)
        assert raised.value.of_format
    assert not is_marker(newer)
    assert socket_id_in(newer) == ""


def test_flags_that_are_not_known_here_are_kept() -> None:
    flagged = GOLDEN[:3] + b"\x80" + GOLDEN[4:]
    header = Header.read(flagged)
    assert not header.revoked
    assert header.put_on(flagged) == flagged


def test_a_seq_of_zero_is_told_from_none() -> None:
    for applied_seq in (None, 0, MAX_SEQ):
        header = replace(SNAPSHOT.header, applied_seq=applied_seq)
        assert Header.read(header.pack()).applied_seq == applied_seq


def test_no_repr_shows_the_state() -> None:
    assert "count" not in repr(SNAPSHOT)
    assert "replies" not in repr(SNAPSHOT)
