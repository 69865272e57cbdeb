"""Sends a gateway process what attackers and careless clients send to the routes of inboxes, tokens and presence.

The requests are written byte by byte, because a client library would mend their paths. Every answer is a documented
one and names the field; nothing that the answers do not admit is read or changed; and no log has a token or a user.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from email.message import Message
from http.client import HTTPConnection
from typing import Any, NamedTuple

import jwt
import pytest

from gateway.http.problem import ProblemDocument
from ops.servers import RabbitMQServer, RedisServer
from shared.realtime.tokens import Tokens
from shared.settings.load import load_settings
from shared.store.store import Store
from shared.store.values import Owner
from tests.support.gateway_process import GatewayProcess, gateway_process
from tests.support.stores import Databases, check_inboxes, new, rows_of

SECRET = "s" * 32
TOKENS = Tokens(load_settings(env_file=None, socket_token_keys=f"k1:{SECRET}").sockets.token_keys)
OPERATOR, BACKEND = "the-operators-key", "the-backends-key"
#: They stand in paths, tokens and bodies, and nowhere in a log.
ANN, EVE = "ann@secret.example", "eve@secret.example"


class Place(NamedTuple):
    """Holds a gateway and the database behind it."""

    gateway: GatewayProcess
    store: Store


class Reply(NamedTuple):
    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def fields(self) -> list[str]:
        """Returns the fields that a problem document names."""
        document = ProblemDocument.model_validate_json(self.body)
        assert document.status == self.status
        assert self.headers["Content-Type"] == "application/problem+json"
        return [error.field for error in document.errors]


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, rabbitmq: RabbitMQServer, redis_server: RedisServer, databases: Databases
) -> Iterator[Place]:
    vhost = f"test-{uuid.uuid4().hex[:12]}"
    rabbitmq.management.create_vhost(vhost)
    keys = {OPERATOR: "ops:operate", BACKEND: "backend:tokens"}
    settings: dict[str, Any] = {
        "API_KEYS": ",".join(f"{name}:{hashlib.sha256(key.encode()).hexdigest()}" for key, name in keys.items()),
        "SOCKET_TOKEN_KEYS": f"k1:{SECRET}",
    }
    with databases.empty("sqlite") as url:
        store = Store(url)
        directory, broker = tmp_path_factory.mktemp("gateway"), rabbitmq.vhost_url(vhost)
        with gateway_process(directory, broker, redis_server.url, DATABASE_URL=url, **settings) as running:
            yield Place(running, store)
            check_inboxes(store)
            log = running.log.read_text()
        store.close()
    # Whatever was sent above: the log has events, and names neither users nor secrets.
    assert '"event":"refused"' in log
    for secret in ("secret.example", SECRET, OPERATOR, BACKEND, "eyJ"):
        assert secret not in log
    rabbitmq.management.delete_vhost(vhost)


def send(
    place: Place, method: str, target: str, body: Any = None, credential: str | None = OPERATOR, **headers: str
) -> Reply:
    """Sends a request with this target, as it stands; ``body`` is bytes, or what becomes JSON."""
    with closing(HTTPConnection("127.0.0.1", place.gateway.port, timeout=20)) as connection:
        connection.putrequest(method, target, skip_accept_encoding=True)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if body is not None:
            headers = {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}
        if credential is not None:
            headers = {"Authorization": f"Bearer {credential}", **headers}
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(data or None)
        answer = connection.getresponse()
        reply = Reply(answer.status, answer.headers, answer.read())
    # Answers about users are kept by nobody on the way.
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in reply.headers
    return reply


def quoted(user_id: str) -> str:
    return "".join(f"%{byte:02X}" for byte in user_id.encode())


def fill(place: Place, user_id: str, count: int = 3) -> list[int]:
    """Stores notifications; returns the ids of all that the user has, the newest first."""
    place.store.insert([new(user_id, uuid.uuid4().hex) for _ in range(count)])
    return [row.id for row in place.store.page(Owner(user_id), limit=100).items]


ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/inbox", None),
    ("GET", "/inbox/count", None),
    ("GET", "/inbox/changes", None),
    ("GET", "/presence", None),
    ("GET", "/inbox/{id}", None),
    ("PATCH", "/inbox/{id}", {"read": True}),
    ("PATCH", "/inbox", {"upto": 2**53 - 1, "read": True}),
    ("PATCH", "/inbox", {"ids": ["{id}"], "archived": True}),
    ("DELETE", "/inbox/{id}", None),
]


def everywhere(place: Place, user_id: str, credential: str | None) -> list[Reply]:
    """Calls each route for this user with this credential."""
    (newest, *_) = fill(place, user_id, 1)
    replies = []
    for method, path, body in ROUTES:
        target = f"/users/{quoted(user_id)}{path.replace('{id}', str(newest))}"
        sent = {**body, "ids": [newest]} if body is not None and "ids" in body else body
        replies.append(send(place, method, target, sent, credential))
    replies.append(send(place, "POST", "/auth/ticket", {"user_id": user_id}, credential))
    return replies


def own_token(user_id: str, secret: str = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    now_s = int(time.time())
    claims = {"iss": "shop", "aud": "notify", "sub": user_id, "iat": now_s, "exp": now_s + 60, **changes}
    return jwt.encode(
        {name: value for name, value in claims.items() if value is not None}, secret, algorithm, {"kid": "k1"}
    )


@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
def test_no_credential_but_the_users_own_or_an_operators_opens_anything(place: Place) -> None:
    user = f"{uuid.uuid4().hex}@secret.example"
    head, _, signature = own_token(user).split(".")
    now_s = int(time.time())
    credentials = {
        "none": None,
        "unknown": "x",
        "expired": own_token(user, iat=now_s - 100, exp=now_s - 50),
        "without an end": own_token(user, exp=None),
        "for years": own_token(user, exp=now_s + 10**9),
        "for ever": own_token(user, exp=float("inf")),
        "alg none": own_token(user, "", "none"),
        "another algorithm": own_token(user, SECRET * 2, "HS512"),
        "another secret": own_token(user, "t" * 32),
        "another payload": f"{head}.{own_token(user, iss='x').split('.')[1]}.{signature}",
        "a refresh token": own_token(user, aud="notify-refresh"),
        "a number as the user": own_token(user, sub=7),
        "too long": own_token(user, filler="x" * 7000),
    }
    before = rows_of(place.store)
    for name, credential in credentials.items():
        for reply in everywhere(place, user, credential):
            assert reply.status == 401, name
            assert reply.headers["WWW-Authenticate"].startswith("Bearer"), name
            assert reply.fields == [], name
    assert len(rows_of(place.store)) == len(before) + len(credentials)
    assert place.store.summary(Owner(user)).unread == len(credentials)


def test_the_token_of_one_user_opens_nothing_of_another(place: Place) -> None:
    for reply in everywhere(place, ANN, own_token(EVE)):
        assert (reply.status, reply.fields) == (403, ["user_id"])
    for reply in everywhere(place, ANN, own_token(ANN)):
        assert reply.status == 200
    # Those who share a prefix, differ in case or in normal form are others.
    for other in (f"{ANN}/", ANN.upper(), ANN[:-1], f"{ANN} "):
        for reply in everywhere(place, other, own_token(ANN)):
            assert (reply.status, reply.fields) == (403, ["user_id"])


@pytest.mark.parametrize(
    "user_id", ["a/b", "../b", "..", ".", "/", "a//b", "a%2Fb", "a?b#c", "é ü", "\U0001f600", "a\\b"]
)
def test_a_user_id_is_taken_as_it_is(place: Place, user_id: str) -> None:
    user_id = f"{user_id}{uuid.uuid4().hex}/inbox"
    ids = fill(place, user_id)
    page = send(place, "GET", f"/users/{quoted(user_id)}/inbox", credential=own_token(user_id))
    assert (page.status, [item["id"] for item in page.json["items"]]) == (200, ids)
    marked = send(place, "PATCH", f"/users/{quoted(user_id)}/inbox/{ids[0]}", {"read": True}, own_token(user_id))
    assert (marked.status, marked.json["unread"]) == (200, 2)


@pytest.mark.parametrize(
    ("target", "status", "fields"),
    [
        ("/users/%00/inbox", 422, ["user_id"]),
        ("/users/a%00/inbox", 422, ["user_id"]),
        ("/users/a%0d%0aX-A:b/inbox", 422, ["user_id"]),
        ("/users/%FF/inbox", 422, ["user_id"]),
        ("/users/%ED%A0%80/inbox", 422, ["user_id"]),
        ("/users/%E2%80%AE/inbox", 422, ["user_id"]),
        (f"/users/{'a' * 257}/inbox", 422, ["user_id"]),
        ("/users//inbox", 404, []),
        ("/users/u1/notifications", 404, []),
        ("/users/u1", 404, []),
        ("/users", 404, []),
        ("/users/u1/inbox/", 404, []),
        ("/users/u1/inbox/9007199254740993", 404, ["nid"]),
        ("/users/u1/inbox/99999999999999999999", 404, []),
        ("/users/u1/inbox/-1", 404, []),
        ("/users/u1/inbox/0", 404, ["nid"]),
        ("/users/u1/inbox/1.0", 404, []),
        ("/users/u1/inbox/%D9%A7", 404, []),
        ("/users/u1/inbox/1%00", 404, []),
        ("/users/u1/inbox?limit=-1", 422, ["limit"]),
        ("/users/u1/inbox?limit=0", 422, ["limit"]),
        ("/users/u1/inbox?limit=1e9", 422, ["limit"]),
        ("/users/u1/inbox?limit=%D9%A7", 422, ["limit"]),
        ("/users/u1/inbox?limit", 422, ["limit"]),
        ("/users/u1/inbox?skip=-1", 422, ["skip"]),
        ("/users/u1/inbox?skip=10001", 422, ["skip"]),
        ("/users/u1/inbox?cursor=9007199254740992", 422, ["cursor"]),
        ("/users/u1/inbox?cursor=99999999999999999999999999", 422, ["cursor"]),
        ("/users/u1/inbox?cursor=-1", 422, ["cursor"]),
        ("/users/u1/inbox?status=read&status=unread", 422, ["status"]),
        ("/users/u1/inbox?status[]=read", 422, ["status[]"]),
        ("/users/u1/inbox?status=READ", 422, ["status"]),
        ("/users/u1/inbox?category=%FF", 422, ["category"]),
        ("/users/u1/inbox?category=%00", 422, ["category"]),
        ("/users/u1/inbox?" + "&".join(f"f{n}=1" for n in range(1000)), 422, [f"f{n}" for n in range(20)]),
        ("/users/u1/inbox/count?unread=1", 200, None),
        ("/users/u1/inbox/changes?position=", 422, ["position"]),
        ("/users/u1/inbox/changes?position=00000000:99999999999999999", 422, ["position"]),
        ("/users/u1/inbox/changes?position=0000000%00:1", 422, ["position"]),
        ("/users/u1/inbox/changes?position=:1&position=:2", 422, ["position"]),
        ("/users/u1/presence/", 404, []),
        ("/users/%00/presence", 422, ["user_id"]),
    ],
)
def test_each_fault_of_a_target_is_named(place: Place, target: str, status: int, fields: list[str] | None) -> None:
    fill(place, "u1", 1)
    reply = send(place, "GET", target)
    assert reply.status == status, reply.body
    if fields is not None:
        assert reply.fields == fields


def test_behind_the_end_there_is_an_empty_page(place: Place) -> None:
    user_id = uuid.uuid4().hex
    fill(place, user_id)
    for query in ("skip=10000", "skip=3", "cursor=1", "status=archived"):
        reply = send(place, "GET", f"/users/{user_id}/inbox?{query}", credential=own_token(user_id))
        assert (reply.status, reply.json) == (200, {"items": [], "next": None, "unread": 3})
    assert len(send(place, "GET", f"/users/{user_id}/inbox?cursor={2**53 - 1}").json["items"]) == 3


BODIES: list[tuple[bytes, int, list[str]]] = [
    (b"", 400, []),
    (b"nonsense", 400, []),
    (b"\xff\xfe", 400, []),
    (b'{"read": true', 400, []),
    (b'{"read": true}{}', 400, []),
    (b'{"read": true, "read": false}', 400, ["read"]),
    (b'{"read": NaN}', 400, ["read"]),
    (b'{"read": "\\ud800"}', 400, ["read"]),
    (b'{"\\ud800": 1}', 400, ["\\ud800"]),
    (b'{"read": ' + b"[" * 40 + b"]" * 40 + b"}", 400, None),  # type: ignore[list-item]
    (b"[]", 422, [""]),
    (b"null", 422, [""]),
    (b"true", 422, [""]),
    (b'"read"', 422, [""]),
    (b" " * 65_537, 413, []),
]


@pytest.mark.parametrize(
    "target",
    ["PATCH /users/u1/inbox/1", "PATCH /users/u1/inbox", "POST /auth/token", "POST /auth/ticket", "POST /auth/refresh"],
)
@pytest.mark.parametrize(("body", "status", "fields"), BODIES, ids=range(len(BODIES)))
def test_a_body_that_is_no_object_of_strict_json_is_refused(
    place: Place, target: str, body: bytes, status: int, fields: list[str] | None
) -> None:
    method, path = target.split(" ")
    credential = BACKEND if path.startswith("/auth") else OPERATOR
    reply = send(place, method, path, body, credential)
    assert reply.status == status, reply.body
    if fields is not None:
        assert reply.fields == fields
    if body:
        as_a_form = send(place, method, path, body, credential, Content_Type="application/x-www-form-urlencoded")
        assert (as_a_form.status, as_a_form.fields) == (415, [])


WRONG: list[Any] = [None, 0, 1, -1, 1.5, 2**53, "", "1", "true", [], [1], {}, {"a": 1}, "\x00"]
FIELDS: list[tuple[str, str, dict[str, Any], dict[str, list[Any]]]] = [
    ("PATCH", "/users/u1/inbox/1", {}, {"read": [], "archived": []}),
    ("PATCH", "/users/u1/inbox", {"read": True}, {"upto": [1], "ids": [[1]]}),
    ("PATCH", "/users/u1/inbox", {"ids": [1]}, {"read": [], "archived": []}),
    (
        "POST",
        "/auth/token",
        {"user_id": "u1"},
        {"user_id": [0, 1, -1, 2**53, "1", "true"], "channels": [[]], "ttl_s": [1]},
    ),
    (
        "POST",
        "/auth/ticket",
        {"user_id": "u1"},
        {"user_id": [0, 1, -1, 2**53, "1", "true"], "channels": [[]], "ttl_s": [1]},
    ),
    ("POST", "/auth/refresh", {}, {"refresh_token": []}),
]


@pytest.mark.parametrize(("method", "path", "rest", "fields"), FIELDS)
def test_a_value_of_a_wrong_type_is_refused_in_every_field(
    place: Place, method: str, path: str, rest: dict[str, Any], fields: dict[str, list[Any]]
) -> None:
    credential = BACKEND if path.startswith("/auth") else OPERATOR
    for field, right in fields.items():
        for value in WRONG:
            reply = send(place, method, path, {**rest, field: value}, credential)
            if value in right and not isinstance(value, bool):
                assert reply.status == 200, (field, value, reply.body)
            elif field == "refresh_token" and isinstance(value, str) and value:
                assert (reply.status, reply.fields) == (401, ["refresh_token"]), (field, value)
            else:
                assert reply.status == 422, (field, value, reply.body)
                named = reply.fields
                # null is the same as an absent field: another one may be missing then.
                assert named
                assert value is None or all(name.partition(".")[0] == field for name in named), (field, value, named)


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_a_header_does_not_turn_a_read_into_a_write(place: Place, name: str) -> None:
    user_id = uuid.uuid4().hex
    (newest, *_) = fill(place, user_id)
    for method in ("GET", "HEAD"):
        assert send(place, method, f"/users/{user_id}/inbox/{newest}?_method=DELETE", **{name: "DELETE"}).status == 200
    assert send(place, "POST", f"/users/{user_id}/inbox/{newest}", b"{}", **{name: "DELETE"}).status == 405
    assert place.store.summary(Owner(user_id)).total == 3


@pytest.mark.parametrize("method", ["PUT", "POST", "TRACE", "PROPFIND", "X"])
def test_a_method_that_does_not_exist_is_405(place: Place, method: str) -> None:
    reply = send(place, method, "/users/u1/inbox")
    assert (reply.status, reply.fields) == (405, [])
    assert set(reply.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "PATCH"}


def test_a_refresh_token_is_good_once_and_names_its_field_afterwards(place: Place) -> None:
    pair = send(place, "POST", "/auth/token", {"user_id": ANN}, BACKEND).json
    second = send(place, "POST", "/auth/refresh", {"refresh_token": pair["refresh_token"]}, None).json
    send(place, "POST", "/auth/refresh", {"refresh_token": second["refresh_token"]}, None)
    for token in (pair["refresh_token"], second["refresh_token"], pair["token"]):
        stolen = send(place, "POST", "/auth/refresh", {"refresh_token": token}, None)
        assert (stolen.status, stolen.fields) == (401, ["refresh_token"])
        assert ANN not in stolen.body.decode()
        assert token not in stolen.body.decode()


def test_patches_and_deletes_at_once_end_in_one_state(place: Place) -> None:
    user_id = uuid.uuid4().hex
    ids = fill(place, user_id, 20)
    target = f"/users/{user_id}/inbox"

    def act(number: int) -> Reply:
        some = ids[number % len(ids)]
        kinds = [
            lambda: send(place, "PATCH", f"{target}/{some}", {"read": number % 2 == 0, "archived": number % 3 == 0}),
            lambda: send(place, "PATCH", target, {"upto": some, "read": True}),
            lambda: send(place, "PATCH", target, {"ids": ids[:5], "archived": number % 2 == 0}),
            lambda: send(place, "DELETE", f"{target}/{some}"),
        ]
        return kinds[number % 7 % 4]()

    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(act, range(200)))

    assert {reply.status for reply in replies} <= {200, 404}
    offsets = [reply.json["offset"] for reply in replies if reply.status == 200 and reply.json.get("changed")]
    assert len(offsets) == len(set(offsets))
    found = send(place, "GET", f"{target}?limit=100").json
    counted = send(place, "GET", f"{target}/count").json
    shown = [item for item in found["items"] if item["read_at"] is None and item["archived_at"] is None]
    assert (len(found["items"]), len(shown), found["unread"]) == (
        counted["total"],
        counted["unread"],
        counted["unread"],
    )
