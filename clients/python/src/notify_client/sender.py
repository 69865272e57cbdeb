"""Sends notifications through the gateway. It uses no asyncio, and nothing but the standard library."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Literal

from notify_client.errors import Refused, Unavailable
from notify_client.reconnect import Backoff

Channel = Literal["websocket", "email", "push", "sms", "both"]
_MOST_ANSWER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Accepted:
    """Says that the notification is stored. ``replayed``: it had been before, and is not delivered again."""

    request_id: str
    channels: tuple[str, ...]
    replayed: bool


class Sender:
    """Sends notifications::

        sender = Sender("http://127.0.0.1:5050", api_key="...")
        sender.send(user_id="u1", title="Order shipped", body="It is on its way.", type="success")

    It may be used by several threads. ``timeout_s`` is for one attempt, ``attempts`` how often it is tried.
    """

    def __init__(
        self,
        gateway: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 10.0,
        attempts: int = 4,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not gateway.startswith(("http://", "https://")):
            raise ValueError(f"gateway must be an address with http:// or https://, not {gateway!r}")
        self._url = f"{gateway.rstrip('/')}/notifications"
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if api_key is not None:
            self._headers["X-API-Key"] = api_key
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._sleep = sleep

    def send(
        self,
        *,
        user_id: str,
        title: str,
        body: str | None = None,
        channel: Channel = "websocket",
        request_id: str | None = None,
        type: Literal["info", "success", "warning", "error"] = "info",
        priority: Literal["high", "medium", "low"] = "medium",
        link: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        expires_at: str | None = None,
    ) -> Accepted:
        """Sends one notification to a user. Returns once it is stored.

        ``request_id`` is yours: the same one is delivered only once, so a second try after an error gives the
        same one again. Without it a random one is used, which protects only the attempts of this call.
        Raises Refused or Unavailable.
        """
        content = {"title": title, "body": body, "link": link}
        envelope: dict[str, Any] = {
            "request_id": request_id or uuid.uuid4().hex,
            "notification_type": channel,
            "user_id": user_id,
            "content": {name: value for name, value in content.items() if value is not None},
            "type": type,
            "priority": priority,
        }
        if metadata is not None:
            envelope["metadata"] = dict(metadata)
        if expires_at is not None:
            envelope["expires_at"] = expires_at
        return self.send_envelope(envelope)

    def send_envelope(self, envelope: Mapping[str, Any]) -> Accepted:
        """Sends a whole envelope, as the gateway documents it. Raises Refused or Unavailable."""
        data = json.dumps(envelope).encode()
        backoff = Backoff()
        for attempt in range(1, self._attempts + 1):
            try:
                return self._post(data)
            except _Again as again:
                if attempt == self._attempts:
                    raise Unavailable(f"{again} ({attempt} attempts)") from again
                self._sleep(max(again.after_s, backoff.next_s()))
        raise ValueError("attempts must be 1 or more")

    def _post(self, data: bytes) -> Accepted:
        request = urllib.request.Request(self._url, data, self._headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as response:
                answer = json.loads(response.read(_MOST_ANSWER_BYTES))
                replayed = response.headers.get("Idempotent-Replayed") == "true"
            return Accepted(answer["request_id"], tuple(answer["channels"]), replayed)
        except urllib.error.HTTPError as error:
            with error:
                raise _error_of(error) from None
        except (KeyError, TypeError):
            raise _Again("whoever answered is no gateway of notifications") from None
        except (OSError, HTTPException, ValueError) as error:
            raise _Again(str(error) or type(error).__name__) from error


class _Again(Exception):
    """Says that another attempt may succeed, after ``after_s`` seconds or more."""

    def __init__(self, text: str, after_s: float = 0.0) -> None:
        super().__init__(text)
        self.after_s = after_s


def _error_of(error: urllib.error.HTTPError) -> Refused | _Again:
    try:
        document = json.loads(error.read(_MOST_ANSWER_BYTES))
    except ValueError:
        document = {}
    document = document if isinstance(document, dict) else {}
    detail = str(document.get("detail") or document.get("title") or error.reason)
    # 409: the same request is being accepted right now.
    if error.code >= 500 or error.code in (409, 429):
        after = error.headers.get("Retry-After", "")
        return _Again(f"the gateway answered {error.code}: {detail}", float(after) if after.isdigit() else 0.0)
    fields = {one["field"]: one["detail"] for one in document.get("errors", ())}
    return Refused(error.code, detail, fields)
