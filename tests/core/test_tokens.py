"""Tests of the token: its 48 bytes (contract, section 4), and let no other string pass for one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import string
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from recovery_app._core.tokens import (
    TokenPayload,
    TokenSigner,
    hash_socket_id,
    issued_us_of,
    key_of,
)
from recovery_app.exceptions import InvalidSignature, MalformedToken, TokenError
from tests.core.support import OTHER_SECRET, SECRET, SOMEBODY

ALPHABET = string.ascii_letters + string.digits + "-_"
ME = b"me"
ISSUED_US = 1_790_000_000_123_456
CLAIMS = TokenPayload(socket_hash=hash_socket_id("the socket"), issued_us=ISSUED_US)
SIGNER = TokenSigner(SECRET)
TOKEN = SIGNER.sign(CLAIMS, ME)
TEN_MEGABYTES = 10_000_000


def spelled_by_hand(secret: bytes, socket_id: str, issued_us: int, binding: bytes) -> str:
    """Follow section 4 of the contract, without any code of the package."""
    said = hashlib.sha256(socket_id.encode()).digest()[:8] + issued_us.to_bytes(8, "big")
    mac = hmac.new(secret, said + binding, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(said + mac).decode()


def refusal_of(token: object, binding: bytes = ME) -> type[TokenError]:
    with pytest.raises(TokenError) as raised:
        SIGNER.verify(token, binding)
    assert raised.value.socket_hash is None
    if type(token) is str and len(token) > 8:
        assert token not in f"{raised.value} {raised.value!r} {raised.value.__dict__}"
    return raised.type


# What a token is.


@pytest.mark.parametrize("binding", [b"", ME, bytes(1000)])
@pytest.mark.parametrize("issued_us", [0, 1, ISSUED_US, 2**63 - 1])
@pytest.mark.parametrize("socket_id", ["a", "the socket", "é\U0001f600"])
def test_a_token_is_as_the_contract_says(socket_id: str, issued_us: int, binding: bytes) -> None:
    claims = TokenPayload(socket_hash=hash_socket_id(socket_id), issued_us=issued_us)
    token = SIGNER.sign(claims, binding)
    assert token == spelled_by_hand(SECRET, socket_id, issued_us, binding)
    assert len(token) == 64
    assert not set(token) - set(ALPHABET)
    assert SIGNER.verify(token, binding) == claims
    assert issued_us_of(token) == issued_us
    assert key_of(token) == claims.key


def test_this_token_stays_good_for_ever() -> None:
    assert TOKEN == "wdo8QFOQ_80ABlv-2ifCQKYISBhbHRg-ouOO3nfGHHSNDZlalMNuGlUWPoPNVtaR"


@pytest.mark.parametrize("size", [32, 63, 64, 65, 500])
def test_a_secret_of_any_size_makes_the_hmac_of_the_standard(size: int) -> None:
    secret = bytes(number % 251 for number in range(size))
    token = TokenSigner(secret).sign(CLAIMS, ME)
    assert token == spelled_by_hand(secret, "the socket", ISSUED_US, ME)


def test_a_key_is_the_hash_in_hexadecimal() -> None:
    assert CLAIMS.key == hashlib.sha256(b"the socket").hexdigest()[:16]


# What no token is.


@pytest.mark.parametrize("position", range(64))
def test_a_flip_at_any_character_is_refused(position: int) -> None:
    before, after = TOKEN[:position], TOKEN[position + 1 :]
    for character in set(ALPHABET) - {TOKEN[position]}:
        assert refusal_of(before + character + after) is InvalidSignature
    for character in "+/= \n\0.é\U0001f600\ud800０Ａ":
        assert refusal_of(before + character + after) is MalformedToken


@pytest.mark.parametrize("position", range(64))
def test_a_token_has_all_its_characters_in_their_order(position: int) -> None:
    assert refusal_of(TOKEN[:position]) is MalformedToken
    assert refusal_of(TOKEN[position:-1]) is MalformedToken
    turned = TOKEN[position:] + TOKEN[:position]
    assert turned == TOKEN or refusal_of(turned) is InvalidSignature


@pytest.mark.parametrize(
    "other",
    [
        TOKEN + "=",
        TOKEN + "==",
        TOKEN + "\n",
        "\n" + TOKEN,
        " " + TOKEN,
        TOKEN + "\0",
        TOKEN + "A",
        TOKEN[:-1] + "\n",
        TOKEN[:-1] + "=",
        TOKEN[:-2] + "==",
        TOKEN + TOKEN,
    ],
)
def test_a_token_has_one_spelling(other: str) -> None:
    assert refusal_of(other) is MalformedToken


def test_the_other_base64_alphabet_is_refused() -> None:
    claims = TokenPayload(socket_hash=b"\xfb\xff\xbf" * 2 + b"\xfb\xff", issued_us=ISSUED_US)
    token = SIGNER.sign(claims, ME)
    assert {"-", "_"} <= set(token)
    assert refusal_of(token.replace("-", "+").replace("_", "/")) is MalformedToken


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="None"),
        pytest.param(True, id="bool"),
        pytest.param(2**64, id="int"),
        pytest.param(float("nan"), id="float"),
        pytest.param(TOKEN.encode(), id="bytes"),
        pytest.param(bytearray(TOKEN.encode()), id="bytearray"),
        pytest.param([TOKEN], id="list"),
        pytest.param(list(TOKEN), id="characters"),
        pytest.param({"token": TOKEN}, id="dict"),
        pytest.param(object(), id="object"),
        pytest.param(str, id="type"),
        pytest.param("", id="empty"),
        pytest.param("\ud800" * 64, id="lone surrogates"),
        pytest.param("\udc80" * 63 + "A", id="more surrogates"),
        pytest.param("A" * 64, id="another token"),
        pytest.param("A" * TEN_MEGABYTES, id="10 MB"),
        pytest.param("\U0001f600" * TEN_MEGABYTES, id="10 million emoji"),
    ],
)
def test_anything_else_is_refused(value: object) -> None:
    expected = InvalidSignature if value == "A" * 64 else MalformedToken
    assert refusal_of(value) is expected


@pytest.mark.parametrize("value", ["A" * 63, "A" * 65, "A" * TEN_MEGABYTES, "+" * 64, b"A" * 64])
def test_what_is_malformed_reaches_neither_base64_nor_hmac(
    value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_arguments: object) -> None:
        raise AssertionError("too far")

    monkeypatch.setattr("recovery_app._core.tokens.a2b_base64", unreachable)
    monkeypatch.setattr("recovery_app._core.keys.MacKey.mac", unreachable)
    assert refusal_of(value) is MalformedToken


class Lying(str):
    """A str that says of itself what it isn't."""

    __slots__ = ()

    def __len__(self) -> int:
        return 64

    def __str__(self) -> str:
        return TOKEN

    def encode(self, *_arguments: Any) -> bytes:
        return TOKEN.encode()


