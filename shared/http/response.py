"""Reads a server's answers from their bytes (llhttp, by httptools), and holds what an answer says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import httptools
import orjson

from shared.http.retry_after import parse_retry_after


class Headers(Mapping[str, str]):
    """Maps an answer's header fields, ignoring case; of a repeated field it holds the first."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Mapping[bytes, bytes]) -> None:
        self._raw = raw

    def __getitem__(self, name: str) -> str:
        wanted = name.lower()
        for raw_name, value in self._raw.items():
            if raw_name.decode("latin-1").lower() == wanted:
                return value.decode("latin-1")
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.decode("latin-1").lower() for name in self._raw))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Response(NamedTuple):
    """Holds a complete answer. ``headers`` ignores the case of names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def failed_itself(self) -> bool:
        """Tells whether the server reports a failure of its own: it may have carried out the request nevertheless."""
        return self.status >= 500

    @property
    def retry_after_s(self) -> float | None:
        """Returns the header ``Retry-After`` in seconds, or None if it is missing or unreadable."""
        return parse_retry_after(self.headers.get("retry-after"), time.time)

    def json_object(self) -> dict[str, Any]:
        """Returns the body as a JSON object; {} if it is anything else."""
        try:
            document = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return {}
        return document if isinstance(document, dict) else {}


class AnswerReader:
    """Reads the answers of one connection, one after the other.

    After each complete answer ``reusable`` tells whether another request may follow on the connection: True if both
    sides keep it open and no bytes came after the answer.
    """

    __slots__ = ("_answer", "_chunks", "_fields", "_headers", "_parser", "on_body", "on_header", "reusable")

    def __init__(self) -> None:
        self.reusable = False
        self._answer: Response | None = None
        self._fields: Headers | None = None
        self._headers: dict[bytes, bytes] = {}
        self._chunks: list[bytes] = []
        # The parser looks up its callbacks by name, once, here. These two run no Python code of ours for each field.
        self.on_header: Callable[[bytes, bytes], object] = self._headers.setdefault
        self.on_body: Callable[[bytes], object] = self._chunks.append
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> Response | None:
        """Reads ``data``. Returns the answer if ``data`` completes it, else None.

        Raises HttpParserError or HttpParserUpgrade if the bytes are not an answer.
        """
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # If the answer is complete, only the bytes after it are invalid, and they are never read.
            if self._answer is None:
                raise
        answer, self._answer = self._answer, None
        return answer

    def end(self) -> Response | None:
        """Returns the answer that the end of the stream completes; None if it is cut off, or if none had begun.

        Only an answer that announced no length ends this way. For any other, the end came too early.
        """
        fields, self._fields = self._fields, None
        if fields is None or _announces_its_length(fields):
            return None
        return Response(self._parser.get_status_code(), fields, b"".join(self._chunks))

    def on_message_begin(self) -> None:
        if self._answer is not None:
            # A second answer to one request: it must not be taken for the answer to the next request.
            self.reusable = False
        self._headers.clear()
        self._chunks.clear()

    def on_headers_complete(self) -> None:
        # Copy, because trailers come later through the same callback, and are not header fields.
        self._fields = Headers(self._headers.copy())

    def on_message_complete(self) -> None:
        # Reset the fields: otherwise a connection that ends before the next answer begins would seem to complete it.
        fields, self._fields = self._fields, None
        status = self._parser.get_status_code()
        # A status below 200 (100 Continue, 103 Early Hints) is interim: the answer is still to come.
        if fields is not None and status >= 200 and self._answer is None:
            self.reusable = self._parser.should_keep_alive()
            self._answer = Response(status, fields, b"".join(self._chunks))


def _announces_its_length(fields: Headers) -> bool:
    coding = fields.get("transfer-encoding")
    if coding is not None:
        return coding.rpartition(",")[2].strip().lower() == "chunked"
    return "content-length" in fields
