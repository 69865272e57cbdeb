import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from shared.errors import BadSettings, SourceNotFound, SourceUnavailable, SourceUnreadable
from shared.metrics import Metrics
from shared.settings.load import load_settings
from shared.templates.library import HttpLibrary
from shared.templates.template import Template
from shared.users.directory import HttpDirectory
from shared.users.user import User
from tests.support.peers.source_service import (
    Answer,
    SourceService,
    cut,
    found,
    in_turn,
    json_answer,
    source_service,
    text_answer,
)
from tests.support.waiting import eventually_async

ANN = {"id": "u1", "email": "ann@example.com", "push_tokens": ["t1"], "preferences": {"push": True}, "locale": "en"}
FAST = {"source_timeout_s": 0.3, "breaker_open_s": 0.3, "breaker_open_max_s": 0.5, "pause_probe_s": 0.05}


@pytest.fixture
async def service() -> AsyncIterator[SourceService]:
    async with source_service() as running:
        running.answer = found(ANN)
        yield running


@asynccontextmanager
async def directory_of(
    service: SourceService, metrics: Metrics | None = None, **settings: Any
) -> AsyncIterator[HttpDirectory]:
    overrides: dict[str, Any] = {**FAST, "user_endpoint": service.url, **settings}
    async with HttpDirectory(load_settings(None, **overrides), metrics or Metrics()) as directory:
        yield directory


async def fail_until_open(directory: HttpDirectory) -> None:
    with pytest.raises(SourceUnavailable):
        await directory.user("nobody")
    assert directory.is_open


def found_unless_called(bad: str) -> Answer:
    """Returns a handler that finds every user, except that the service fails for one key."""

    async def answer(request: web.Request) -> web.StreamResponse:
        failing = request.path.endswith(f"/{bad}")
        return await (json_answer({}, 503) if failing else found(ANN))(request)

    return answer


async def test_a_user_is_looked_up_once_while_the_entry_lives(service: SourceService) -> None:
    async with directory_of(service) as directory:
        users = [await directory.user("u1") for _ in range(3)]
    assert users == [User.model_validate(ANN)] * 3
    assert service.paths == ["/api/things/u1"]


async def test_a_template_is_looked_up_by_its_code(service: SourceService) -> None:
    service.answer = json_answer({"code": "OTP", "subject": None, "title": "t", "body": "b", "html": None, "extra": 1})
    settings = load_settings(None, template_endpoint=service.url + "/", **FAST)
    async with HttpLibrary(settings, Metrics()) as templates:
        assert await templates.get("OTP") == Template(code="OTP", title="t", body="b")
    assert service.paths == ["/api/things/OTP"]


@pytest.mark.parametrize(
    ("user_id", "path"),
    [
        ("u?x=1#y", "/api/things/u%3Fx%3D1%23y"),
        ("a b+c%41", "/api/things/a%20b%2Bc%2541"),
        ("..a", "/api/things/..a"),
        ("auth0|4;x=1", "/api/things/auth0%7C4%3Bx%3D1"),
        ("jörg", "/api/things/j%C3%B6rg"),
    ],
)
async def test_an_id_is_one_part_of_the_path_whatever_it_says(service: SourceService, user_id: str, path: str) -> None:
    async with directory_of(service) as directory:
        await directory.user(user_id)
    assert service.paths == [path]


@pytest.mark.parametrize(
    "user_id",
    [
        *(".", "..", "../admin", "a/b", "..\\admin", "a\\b", "..;/admin", "..;x", " ..", "\N{FULLWIDTH FULL STOP}" * 2),
        *(
            "%2e%2e",
            "..%2fadmin",
            "%252e%252e%252fadmin",
            "a%5cb",
            "%252525252e",
            "%c0%ae%c0%ae",
            "a\x00b",
            "\N{FULLWIDTH SOLIDUS}a",
        ),
    ],
)
async def test_an_id_that_leads_out_of_the_collection_is_not_found(service: SourceService, user_id: str) -> None:
    async with directory_of(service) as directory:
        with pytest.raises(SourceNotFound):
            await directory.user(user_id)
    assert service.paths == []


@pytest.mark.parametrize("status", [404, 410, 400, 422])
async def test_a_missing_user_is_cached_for_a_moment_and_is_no_failure(service: SourceService, status: int) -> None:
    service.answer = json_answer({}, status)
    async with directory_of(service) as directory:
        for _ in range(20):
            with pytest.raises(SourceNotFound) as missing:
                await directory.user("u9")
        assert not directory.is_open
    assert missing.value.source == "users"
    assert len(service.paths) == 1


