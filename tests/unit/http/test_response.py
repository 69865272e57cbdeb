import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.http.response import AnswerReader, Headers, Response

ANSWERS = [
    (b"HTTP/1.1 200 OK\r\nA: 1\r\ncontent-length: 5\r\n\r\nhello", 200, b"hello"),
    (
        b"HTTP/1.1 201 Created\r\nA: 1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nB: 2\r\n\r\n",
        201,
        b"hello",
    ),
    (b"HTTP/1.1 100 Continue\r\nB: 2\r\n\r\nHTTP/1.1 204 No Content\r\nA: 1\r\n\r\n", 204, b""),
]


@given(st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=4), st.data())
def test_answers_are_the_same_however_the_network_cuts_them(
    answers: list[tuple[bytes, int, bytes]], data: st.DataObject
) -> None:
    reader = AnswerReader()
    for wire, status, body in answers:
        cuts = sorted(data.draw(st.sets(st.integers(1, len(wire) - 1), max_size=6)))
        parts = [wire[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
        *early, last = [reader.feed(part) for part in parts]
        assert early == [None] * len(early)
        assert last is not None
        assert (last.status, dict(last.headers).get("b"), last.headers["a"], last.body) == (status, None, "1", body)
        assert reader.reusable


def test_an_earlier_answer_keeps_its_fields_when_a_later_one_comes() -> None:
    reader = AnswerReader()
    first = reader.feed(b"HTTP/1.1 200 OK\r\nA: 1\r\ncontent-length: 0\r\n\r\n")
    assert reader.feed(b"HTTP/1.1 200 OK\r\nB: 2\r\ncontent-length: 0\r\n\r\n") is not None
    assert first is not None
    assert dict(first.headers) == {"a": "1", "content-length": "0"}


def test_fields_are_found_without_regard_to_case_and_the_first_counts() -> None:
    headers = Headers({b"Retry-After": b"7", b"retry-after": b"9", b"X-\xe4": b"\xf6"})
    assert (headers["RETRY-AFTER"], headers.get("x-ä"), headers.get("absent")) == ("7", "ö", None)
    assert (list(headers), len(headers)) == (["retry-after", "x-ä"], 2)
    with pytest.raises(KeyError):
        headers["absent"]


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"{", b"\xff", b'"a"'])
def test_a_body_that_is_no_object_is_an_empty_one(body: bytes) -> None:
    assert Response(200, {}, body).json_object() == {}


@pytest.mark.parametrize(("status", "ok"), [(199, False), (200, True), (299, True), (300, False)])
def test_only_2xx_is_ok(status: int, ok: bool) -> None:
    assert Response(status, {}, b"").ok is ok
