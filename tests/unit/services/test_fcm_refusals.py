from typing import Any

import orjson
import pytest
from google.auth.exceptions import RefreshError

from services.push import fcm
from services.push.fcm import refused
from shared.errors import Refusal, Refused
from shared.http.client import Response
from tests.support.messages import BEYOND, DOWN, OURS, PAYLOAD, RATE, RECIPIENT, THROTTLED, UNPROVEN

FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"


def answer(
    status: int, code: str = "", rpc: str = "", message: str = "", details: Any = (), **headers: str
) -> Response:
    errors = [{"@type": FCM_ERROR, "errorCode": code}] if code else []
    body = {"error": {"code": status, "message": message, "status": rpc, "details": [*errors, *details]}}
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, orjson.dumps(body))


def field(name: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": name}]}


def apns(reason: str) -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/google.firebase.fcm.v1.ApnsError",
        "statusCode": 400,
        "reason": reason,
    }


def quota(subject: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"subject": subject}]}


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (answer(404, "UNREGISTERED", "NOT_FOUND"), RECIPIENT),
        (answer(403, "SENDER_ID_MISMATCH", "PERMISSION_DENIED"), UNPROVEN),
        (answer(400, "INVALID_ARGUMENT", details=[apns("BadDeviceToken")]), RECIPIENT),
        (answer(401, "THIRD_PARTY_AUTH_ERROR", details=[apns("BadDeviceToken")]), RECIPIENT),
        (answer(400, "INVALID_ARGUMENT", details=[apns("DeviceTokenNotForTopic")]), UNPROVEN),
        (answer(401, "THIRD_PARTY_AUTH_ERROR", details=[apns("InvalidProviderToken")]), BEYOND),
        (answer(400, "INVALID_ARGUMENT", message="Request contains an invalid argument."), UNPROVEN),
        (answer(400, "INVALID_ARGUMENT", details=[field("project")]), UNPROVEN),
        (answer(400, "INVALID_ARGUMENT", details=[field("message.token")]), RECIPIENT),
        (
            answer(400, "INVALID_ARGUMENT", message="The registration token is not a valid FCM registration token"),
            RECIPIENT,
        ),
        (answer(400, "INVALID_ARGUMENT", details=[field("message.data[0].value")]), PAYLOAD),
        (answer(400, "INVALID_ARGUMENT", message="Message too big", details=[field("message")]), PAYLOAD),
        (answer(400, "", "INVALID_ARGUMENT", details=[field("message.data")]), PAYLOAD),
        (answer(429, "QUOTA_EXCEEDED", "RESOURCE_EXHAUSTED"), THROTTLED),
        (answer(429, "QUOTA_EXCEEDED", details=[quota("device:abc")]), THROTTLED),
        (answer(429, "QUOTA_EXCEEDED", details=[quota("project:1234")]), RATE),
        (answer(401, "THIRD_PARTY_AUTH_ERROR", "UNAUTHENTICATED"), BEYOND),
        (answer(401, "", "UNAUTHENTICATED"), OURS),
        (answer(403, "", "PERMISSION_DENIED"), OURS),
        (answer(503, "UNAVAILABLE", "UNAVAILABLE"), DOWN),
        (answer(500, "INTERNAL", "INTERNAL"), DOWN),
        (answer(500, "UNSPECIFIED_ERROR"), DOWN),
        (answer(404, "", "NOT_FOUND"), DOWN),
        (answer(400, "SOMETHING_NEW"), DOWN),
        (Response(401, {}, b""), OURS),
        (Response(403, {}, b"<html>a proxy's page</html>"), DOWN),
        (Response(413, {}, b""), PAYLOAD),
        (Response(429, {}, b""), RATE),
        (Response(307, {"location": "/"}, b""), DOWN),
        (Response(502, {}, b"not json"), DOWN),
    ],
)
def test_each_answer_has_its_verdict(response: Response, expected: Refusal) -> None:
    assert refused(response).refusal == expected


@pytest.mark.parametrize("code", ["QUOTA_EXCEEDED", "UNAVAILABLE"])
def test_the_vendors_time_is_forwarded(code: str) -> None:
    error = refused(answer(503, code, retry_after="17"))
    assert error.retry_after_s == 17


def test_the_text_names_codes_and_never_the_vendors_words() -> None:
    assert str(refused(answer(404, "UNREGISTERED", message="token abc"))) == "fcm 404 UNREGISTERED"
    hostile = answer(
        400, "secret-code", "secret-status", "secret", details=[field("message.data[secret]"), apns("secret")]
    )
    assert "secret" not in str(refused(hostile))


@pytest.mark.parametrize(
    ("response", "handed_over"),
    [
        (answer(503, "UNAVAILABLE"), True),
        (answer(500), True),
        (answer(429), False),
        (answer(404, "UNREGISTERED"), False),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_failure_of_fcm_itself_may_hide_a_delivery(response: Response, handed_over: bool) -> None:
    assert refused(response).handed_over is handed_over


def test_the_text_names_the_fields_that_are_refused_and_apples_reason() -> None:
    fields = [field("message.data[0].value"), field("message.android.ttl")]
    assert str(refused(answer(400, "INVALID_ARGUMENT", details=fields))) == (
        "fcm 400 INVALID_ARGUMENT message.data[0].value, message.android.ttl"
    )
    assert str(refused(answer(400, "INVALID_ARGUMENT", details=[apns("BadDeviceToken")]))) == (
        "fcm 400 INVALID_ARGUMENT BadDeviceToken"
    )


@pytest.mark.parametrize("retryable", [False, True])
def test_a_token_error_keeps_googles_reason(retryable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    skew = "invalid_grant: Invalid JWT: Token must be a short-lived token\nand in a reasonable timeframe."

    class Certificate:
        def __init__(self, _source: object) -> None:
            """Reads nothing."""

        def get_credential(self) -> Any:
            return self

        def refresh(self, _request: object) -> None:
            raise RefreshError(skew, {"error": "invalid_grant"}, retryable=retryable)  # type: ignore[no-untyped-call]

    monkeypatch.setattr("firebase_admin.credentials.Certificate", Certificate)
    with pytest.raises(Refused) as caught:
        fcm._ServiceAccount("{}").grant()
    assert caught.value.refusal is (DOWN if retryable else OURS)
    assert "in a reasonable timeframe" in str(caught.value)
    assert "\n" not in str(caught.value)