async def test_a_missing_user_that_is_created_is_found_soon(service: SourceService) -> None:
    service.answer = in_turn(json_answer({}, 404), found(ANN))
    async with directory_of(service, source_ttl_s=0.05) as directory:
        with pytest.raises(SourceNotFound):
            await directory.user("u1")

        async def known() -> User | None:
            try:
                return await directory.user("u1")
            except SourceNotFound:
                return None

        assert await eventually_async(known) == User.model_validate(ANN)


async def test_a_passing_fault_is_tried_again_at_once(service: SourceService) -> None:
    service.answer = in_turn(json_answer({}, 503), cut, found(ANN))
    async with directory_of(service) as directory:
        assert (await directory.user("u1")).id == "u1"
    assert len(service.paths) == 3


async def test_three_attempts_and_no_more(service: SourceService) -> None:
    service.answer = json_answer({}, 500)
    async with directory_of(service) as directory:
        with pytest.raises(SourceUnavailable, match="users: 500"):
            await directory.user("u1")
    assert len(service.paths) == 3


@pytest.mark.parametrize("status", [301, 307, 401, 403])
async def test_a_refusal_or_a_redirect_is_not_tried_again_nor_followed(service: SourceService, status: int) -> None:
    service.answer = json_answer({}, status, Location=service.url + "/elsewhere")
    async with directory_of(service) as directory:
        with pytest.raises(SourceUnavailable, match=f"users: {status}"):
            await directory.user("u1")
    assert service.paths == ["/api/things/u1"]


UNREADABLE = [
    "",
    "[]",
    "not json",
    "<html>Under maintenance</html>",
    '{"id": true}',
    '{"id": "u1", "preferences": 3, "email": "ann@example.com"}',
    '{"id": "another", "email": "ann@example.com"}',
]


@pytest.mark.parametrize("text", UNREADABLE)
async def test_an_unreadable_answer_is_the_fault_of_this_record_alone_and_not_quoted(
    service: SourceService, text: str
) -> None:
    """The very first answer of a new worker is unreadable: nothing shows yet that the service works."""
    service.answer = text_answer(text)
    async with directory_of(service, breaker_failures=1) as directory:
        for _ in range(5):
            with pytest.raises(SourceUnreadable, match="unreadable") as refused:
                await directory.user("u1")
        assert not directory.is_open
        assert directory.breaker.state == "closed"
        service.answer = found(ANN)
        assert (await directory.user("u2")).id == "u2"
    assert "ann@" not in str(refused.value)
    assert "another" not in str(refused.value)
    assert service.paths == ["/api/things/u1", "/api/things/u2"]


async def test_an_answer_in_a_broken_encoding_is_unreadable_and_one_that_is_cut_is_no_answer(
    service: SourceService,
) -> None:
    service.answer = text_answer("no gzip", Content_Encoding="gzip")
    async with directory_of(service) as directory:
        with pytest.raises(SourceUnreadable):
            await directory.user("u1")
        assert not directory.is_open
        service.answer = cut
        with pytest.raises(SourceUnavailable):
            await directory.user("u2")


async def test_a_record_that_was_mended_is_found_soon(service: SourceService) -> None:
    service.answer = in_turn(text_answer("[]"), found(ANN))
    async with directory_of(service, source_ttl_s=0.05) as directory:
        with pytest.raises(SourceUnreadable):
            await directory.user("u1")

        async def known() -> User | None:
            try:
                return await directory.user("u1")
            except SourceUnreadable:
                return None

        assert await eventually_async(known) == User.model_validate(ANN)


async def test_an_unreadable_answer_for_another_key_shows_that_the_service_answers(service: SourceService) -> None:
    async with directory_of(service) as directory:
        with pytest.raises(SourceUnreadable):
            service.answer = text_answer("[]")
            await directory.user("odd")

        async def only_odd(request: web.Request) -> web.StreamResponse:
            return await (text_answer("[]") if request.path.endswith("odd") else json_answer({}, 503))(request)

        service.answer = only_odd
        with pytest.raises(SourceUnavailable):
            await directory.user("bad")
        assert not directory.is_open


