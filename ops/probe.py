"""Checks the health of a container whose image has no curl: ``python -m ops.probe URL``.

Exits with 0 if a GET of the URL answers 200 within 4 s, otherwise with 1 after one line that says why.
"""

import sys
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from shared.process.printable import printable

#: Less than the 5 s after which the container engine aborts the check.
TIMEOUT_S = 4.0
_USAGE = "python -m ops.probe http://HOST:PORT/PATH"


def complaint(url: str) -> str | None:
    """Returns what is wrong with the answer from ``url``, or None. Uses no proxy and follows no redirect."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        body = answer.read(1000).decode("utf-8", "replace")
    except (OSError, HTTPException) as exc:
        return f"{url}: {type(exc).__name__}: {exc}"
    finally:
        connection.close()
    return None if answer.status == 200 else f"{url}: {answer.status} {body}"


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(_USAGE, file=sys.stderr)
        return 2
    found = complaint(arguments[0])
    if found is not None:
        print(printable(found), file=sys.stderr)
    return 0 if found is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
