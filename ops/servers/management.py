"""The few calls of RabbitMQ's management API that we need: 5 ms each, where rabbitmqctl costs a second."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class QueueCounts:
    """What a queue holds. ``held`` dead letters wait inside it for their target: in neither of the other two."""

    name: str
    messages: int
    ready: int
    unacknowledged: int

    @property
    def held(self) -> int:
        return self.messages - self.ready - self.unacknowledged


@dataclass(frozen=True)
class QuorumQueue:
    """Names of nodes: ``leader`` is None while there is none; ``online`` are those of ``members`` that live."""

    name: str
    leader: str | None
    members: tuple[str, ...]
    online: tuple[str, ...]


class Management:
    """Raises requests.RequestException when the broker does not answer or refuses."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._url = url.rstrip("/")
        self._credentials = (user, password)

    def create_vhost(self, name: str, user: str = "guest") -> None:
        self._call("PUT", f"/api/vhosts/{quote(name, safe='')}")
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self._call("PUT", f"/api/permissions/{quote(name, safe='')}/{quote(user, safe='')}", everything)

    def delete_vhost(self, name: str) -> None:
        self._call("DELETE", f"/api/vhosts/{quote(name, safe='')}")

    def vhosts(self) -> list[str]:
        return [vhost["name"] for vhost in self._call("GET", "/api/vhosts")]

    def running_nodes(self) -> list[str]:
        """Names of the cluster's nodes that this one sees running."""
        return [node["name"] for node in self._call("GET", "/api/nodes") if node["running"]]

    def quorum_queues(self, vhost: str) -> dict[str, QuorumQueue]:
        """Every quorum queue of the virtual host, by name: who leads it now, and which members live."""
        rows = self._call("GET", f"/api/queues/{quote(vhost, safe='')}?disable_stats=true")
        return {
            row["name"]: QuorumQueue(row["name"], row["leader"] or None, tuple(row["members"]), tuple(row["online"]))
            for row in rows
            if row["type"] == "quorum"
        }

    def list_queues(self, vhost: str = "/") -> dict[str, QueueCounts]:
        """Every queue of the virtual host, by name.

        The counts of a quorum queue are as old as ``quorum_tick_s`` of the server.
        """
        # Without these two the counts come from statistics that are 5 s old and cost the broker memory.
        path = f"/api/queues/{quote(vhost, safe='')}?disable_stats=true&enable_queue_totals=true"
        return {
            row["name"]: QueueCounts(
                name=row["name"],
                messages=row.get("messages", 0),
                ready=row.get("messages_ready", 0),
                unacknowledged=row.get("messages_unacknowledged", 0),
            )
            for row in self._call("GET", path)
        }

    def _call(self, method: str, path: str, body: object = None) -> Any:
        with requests.Session() as session:
            # A proxy from the environment has no business on this machine.
            session.trust_env = False
            answer = session.request(method, self._url + path, json=body, auth=self._credentials, timeout=TIMEOUT_S)
        answer.raise_for_status()
        return answer.json() if answer.content else None