async def test_a_template_under_another_code_is_not_the_one_asked_for(service: SourceService) -> None:
    service.answer = json_answer({"code": "otp", "title": "t", "body": "b"})
    async with HttpLibrary(load_settings(None, template_endpoint=service.url, **FAST), Metrics()) as templates:
        with pytest.raises(SourceUnreadable, match="code: not the one asked for"):
            await templates.get("OTP")
        assert not templates.is_open


async def test_an_endless_answer_is_not_read_to_its_end(service: SourceService) -> None:
    service.answer = text_answer('{"id": "' + "a" * 3_000_000 + '"}')
    async with directory_of(service, source_timeout_s=5) as directory:
        with pytest.raises(SourceUnreadable, match="unreadable"):
            await directory.user("u1")


async def test_a_service_that_hangs_costs_three_timeouts_within_the_budget(service: SourceService) -> None:
    service.gate.clear()
    async with directory_of(service, source_timeout_s=0.2) as directory:
        began = time.monotonic()
        with pytest.raises(SourceUnavailable, match="TimeoutError"):
            await directory.user("u1")
        assert time.monotonic() - began < 2
    assert len(service.paths) == 3


async def test_no_attempt_begins_that_could_not_end_within_the_budget(service: SourceService) -> None:
    service.gate.clear()
    async with directory_of(service, source_timeout_s=60, handling_budget_s=1.5) as directory:
        began = time.monotonic()
        with pytest.raises(SourceUnavailable):
            await directory.user("u1")
        assert time.monotonic() - began < 1.0
    assert len(service.paths) == 1


async def test_a_service_that_does_not_listen_is_unavailable() -> None:
    async with source_service() as gone:
        pass
    async with directory_of(gone) as directory:
        with pytest.raises(SourceUnavailable, match="ClientConnectorError"):
            await directory.user("u1")


async def test_an_open_breaker_sends_no_request_and_says_when_to_try_again(service: SourceService) -> None:
    metrics = Metrics()
    service.answer = json_answer({}, 500)
    async with directory_of(service, metrics, breaker_open_s=30, breaker_open_max_s=30) as directory:
        await fail_until_open(directory)
        asked = len(service.paths)
        with pytest.raises(SourceUnavailable, match="breaker open"):
            await directory.user("u1")
        assert len(service.paths) == asked == 3
        assert 20 < directory.retry_in_s() < 37
    labels = {"channel": "", "provider": "users"}
    assert metrics.registry.get_sample_value("notify_breaker_state", labels) == 2


async def test_a_service_that_answers_nobody_is_away_at_the_first_failed_fetch(service: SourceService) -> None:
    service.answer = json_answer({}, 503)
    async with directory_of(service) as directory:
        waiting = [asyncio.create_task(directory.user("u1")) for _ in range(256)]
        failures = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(failure, SourceUnavailable) for failure in failures)
        assert directory.is_open
    assert len(service.paths) == 3


async def test_a_service_that_answered_before_is_asked_for_another_key_first(service: SourceService) -> None:
    async with directory_of(service) as directory:
        await directory.user("known")
        service.answer = json_answer({}, 503)
        with pytest.raises(SourceUnavailable):
            await directory.user("u1")
        assert directory.is_open
    assert service.paths[1:] == ["/api/things/u1"] * 3 + ["/api/things/known"]


@pytest.mark.parametrize("status", [404, 200])
async def test_a_key_that_fails_alone_does_not_stop_the_others(service: SourceService, status: int) -> None:
    async with directory_of(service) as directory:
        service.answer = found(ANN, status)
        with contextlib.suppress(SourceNotFound):
            await directory.user("known")
        service.answer = found_unless_called("bad")
        for _ in range(20):
            with pytest.raises(SourceUnavailable, match="503"):
                await directory.user("bad")
            assert not directory.is_open
        await directory.user("somebody")
    assert service.paths.count("/api/things/bad") == 3


async def test_a_failing_key_is_asked_for_again_after_a_while(service: SourceService) -> None:
    async with directory_of(service) as directory:
        await directory.user("known")
        service.answer = found_unless_called("bad")
        with pytest.raises(SourceUnavailable):
            await directory.user("bad")
        service.answer = found(ANN)

        async def known() -> User | None:
            try:
                return await directory.user("bad")
            except SourceUnavailable:
                return None

        assert await eventually_async(known)


