import orjson
import pytest

from services.sms import twilio, vonage
from shared.errors import Refusal
from shared.http.client import Response
from tests.support.messages import BEYOND, DOWN, OURS, PAYLOAD, QUOTA, RECIPIENT, THROTTLED


def twilio_answer(status: int, code: object) -> Response:
    return Response(status, {"retry-after": "2"}, orjson.dumps({"code": code, "message": "+15005550009 is not"}))


def vonage_answer(status: object, text: str = "", http: int = 200) -> Response:
    body = {"message-count": "1", "messages": [{"status": status, "error-text": text}]}
    return Response(http, {}, orjson.dumps(body))


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        *((400, code, RECIPIENT) for code in (21211, 21408, 21610, 21612, 21614)),
        *((400, code, PAYLOAD) for code in (21617, 30007)),
        *((429, code, QUOTA) for code in (20429, 21611)),
        *((status, code, OURS) for status, code in ((400, 21606), (401, 20003), (403, 20005), (401, None))),
        *((status, code, DOWN) for status, code in ((500, 20500), (503, 20503), (400, 99999), (307, None))),
        *((status, code, DOWN) for status, code in ((403, "21211"), (400, True))),
        (400, 30003, BEYOND),
        (413, None, PAYLOAD),
        (429, None, THROTTLED),
    ],
)
def test_twilio_decides_by_its_code_and_then_by_http(status: int, code: object, expected: Refusal) -> None:
    assert twilio.refused(twilio_answer(status, code)).refusal == expected


def test_twilios_text_names_no_number() -> None:
    error = twilio.refused(twilio_answer(400, 21211))
    assert str(error) == "twilio 400 21211: To is not a phone number"


def test_twilios_time_is_forwarded() -> None:
    error = twilio.refused(twilio_answer(429, 20429))
    assert error.refusal is QUOTA
    assert error.retry_after_s == 2


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ("1 10", QUOTA),
        ("2 3 12 15", PAYLOAD),
        ("4 8 9 11 14 23 32", OURS),
        ("5", DOWN),
        ("6 7 22 29 33", RECIPIENT),
    ],
)
def test_vonage_decides_by_the_first_messages_status(statuses: str, expected: Refusal) -> None:
    assert {status: vonage.refused(vonage_answer(status)).refusal for status in statuses.split()} == dict.fromkeys(
        statuses.split(), expected
    )


def test_vonage_tells_a_bad_number_from_another_bad_parameter() -> None:
    assert vonage.refused(vonage_answer("3", "Invalid value for parameter: to")).refusal == RECIPIENT
    assert vonage.refused(vonage_answer("3", "Invalid value for param: client-ref")).refusal == PAYLOAD


@pytest.mark.parametrize("status", ["77", 0, None, [], {"a": 1}])
def test_a_200_of_vonage_without_a_known_status_may_mean_acceptance(status: object) -> None:
    error = vonage.refused(vonage_answer(status))
    assert error.refusal is DOWN
    assert error.ambiguous


@pytest.mark.parametrize(("http", "expected"), [(401, OURS), (429, THROTTLED), (503, DOWN), (403, DOWN)])
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
