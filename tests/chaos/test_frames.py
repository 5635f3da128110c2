"""Messages are parsed from a stream in pieces of any size."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from recovery_app.chaos.frames import MessageReader, is_upgrade, without_extensions

HEAD = (
    b"GET /ws HTTP/1.1\r\nHost: here\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
    b"sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
SIZES = st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536])
MAX_STEPS = 200
TEXTS = st.lists(st.one_of(st.text(), SIZES.map("x".__mul__)), min_size=1, max_size=4)


def frames_of(text: str, *, mask: bool, parts: int) -> list[bytes]:
    """Return a text as one frame, or as fragments with a ping between them."""
    data = text.encode()
    size = len(data) // parts + 1
    pieces = [data[n * size : (n + 1) * size] for n in range(parts)]
    frames: list[bytes] = []
    for number, piece in enumerate(pieces):
        opcode = Opcode.CONT if number else Opcode.TEXT
        frame = Frame(opcode, piece, fin=number == parts - 1)
        frames.append(frame.serialize(mask=mask))
        if number == 0 and parts > 1:
            frames.append(Frame(Opcode.PING, b"alive").serialize(mask=mask))
    return frames


@settings(deadline=None)
@given(TEXTS, st.booleans(), st.integers(1, 3), st.integers(1, 70_000))
def test_each_message_is_read(texts: list[str], mask: bool, parts: int, step: int) -> None:
    frames = [frame for text in texts for frame in frames_of(text, mask=mask, parts=parts)]
    stream = b"".join(frames)
    step = max(step, len(stream) // MAX_STEPS)
    reader = MessageReader()
    messages = [
        message
        for start in range(0, len(stream), step)
        for message in reader.feed(stream[start : start + step])
    ]
    assert sorted(b"".join(message.raw for message in messages)) == sorted(stream)
    whole = [message for message in messages if message.raw[0] & 0x0F != Opcode.PING]
    assert [message.text for message in whole] == texts
    pings = [message for message in messages if message.raw[0] & 0x0F == Opcode.PING]
    assert len(pings) == (len(texts) if parts > 1 else 0)


def test_a_binary_message_has_no_text() -> None:
    frame = Frame(Opcode.BINARY, b"\x00\xff").serialize(mask=False)
    assert [(each.raw, each.text) for each in MessageReader().feed(frame)] == [(frame, "")]


def test_only_the_extensions_are_removed() -> None:
    lines = without_extensions(HEAD).split(b"\r\n")
    assert lines == [line for line in HEAD.split(b"\r\n") if b"extensions" not in line]


def test_is_upgrade() -> None:
    assert is_upgrade(HEAD)
    assert not is_upgrade(HEAD.replace(b"Upgrade: WebSocket", b"Upgrade: h2c"))
    assert not is_upgrade(HEAD.replace(b"Upgrade: WebSocket\r\n", b"X-Upgrade: websocket\r\n"))
