"""Calls the gateway and the sandbox for the demo."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import requests

from ops.errors import OpsError
from ops.signals import undisturbed

# A publish may take 5 s; an operation on failed.queue ends within 60 s.
_TIMEOUT_S, _OPERATION_TIMEOUT_S = 10.0, 70.0
_POLL_S = 0.1


@dataclass(frozen=True)
class Delivery:
    """Describes one message that a provider accepted.

    ``at_s`` is the Unix time of that; ``gist`` is the text that its reader sees first.
    """

    provider: str
    target: str
    gist: str
    at_s: float


class _Service:
    """Exchanges JSON over HTTP with a service on this machine. Every call raises OpsError if there is no answer."""

    def __init__(self, name: str, base_url: str, headers: Mapping[str, str] | None = None) -> None:
        self._name, self.base_url = name, base_url
        self._session = requests.Session()
        # Calls on this machine must not go through a proxy from the environment.
        self._session.trust_env = False
        self._session.headers.update(headers or {})

    def close(self) -> None:
        self._session.close()

    def _call(self, method: str, path: str, timeout_s: float = _TIMEOUT_S, **more: Any) -> requests.Response:
        try:
            return self._session.request(
                method, f"{self.base_url}{path}", timeout=timeout_s, allow_redirects=False, **more
            )
        except requests.RequestException as exc:
            raise OpsError(f"{self._name} at {self.base_url} does not answer: {exc}") from exc

    def _document(self, answer: requests.Response) -> dict[str, Any]:
        """Returns the JSON of an answer with status 200. Raises OpsError for any other status."""
        if answer.status_code != 200:
            raise OpsError(f"{self._name}: {answer.status_code} {answer.text[:500]}")
        document: dict[str, Any] = answer.json()
        return document


class Gateway(_Service):
    """Calls the gateway. ``key`` is sent with every request if it is given."""

    def __init__(self, base_url: str, key: str | None) -> None:
        super().__init__("the gateway", base_url, {"X-API-Key": key} if key else None)

    def accept(self, envelope: Mapping[str, Any]) -> requests.Response:
        """Sends a notification, and returns the answer whether it is 202 or an error."""
        return self._call("POST", "/notifications", json=envelope)

    def channels(self) -> dict[str, dict[str, Any]]:
        """Returns what /health reports on each channel."""
        channels: dict[str, dict[str, Any]] = self._call("GET", "/health").json()["channels"]
        return channels

    def failed(self, request_id: str) -> list[dict[str, Any]]:
        """Returns the messages of this request in failed.queue."""
        items: list[dict[str, Any]] = self._operate("GET", "/failed", params={"request_id": request_id})["items"]
        return items

    def replay(self, request_id: str) -> dict[str, Any]:
        return self._operate("POST", "/failed/replay", json={"request_id": request_id})

    def discard(self, request_id: str) -> dict[str, Any]:
        return self._operate("POST", "/failed/discard", json={"request_id": request_id})

    def token(self, user_id: str) -> str:
        """Returns a token with which the devices of a user connect. Raises OpsError."""
        token: str = self._document(self._call("POST", "/auth/token", json={"user_id": user_id}))["token"]
        return token

    def inbox(self, user_id: str) -> list[dict[str, Any]]:
        """Returns the newest notifications in the user's inbox."""
        items: list[dict[str, Any]] = self._document(self._call("GET", f"/users/{user_id}/inbox"))["items"]
        return items

    def empty_inbox(self, user_id: str) -> None:
        """Deletes the notifications in the user's inbox."""
        while items := self.inbox(user_id):
            for item in items:
                self._document(self._call("DELETE", f"/users/{user_id}/inbox/{item['id']}"))

    def _operate(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        deadline = time.monotonic() + _OPERATION_TIMEOUT_S
        # 409 means that another operator is working on failed.queue; this takes a minute at most.
        while (answer := self._call(method, path, _OPERATION_TIMEOUT_S, **more)).status_code == 409:
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        return self._document(answer)


class Sandbox(_Service):
    """Controls the stand-in providers: reads what they have accepted, and makes them fail."""

    def __init__(self, base_url: str) -> None:
        super().__init__("the sandbox", base_url)

    def deliveries(self, request_id: str) -> list[Delivery]:
        """Returns the deliveries of this request, oldest first."""
        answer = self._call("GET", "/sandbox/deliveries", params={"request_id": request_id})
        return [_delivery(shown) for shown in self._document(answer)["deliveries"]]

    def faults(self) -> dict[str, Any]:
        """Returns the faults that are set now: provider -> fault."""
        faults: dict[str, Any] = self._document(self._call("GET", "/sandbox/faults"))["faults"]
        return faults

    @contextmanager
    def fault(self, provider: str, **fault: Any) -> Iterator[None]:
        """Sets the fault until the end of the block, also if the block ends with an error."""
        try:
            self._document(self._call("PUT", f"/sandbox/faults/{provider}", json=fault))
            yield
        finally:
            with undisturbed():
                self._call("DELETE", f"/sandbox/faults/{provider}")


def _delivery(shown: dict[str, Any]) -> Delivery:
    at_s = datetime.fromisoformat(shown["at"]).timestamp()
    return Delivery(shown["provider"], shown["target"], _gist(shown["payload"]), at_s)


def _gist(payload: dict[str, Any]) -> str:
    if "message" in payload:
        notification = payload["message"]["notification"]
        return f"{notification['title']}: {notification['body']}"
    if "headers" in payload:
        return str(payload["headers"]["Subject"])
    return str(payload.get("Body") or payload.get("text") or "")
