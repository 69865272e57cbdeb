"""Calls RabbitMQ's management API, which takes 5 ms per call, while rabbitmqctl takes a second."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class QueueCounts:
    """Counts the messages of a queue.

    ``held`` counts dead letters that wait inside the queue for their target: they are neither ready nor unacknowledged.
    """

    name: str
    messages: int
    ready: int
    unacknowledged: int

    @property
    def held(self) -> int:
        return self.messages - self.ready - self.unacknowledged


@dataclass(frozen=True)
class QuorumQueue:
    """Names the nodes of a quorum queue.

    ``leader`` is None while there is none; ``online`` are those of ``members`` that are running.
    """

    name: str
    leader: str | None
    members: tuple[str, ...]
    online: tuple[str, ...]


class Management:
    """Calls the management API at ``url``.

    Every method raises requests.RequestException if the broker does not answer or refuses.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self._url = url.rstrip("/")
        self._credentials = (user, password)

    def create_vhost(self, name: str, user: str = "guest") -> None:
        self._call("PUT", f"/api/vhosts/{quote(name, safe='')}")
        self.permit(name, user=user)

    def delete_vhost(self, name: str) -> None:
        self._call("DELETE", f"/api/vhosts/{quote(name, safe='')}")

    def permit(self, vhost: str, configure: str = ".*", *, user: str = "guest") -> None:
        """Lets the user write and read everything in the virtual host, and declare what matches ``configure``."""
        permissions = {"configure": configure, "write": ".*", "read": ".*"}
        self._call("PUT", f"/api/permissions/{quote(vhost, safe='')}/{quote(user, safe='')}", permissions)

    def set_password(self, user: str, password: str) -> None:
        """Sets the password of an administrator."""
        self._call("PUT", f"/api/users/{quote(user, safe='')}", {"password": password, "tags": "administrator"})

    def vhosts(self) -> list[str]:
        return [vhost["name"] for vhost in self._call("GET", "/api/vhosts")]

    def running_nodes(self) -> list[str]:
        """Returns the names of the cluster's nodes that this node sees running."""
        return [node["name"] for node in self._call("GET", "/api/nodes") if node["running"]]

    def connections(self, vhost: str) -> dict[str, str]:
        """Returns the connections of the virtual host: the client's name of a connection -> the broker's name of it."""
        rows = self._call("GET", f"/api/vhosts/{quote(vhost, safe='')}/connections")
        return {row["client_properties"].get("connection_name", ""): row["name"] for row in rows}

    def close_connection(self, name: str, reason: str) -> None:
        """Closes the connection that the broker calls ``name``; its unacknowledged messages return to their queues."""
        self._call("DELETE", f"/api/connections/{quote(name, safe='')}", headers={"X-Reason": reason})

    def bindings(self, vhost: str) -> set[tuple[str, str, str]]:
        """Returns every binding of the virtual host: (exchange, queue or other exchange, routing key)."""
        rows = self._call("GET", f"/api/bindings/{quote(vhost, safe='')}")
        return {(row["source"], row["destination"], row["routing_key"]) for row in rows}

    def quorum_queue(self, vhost: str, name: str) -> QuorumQueue:
        """Returns one quorum queue as it is now. Takes 2 s while a member is frozen."""
        return _quorum_queue(self._call("GET", f"{_queues(vhost)}/{quote(name, safe='')}?disable_stats=true"))

    def quorum_queues(self, vhost: str) -> list[QuorumQueue]:
        """Returns every quorum queue of the virtual host as it is now. Takes 2 s per queue while a member is frozen."""
        rows = self._call("GET", f"{_queues(vhost)}?disable_stats=true")
        return [_quorum_queue(row) for row in rows if row["type"] == "quorum"]

    def list_queues(self, vhost: str = "/") -> dict[str, QueueCounts]:
        """Returns every queue of the virtual host, by name.

        The counts of a quorum queue are as old as ``quorum_tick_s`` of the server.
        """
        # Without these two parameters the counts come from statistics that are 5 s old and cost the broker memory.
        path = f"{_queues(vhost)}?disable_stats=true&enable_queue_totals=true"
        return {
            row["name"]: QueueCounts(
                name=row["name"],
                messages=row.get("messages", 0),
                ready=row.get("messages_ready", 0),
                unacknowledged=row.get("messages_unacknowledged", 0),
            )
            for row in self._call("GET", path)
        }

    def _call(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Any:
        with requests.Session() as session:
            # Calls on this machine must not go through a proxy from the environment.
            session.trust_env = False
            answer = session.request(
                method, self._url + path, json=body, headers=headers, auth=self._credentials, timeout=TIMEOUT_S
            )
        answer.raise_for_status()
        return answer.json() if answer.content else None


def _queues(vhost: str) -> str:
    return f"/api/queues/{quote(vhost, safe='')}"


def _quorum_queue(row: dict[str, Any]) -> QuorumQueue:
    return QuorumQueue(row["name"], row["leader"] or None, tuple(row["members"]), tuple(row["online"]))
