from collections.abc import Awaitable, Callable

import orjson
import pytest

from services.sms import twilio, vonage
from shared.errors import Refusal, Refused
from shared.http.client import Response
from tests.support.messages import (
    BEYOND,
    DOWN,
    NOT_HERE,
    OURS,
    PAYLOAD,
    QUOTA,
    RATE,
    RECIPIENT,
    UNPROVEN,
    built,
    message,
    send,
)


def twilio_answer(status: int, code: object) -> Response:
    return Response(status, {"retry-after": "2"}, orjson.dumps({"code": code, "message": "+15005550009 is not"}))


def vonage_answer(status: object, text: str = "", http: int = 200) -> Response:
    body = {"message-count": "1", "messages": [{"status": status, "error-text": text}]}
    return Response(http, {}, orjson.dumps(body))


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        *((400, code, RECIPIENT) for code in (21211, 21610, 21614)),
        *((400, code, NOT_HERE) for code in (21408, 21612)),
        *((400, code, UNPROVEN) for code in (21608, 30007)),
        (400, 21617, PAYLOAD),
        *((429, code, RATE) for code in (20429, 21611)),
        (429, 63038, QUOTA),
        *((status, code, OURS) for status, code in ((400, 21606), (401, 20003), (403, 20005), (401, None))),
        *((status, code, DOWN) for status, code in ((500, 20500), (503, 20503), (400, 99999), (307, None))),
        *((status, code, DOWN) for status, code in ((403, "21211"), (400, True))),
        (400, 30003, BEYOND),
        (413, None, PAYLOAD),
        (429, None, RATE),
    ],
)
def test_twilio_decides_by_its_code_and_then_by_http(status: int, code: object, expected: Refusal) -> None:
    assert twilio.refused(twilio_answer(status, code)).refusal == expected


def test_twilios_text_names_no_number() -> None:
    error = twilio.refused(twilio_answer(400, 21211))
    assert str(error) == "twilio 400 21211: To is not a phone number"


def test_twilios_time_is_forwarded() -> None:
    error = twilio.refused(twilio_answer(429, 20429))
    assert error.refusal is RATE
    assert error.retry_after_s == 2


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ("1 10", RATE),
        ("2 3 29", UNPROVEN),
        ("12", PAYLOAD),
        ("15", NOT_HERE),
        ("4 8 9 11 14 23 32", OURS),
        ("5", DOWN),
        ("6 7 22 33", RECIPIENT),
    ],
)
def test_vonage_decides_by_the_first_messages_status(statuses: str, expected: Refusal) -> None:
    assert {status: vonage.refused(vonage_answer(status)).refusal for status in statuses.split()} == dict.fromkeys(
        statuses.split(), expected
    )


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        ("3", "Invalid value for parameter: to", RECIPIENT),
        ("2", "Missing to", RECIPIENT),
        ("3", "Invalid value for parameter: text", PAYLOAD),
        ("3", "Invalid value for parameter: from", OURS),
        ("2", "Missing api_key", OURS),
        ("3", "Invalid value for param: client-ref", UNPROVEN),
        ("3", "", UNPROVEN),
    ],
)
def test_vonage_tells_whose_parameter_is_wrong(status: str, text: str, expected: Refusal) -> None:
    assert vonage.refused(vonage_answer(status, text)).refusal == expected


def parts(*statuses: object, count: object = None) -> Response:
    messages = [{"status": status, "message-id": f"id-{n}"} for n, status in enumerate(statuses)]
    return Response(200, {}, orjson.dumps({"message-count": str(count or len(statuses)), "messages": messages}))


@pytest.mark.parametrize(
    ("response", "expected", "ambiguous"),
    [
        (parts("0", "0", "1"), RATE, True),
        (parts("0", "9"), OURS, True),
        (parts("1", "0"), RATE, True),
        (parts("6", "0", "0"), RECIPIENT, True),
        (parts("0", None), DOWN, True),
        (parts("0", "0", count=3), DOWN, True),
        (parts("6", "6"), RECIPIENT, False),
        (parts("1", "1", "1"), RATE, False),
    ],
)
async def test_every_part_of_a_long_message_counts(
    response: Response, expected: Refusal, ambiguous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = built(vonage.build, "vonage://k:s@127.0.0.1:1?from=N&tls=0")
    monkeypatch.setattr(made._http, "post", answering(response))
    with pytest.raises(Refused) as caught:
        await send(made, message("+15550001"))
    assert (caught.value.refusal, caught.value.ambiguous) == (expected, ambiguous)


@pytest.mark.parametrize("response", [parts("0"), parts("0", "0", "0"), parts("0", count="many")])
async def test_a_message_whose_parts_are_all_accepted_is_sent(
    response: Response, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = built(vonage.build, "vonage://k:s@127.0.0.1:1?from=N&tls=0")
    monkeypatch.setattr(made._http, "post", answering(response))
    assert await send(made, message("+15550001")) == "id-0"


def answering(response: Response) -> Callable[..., Awaitable[Response]]:
    async def post(*_: object) -> Response:
        return response

    return post


@pytest.mark.parametrize("status", ["77", 0, None, [], {"a": 1}])
def test_a_200_of_vonage_without_a_known_status_may_mean_acceptance(status: object) -> None:
    error = vonage.refused(vonage_answer(status))
    assert error.refusal is DOWN
    assert error.ambiguous


@pytest.mark.parametrize(("http", "expected"), [(401, OURS), (429, RATE), (503, DOWN), (403, DOWN)])
def test_vonages_front_end_speaks_http(http: int, expected: Refusal) -> None:
    assert vonage.refused(Response(http, {}, b"fault")).refusal == expected


def test_a_client_ref_too_long_for_vonage_is_hashed() -> None:
    assert vonage.client_ref("a" * 100) == "a" * 100
    assert len(vonage.client_ref("a" * 101)) == 32


@pytest.mark.parametrize(("status", "handed_over"), [(500, True), (503, True), (400, False), (429, False)])
def test_a_failure_of_twilio_itself_may_hide_a_delivery(status: int, handed_over: bool) -> None:
    assert twilio.refused(twilio_answer(status, None)).handed_over is handed_over


@pytest.mark.parametrize(
    ("response", "handed_over"),
    [
        (vonage_answer("5"), True),
        (vonage_answer("1"), False),
        (vonage_answer("6"), False),
        (Response(502, {}, b""), True),
    ],
    ids=str,
)
def test_a_failure_of_vonage_itself_may_hide_a_delivery(response: Response, handed_over: bool) -> None:
    assert vonage.refused(response).handed_over is handed_over
