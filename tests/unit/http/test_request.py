from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.http.request import Origin, Target


def lines(url: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> list[bytes]:
    return Target(url).request(headers or {}, body).split(b"\r\n")


def test_a_request_is_what_http_1_1_asks_for() -> None:
    assert Target("https://vendor.example/v1/send?a=b").request({"X-Key": "k"}, b"hello") == (
        b"POST /v1/send?a=b HTTP/1.1\r\nhost: vendor.example\r\nuser-agent: notify\r\naccept-encoding: identity\r\n"
        b"X-Key: k\r\ncontent-length: 5\r\n\r\nhello"
    )


@pytest.mark.parametrize(
    ("url", "origin", "host"),
    [
        ("http://vendor.example", Origin("http", "vendor.example", 80), b"vendor.example"),
        ("https://vendor.example", Origin("https", "vendor.example", 443), b"vendor.example"),
        ("https://vendor.example:443/", Origin("https", "vendor.example", 443), b"vendor.example"),
        ("http://vendor.example:443/", Origin("http", "vendor.example", 443), b"vendor.example:443"),
        ("HTTP://Vendor.Example:8080/", Origin("http", "vendor.example", 8080), b"vendor.example:8080"),
        ("http://[::1]:8080/", Origin("http", "::1", 8080), b"[::1]:8080"),
        ("http://[2001:db8::1]/", Origin("http", "2001:db8::1", 80), b"[2001:db8::1]"),
        ("http://127.0.0.1:81/", Origin("http", "127.0.0.1", 81), b"127.0.0.1:81"),
    ],
)
def test_the_host_is_named_as_the_server_expects_it(url: str, origin: Origin, host: bytes) -> None:
    assert Target(url).origin == origin
    assert b"host: " + host in lines(url)


def test_a_url_without_path_asks_for_the_root_and_a_fragment_stays_here() -> None:
    assert lines("http://a?x=1")[0] == b"POST /?x=1 HTTP/1.1"
    assert lines("http://a/b#c")[0] == b"POST /b HTTP/1.1"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a/",
        "a/b",
        "http:///x",
        "http://user:pass@a/",
        "http://a/b c",
        "http://a/b\r\nx: y",
        "http://ä/",
        "http://a:http/",
        "http://a:99999/",
        "http://a..b/",
        "http://[::1/",
    ],
)
def test_a_url_that_cannot_be_sent_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        Target(url)


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\nb", "a\rb", "a\0b", "日本", "a\x7f"])
def test_a_value_that_would_end_its_line_is_refused_and_not_quoted(value: str) -> None:
    with pytest.raises(ValueError, match="authorization") as caught:
        lines("http://a/", {"authorization": value})
    assert value not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "ä"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        lines("http://a/", {name: "value"})


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "connection", "Expect"])
def test_what_frames_a_request_is_the_clients_own(name: str) -> None:
    with pytest.raises(ValueError, match="set by the client itself"):
        lines("http://a/", {name: "1"})


def test_headers_that_change_are_sent_changed() -> None:
    target = Target("http://a/")
    headers = {"authorization": "Bearer one"}
    first = target.request(headers, b"")
    headers["authorization"] = "Bearer two"
    assert b"Bearer one" in first
    assert b"Bearer two" in target.request(headers, b"")
    assert b"authorization" not in target.request({}, b"")


def test_headers_that_were_refused_are_refused_again() -> None:
    target = Target("http://a/")
    target.request({}, b"")
    for _ in range(2):
        with pytest.raises(ValueError):
            target.request({"a": "\n"}, b"")


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3), st.binary())
def test_no_header_adds_a_line_of_its_own(headers: dict[str, str], body: bytes) -> None:
    try:
        request = Target("http://a/").request(headers, body)
    except ValueError:
        return
    head, _, rest = request.partition(b"\r\n\r\n")
    assert head.count(b"\n") == head.count(b"\r\n") == 4 + len(headers)
    assert rest == body
