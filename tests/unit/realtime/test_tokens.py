"""Checks which tokens are valid, that all others are refused with the code of their fault, and that none is quoted."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from shared import clock
from shared.realtime.tokens import (
    LEEWAY_S,
    LIFE_S,
    MOST_CHANNELS,
    MOST_CHARS,
    MOST_LIFE_S,
    REFRESH_LIFE_S,
    BadToken,
    NoTokenKeys,
    RefreshClaims,
    TokenExpired,
    TokenRefused,
    Tokens,
    WrongUser,
    looks_like_token,
)
from shared.settings.groups.sockets import TokenKey

SECRET, OTHER_SECRET = "s" * 32, "o" * 32
NEW, OLD = TokenKey(kid="new", secret=SecretStr(SECRET)), TokenKey(kid="old", secret=SecretStr(OTHER_SECRET))
TOKENS = Tokens([NEW, OLD])
REFRESH = RefreshClaims("u1", ("news.*",), LIFE_S, "family", 0)


def claims(**changes: Any) -> dict[str, Any]:
    """Returns the claims of a valid token, with changes; None leaves one out."""
    now_s = clock.now_ms() // 1000
    valid = {"iss": "backend", "aud": "notify", "sub": "u1", "iat": now_s, "exp": now_s + 60}
    return {name: value for name, value in {**valid, **changes}.items() if value is not None}


def signed(kid: str | None = "new", secret: str = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode(claims(**changes), secret, algorithm, headers)


def refused(token: str, kind: type[TokenRefused] = BadToken) -> str:
    """Checks that the token is refused with this error, which does not quote it. Returns the error's text."""
    with pytest.raises(TokenRefused) as caught:
        TOKENS.verify(token)
    assert type(caught.value) is kind
    assert not any(len(part) > 8 and part in str(caught.value) for part in token.split("."))
    return str(caught.value)


def test_what_is_signed_is_verified() -> None:
    token = TOKENS.sign("tenant/u 1", ["news.*", "sports"], 120)
    found = TOKENS.verify(token.text)

    assert (found.user_id, found.channels) == ("tenant/u 1", ("news.*", "sports"))
    assert found.expires_ms == token.expires_ms
    assert 118_000 < token.expires_ms - clock.now_ms() <= 120_000
    assert looks_like_token(token.text)


def test_a_token_lives_a_quarter_of_an_hour_unless_it_is_said_otherwise() -> None:
    assert 898_000 < TOKENS.sign("u1").expires_ms - clock.now_ms() <= 900_000


def test_the_first_key_signs_and_names_itself() -> None:
    assert jwt.get_unverified_header(TOKENS.sign("u1").text) == {"alg": "HS256", "kid": "new", "typ": "JWT"}
    assert Tokens([NEW]).verify(TOKENS.sign("u1").text).user_id == "u1"


def test_every_key_verifies() -> None:
    assert TOKENS.verify(Tokens([OLD]).sign("u1").text).user_id == "u1"


def test_a_backend_may_sign_by_itself() -> None:
    found = TOKENS.verify(signed(channels=["a"]))

    assert (found.user_id, found.channels) == ("u1", ("a",))