async def test_answers_to_others_meanwhile_are_proof_enough(service: SourceService) -> None:
    service.answer = found_unless_called("bad")
    async with directory_of(service) as directory:
        failing = asyncio.create_task(directory.user("bad"))
        await eventually_async(lambda: service.paths)
        await directory.user("somebody")
        with pytest.raises(SourceUnavailable):
            await failing
        assert not directory.is_open
    assert sorted(service.paths) == ["/api/things/bad"] * 3 + ["/api/things/somebody"]


async def test_a_hanging_service_is_away_within_the_budget(service: SourceService) -> None:
    async with directory_of(service, source_timeout_s=0.3, handling_budget_s=2.5) as directory:
        await directory.user("known")
        service.gate.clear()
        began = time.monotonic()
        with pytest.raises(SourceUnavailable):
            await directory.user("u1")
        assert directory.is_open
        assert time.monotonic() - began < 0.3 * 2.5 + 0.2
    assert service.paths[1:] == ["/api/things/u1", "/api/things/known"]


async def test_what_the_cache_holds_is_served_while_the_service_is_away(service: SourceService) -> None:
    async with directory_of(service) as directory:
        await directory.user("u1")
        service.answer = json_answer({}, 500)
        await fail_until_open(directory)
        assert (await directory.user("u1")).id == "u1"


async def test_large_records_do_not_fill_the_memory(service: SourceService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.lookup.cached.MOST_CACHED_BYTES", 2_000_000)
    service.answer = found({**ANN, "locale": "x" * 900_000})
    async with directory_of(service) as directory:
        for user_id in ("u1", "u2", "u3", "u3", "u1"):
            assert len((await directory.user(user_id)).locale or "") == 900_000
    assert [path.rpartition("/")[2] for path in service.paths] == ["u1", "u2", "u3", "u1"]


async def test_what_a_record_holds_beside_ours_takes_no_room(
    service: SourceService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.lookup.cached.MOST_CACHED_BYTES", 2_000_000)
    service.answer = found({**ANN, "photo": "x" * 900_000})
    async with directory_of(service) as directory:
        for user_id in ("u1", "u2", "u3", "u1"):
            await directory.user(user_id)
    assert len(service.paths) == 3


async def test_one_successful_probe_closes_it(service: SourceService) -> None:
    service.answer = json_answer({}, 500)
    async with directory_of(service) as directory:
        await fail_until_open(directory)
        service.answer = found(ANN)
        await eventually_async(lambda: not directory.is_open)
        await directory.user("u1")
        assert directory.breaker.state == "closed"


async def test_a_cancelled_probe_frees_its_place(service: SourceService) -> None:
    service.answer = json_answer({}, 500)
    async with directory_of(service, source_timeout_s=5) as directory:
        await fail_until_open(directory)
        await eventually_async(lambda: directory.retry_in_s() == 0)
        service.gate.clear()
        probe = asyncio.create_task(directory.user("u1"))
        await eventually_async(lambda: directory.breaker.state == "half_open" and directory.is_open)
        await directory.__aexit__()
        assert not directory.is_open
        await asyncio.gather(probe, return_exceptions=True)


async def test_too_many_requests_pause_without_counting_as_failures(service: SourceService) -> None:
    service.answer = json_answer({}, 429, Retry_After="20")
    async with directory_of(service) as directory:
        with pytest.raises(SourceUnavailable, match="429"):
            await directory.user("u1")
        assert 19 < directory.retry_in_s() <= 20
        assert directory.breaker.state == "closed"
    assert len(service.paths) == 1


async def test_memory_holds_no_more_than_it_may(service: SourceService) -> None:
    async with directory_of(service, source_cache_entries=2) as directory:
        for user_id in ("a", "b", "c", "a"):
            await directory.user(user_id)
    assert len(service.paths) == 4


@pytest.mark.parametrize("endpoint", ["users.example.com", "ftp://x/users", "http://", "http://x/users?key=1"])
def test_a_bad_endpoint_names_its_setting(endpoint: str) -> None:
    with pytest.raises(BadSettings, match="USER_ENDPOINT"):
        HttpDirectory(load_settings(None, user_endpoint=endpoint), Metrics())


async def test_without_an_endpoint_in_production_the_setting_is_named() -> None:
    async with HttpDirectory(load_settings(None, notify_env="production"), Metrics()) as directory:
        with pytest.raises(SourceUnavailable, match="USER_ENDPOINT is not set"):
            await directory.user("u1")
