"""Serves users and templates.

Users: ``user_id1`` (one push token), ``user_id2`` (two push tokens), ``user_id3`` (opted out of sms, opted in to
everything else), and any ``user-<n>``, made up from its number. The record of ``odd-<n>`` cannot be read as a user.
Templates: PRODUCT_UPDATE (variables ``name``,
``link``), WELCOME (``name``), OTP (``code``).
"""

import re
from collections.abc import Callable, Mapping
from functools import partial

import orjson
from aiohttp import web

from sandbox.exchange import Verdict
from sandbox.faults import Fault
from sandbox.problem import problem

Record = Mapping[str, object]

_NUMBERED = re.compile(r"user-(\d{1,9})")
_ODD = re.compile(r"odd-\d{1,9}")


def _user(user_id: str, phone: str, tokens: int = 1, **preferences: bool) -> Record:
    wanted = {"push": True, "email": True, "sms": True, "websocket": True} | preferences
    return {
        "id": user_id,
        "email": f"{user_id}@example.com",
        "phone": phone,
        "push_tokens": [f"token-{user_id}-{number}" for number in range(1, tokens + 1)],
        "preferences": wanted,
        "locale": "en",
    }


_KNOWN_USERS = {
    "user_id1": _user("user_id1", "+15550000001"),
    "user_id2": _user("user_id2", "+15550000002", tokens=2),
    "user_id3": _user("user_id3", "+15550000003", sms=False),
}

_TEMPLATES: dict[str, Record] = {
    "PRODUCT_UPDATE": {
        "code": "PRODUCT_UPDATE",
        "subject": "{{ name }}, there is something new",
        "title": "Something new for you",
        "body": "Hello {{ name }}, see what has changed: {{ link }}",
        "html": '<p>Hello {{ name }},</p><p><a href="{{ link }}">see what has changed</a>.</p>',
    },
    "WELCOME": {
        "code": "WELCOME",
        "subject": "Welcome, {{ name }}",
        "title": "Welcome",
        "body": "Hello {{ name }}, good to have you with us.",
        "html": "<p>Hello {{ name }},</p><p>good to have you with us.</p>",
    },
    "OTP": {
        "code": "OTP",
        "subject": "Your code",
        "title": "Your code",
        "body": "Your code is {{ code }}. Do not share it.",
        "html": "<p>Your code is <strong>{{ code }}</strong>. Do not share it.</p>",
    },
}


def find_user(user_id: str) -> Record | None:
    if _ODD.fullmatch(user_id) is not None:
        return {"id": user_id, "preferences": "none"}
    numbered = _NUMBERED.fullmatch(user_id)
    if numbered is not None:
        return _user(user_id, f"+1556{int(numbered[1]):07d}")
    return _KNOWN_USERS.get(user_id)


def find_template(code: str) -> Record | None:
    return _TEMPLATES.get(code)


class Lookup:
    """Answers ``GET /users/{key}`` or ``GET /templates/{key}``: 200 with the record, or a 404 problem."""

    def __init__(self, name: str, find: Callable[[str], Record | None]) -> None:
        self.name = name
        self._find = find

    def judge(self, request: web.Request, body: bytes) -> Verdict:
        key = request.match_info["key"]
        record = self._find(key)
        if record is None:
            return Verdict((key,), problem(404, f"{self.name} has no {key!r}"))
        return Verdict((key,), answer=partial(_answer, record))

    def faulted(self, fault: Fault) -> web.Response:
        assert fault.status is not None
        return problem(fault.status, "fault ordered by the operator")


def _answer(record: Record) -> web.Response:
    return web.Response(body=orjson.dumps(record), content_type="application/json")