@pytest.mark.parametrize("name", ["exp", "iat", "aud", "iss", "sub"])
def test_no_claim_may_be_missing(name: str) -> None:
    missing: dict[str, Any] = {name: None}
    assert refused(signed(**missing)) == f"the token has no {name}"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"aud": "notify-refresh"}, "audience must be notify"),
        ({"aud": ["notify"]}, "audience must be notify"),
        ({"aud": ["notify", "notify-refresh"]}, "audience must be notify"),
        ({"sub": ""}, "1 to 256 characters"),
        ({"sub": "u" * 257}, "1 to 256 characters"),
        ({"sub": "u\n1"}, "line breaks"),
        ({"exp": "9999999999"}, "must be numbers"),
        ({"exp": True}, "expired"),
        ({"channels": "news"}, "must be a list"),
        ({"channels": {"news": 1}}, "must be a list"),
        ({"channels": [1]}, "must be 1 to 128"),
        ({"channels": [""]}, "must be 1 to 128"),
        ({"channels": ["a" * 129]}, "must be 1 to 128"),
        ({"channels": ["*.news"]}, "last one may be"),
        ({"channels": ["news\n"]}, "must be 1 to 128"),
        ({"channels": ["a"] * (MOST_CHANNELS + 1)}, "at most 20"),
        ({"iat": clock.now_ms() // 1000 + 3600, "exp": clock.now_ms() // 1000 + 3660}, "not valid yet"),
        ({"nbf": clock.now_ms() // 1000 + 3600}, "not valid yet"),
    ],
)
def test_wrong_claims_are_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(TokenRefused, match=why):
        TOKENS.verify(signed(**changes))


@pytest.mark.parametrize("changes", [{"iss": 1}, {"sub": 1}])
def test_claims_of_a_wrong_type_are_refused(changes: dict[str, Any]) -> None:
    # jwt.encode refuses to write them.
    payload = json.dumps(claims(**changes)).encode()

    refused(jwt.PyJWS().encode(payload, SECRET, "HS256", {"kid": "new"}))


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", ["1e999", "-1e999", "NaN", "[]", '"x"'])
def test_times_that_are_none_are_refused(name: str, value: str) -> None:
    payload = json.dumps(claims(**{name: 0})).replace(f'"{name}": 0', f'"{name}": {value}').encode()

    with pytest.raises(TokenRefused):
        TOKENS.verify(jwt.PyJWS().encode(payload, SECRET, "HS256", {"kid": "new"}))


def test_one_that_is_over_says_so_with_its_own_code() -> None:
    now_s = clock.now_ms() // 1000
    expired = signed(iat=now_s - 100, exp=now_s - LEEWAY_S - 1)

    assert refused(expired, TokenExpired) == "the token has expired"
    assert TokenExpired.close.code == 4401
    assert TokenExpired.close.reconnect


def test_clocks_may_differ_by_the_leeway() -> None:
    now_s = clock.now_ms() // 1000

    assert TOKENS.verify(signed(iat=now_s + LEEWAY_S - 2, exp=now_s + 60)).user_id == "u1"
    assert TOKENS.verify(signed(iat=now_s - 100, exp=now_s - LEEWAY_S + 3)).user_id == "u1"


def test_none_is_valid_for_longer_than_a_day() -> None:
    now_s = clock.now_ms() // 1000

    assert TOKENS.verify(signed(iat=now_s, exp=now_s + MOST_LIFE_S)).user_id == "u1"
    assert "longer than 24 hours" in refused(signed(iat=now_s, exp=now_s + MOST_LIFE_S + 1))


@pytest.mark.parametrize("life_s", [0, -1, MOST_LIFE_S + 1])
def test_none_is_signed_for_longer_than_a_day(life_s: int) -> None:
    with pytest.raises(ValueError, match="lives 1 to"):
        TOKENS.sign("u1", life_s=life_s)


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
def test_another_algorithm_is_refused(algorithm: str) -> None:
    refused(signed(algorithm=algorithm))


def test_no_signature_is_refused() -> None:
    refused(jwt.encode(claims(), "", "none", {"kid": "new"}))
    header = base64.urlsafe_b64encode(b'{"alg":"none","kid":"new"}').rstrip(b"=").decode()
    refused(f"{header}.{signed().split('.')[1]}.")


def test_a_signature_of_another_key_is_refused() -> None:
    assert refused(signed(secret=OTHER_SECRET)) == "the token's signature is wrong"
    assert refused(signed(secret=OTHER_SECRET, kid="new")) == "the token's signature is wrong"


@pytest.mark.parametrize("kid", [None, "unknown", ""])
def test_a_token_names_its_key(kid: str | None) -> None:
    assert refused(signed(kid=kid)) == "the token names no key of this system in its kid"


def test_claims_that_were_changed_are_refused() -> None:
    head, _, signature = signed().split(".")
    other = base64.urlsafe_b64encode(json.dumps(claims(sub="u2")).encode()).rstrip(b"=").decode()

    assert refused(f"{head}.{other}.{signature}") == "the token's signature is wrong"


@given(st.one_of(st.text(max_size=80), st.from_regex(r"eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")))
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadToken):
        TOKENS.verify(text)


@pytest.mark.parametrize("text", ["\ud800", "[" * 4000, '{"a":' * 800])
def test_neither_half_characters_nor_deep_nesting_is_more_than_a_bad_token(text: str) -> None:
    part = base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).rstrip(b"=").decode()
    head, payload, signature = signed().split(".")
    for token in (text, f"{part}.{payload}.{signature}", f"{head}.{part}.{signature}"):
        with pytest.raises(BadToken):
            TOKENS.verify(token)