class Pretending:
    """Something else that says it were a str."""

    __class__ = str  # type: ignore[assignment]


def test_of_a_subclass_only_the_text_itself_counts() -> None:
    class Text(str):
        __slots__ = ()

    assert SIGNER.verify(Text(TOKEN), ME) == CLAIMS
    assert refusal_of(Lying("A" * 10)) is MalformedToken
    assert refusal_of(Lying("+" * 64)) is MalformedToken
    assert refusal_of(Lying("A" * 64)) is InvalidSignature
    assert refusal_of(Pretending()) is MalformedToken


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.binary()
    | st.text(st.characters(codec=None))
    | st.text(ALPHABET, min_size=64, max_size=64)
    | st.text(ALPHABET + "+/=\n", min_size=60, max_size=68),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
)


@given(anything, st.binary())
@example("A" * 64, b"")
def test_nothing_but_an_issued_token_is_accepted(value: object, binding: bytes) -> None:
    assume(value != TOKEN)
    assert issubclass(refusal_of(value, binding), TokenError)


@given(st.binary(min_size=48, max_size=48))
def test_no_48_bytes_are_accepted_unless_signed(raw: bytes) -> None:
    assert refusal_of(base64.urlsafe_b64encode(raw).decode()) is InvalidSignature


# Bindings and secrets.


@given(st.binary(), st.binary())
def test_a_token_is_good_for_one_binding(binding: bytes, other: bytes) -> None:
    token = SIGNER.sign(CLAIMS, binding)
    assert SIGNER.verify(token, binding) == CLAIMS
    if other != binding:
        assert refusal_of(token, other) is InvalidSignature


def test_older_secrets_still_verify_and_new_tokens_use_the_newest() -> None:
    older, rotated = TokenSigner(OTHER_SECRET), TokenSigner(SECRET, [b"x" * 32, OTHER_SECRET])
    assert rotated.verify(older.sign(CLAIMS, ME), ME) == CLAIMS
    assert rotated.sign(CLAIMS, ME) == TOKEN
    assert refusal_of(older.sign(CLAIMS, ME)) is InvalidSignature
    with pytest.raises(InvalidSignature):
        rotated.verify(older.sign(CLAIMS, ME), SOMEBODY)


@pytest.mark.parametrize("secrets", [[b""], [b"x" * 31], [SECRET, b"y" * 31]])
def test_a_short_secret_is_refused_and_not_told(secrets: list[bytes]) -> None:
    with pytest.raises(ValueError, match=r"has (0|31) bytes and needs at least 32") as raised:
        TokenSigner(secrets[0], secrets[1:])
    assert "xx" not in str(raised.value)
    assert "yy" not in str(raised.value)


def test_no_repr_tells_a_secret() -> None:
    assert SECRET.decode() not in f"{SIGNER!r} {SIGNER} {CLAIMS!r}"