def test_one_that_is_too_long_is_refused_unread() -> None:
    assert "at most" in refused(signed(filler="x" * MOST_CHARS))


def test_the_longest_claims_fit() -> None:
    tokens = Tokens([TokenKey(kid="k" * 64, secret=SecretStr(SECRET))])
    user_id, channels = "\U0001f600" * 256, ("c" * 128,) * MOST_CHANNELS

    assert tokens.verify(tokens.sign(user_id, channels, MOST_LIFE_S).text).user_id == user_id
    longest = RefreshClaims(user_id, channels, MOST_LIFE_S, "f" * 32, 2**53)
    assert tokens.verify_refresh(tokens.sign_refresh(longest).text) == longest


def test_the_token_of_another_user_has_its_own_code() -> None:
    assert TOKENS.verify(signed(), "u1").user_id == "u1"
    with pytest.raises(WrongUser):
        TOKENS.verify(signed(), "u2")
    assert WrongUser.close.code == 4503
    assert BadToken.close.code == 4501


def test_without_keys_nothing_is_signed_and_nothing_is_valid() -> None:
    none = Tokens([])

    assert not none
    assert TOKENS
    with pytest.raises(NoTokenKeys):
        none.sign("u1")
    with pytest.raises(BadToken, match="SOCKET_TOKEN_KEYS is not set"):
        none.verify(signed())


@pytest.mark.parametrize(
    ("channel", "allowed"),
    [("news.sports", True), ("news.", True), ("news", False), ("weather", True), ("weather.now", False), ("", False)],
)
def test_patterns_end_in_a_star(channel: str, allowed: bool) -> None:
    assert TOKENS.verify(TOKENS.sign("u1", ["news.*", "weather"]).text).allows(channel) is allowed


def test_a_star_alone_allows_everything_and_no_pattern_nothing() -> None:
    assert TOKENS.verify(TOKENS.sign("u1", ["*"]).text).allows("anything")
    assert not TOKENS.verify(TOKENS.sign("u1").text).allows("anything")


def test_a_refresh_token_has_a_longer_life_and_keeps_what_the_next_token_needs() -> None:
    token = TOKENS.sign_refresh(REFRESH)

    assert TOKENS.verify_refresh(token.text) == REFRESH
    assert REFRESH_LIFE_S * 1000 - 2000 < token.expires_ms - clock.now_ms() <= REFRESH_LIFE_S * 1000


def test_neither_kind_is_good_for_the_other() -> None:
    assert refused(TOKENS.sign_refresh(REFRESH).text) == "the token's audience must be notify"
    with pytest.raises(BadToken, match="audience must be notify-refresh"):
        TOKENS.verify_refresh(TOKENS.sign("u1").text)


@pytest.mark.parametrize(
    "changes",
    [
        {"family": None},
        {"family": 1},
        {"number": None},
        {"number": -1},
        {"number": True},
        {"number": 1.5},
        {"life": None},
        {"life": 0},
        {"life": MOST_LIFE_S + 1},
    ],
)
def test_a_refresh_token_of_a_backend_is_refused(changes: dict[str, Any]) -> None:
    valid: dict[str, Any] = {"aud": "notify-refresh", "family": "f", "number": 0, "life": 900}
    assert TOKENS.verify_refresh(signed(**valid)).number == 0

    with pytest.raises(BadToken, match="was not made by this system"):
        TOKENS.verify_refresh(signed(**{**valid, **changes}))


@pytest.mark.parametrize(
    ("sign", "why"),
    [
        (lambda: TOKENS.sign(""), "1 to 256"),
        (lambda: TOKENS.sign("a\x00"), "control"),
        (lambda: TOKENS.sign("u1", ["a*b"]), "last one may be"),
    ],
)
def test_nothing_is_signed_that_would_be_refused(sign: Callable[[], object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        sign()


@pytest.mark.parametrize("text", ["", "abc", "a.b.c", "abcdefghij", "abc.a.b.c"])
def test_an_api_key_is_no_token(text: str) -> None:
    assert not looks_like_token(text)


def test_the_example_for_backends_in_the_documentation_is_accepted() -> None:
    page = (Path(__file__).parents[3] / "docs" / "tokens.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)

    secret = SecretStr("the secret of at least 32 bytes.")
    assert Tokens([TokenKey(kid="k1", secret=secret)]).verify(names["token"]).user_id == "u1"
