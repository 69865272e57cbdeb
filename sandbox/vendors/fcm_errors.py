"""Builds the refusals of FCM HTTP v1: google.rpc.Status with details.

Shapes: https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode and https://cloud.google.com/apis/design/errors
"""

import orjson
from aiohttp import web

_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_QUOTA_FAILURE = "type.googleapis.com/google.rpc.QuotaFailure"
_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"

#: errorCode -> HTTP status, google.rpc status, message
ERROR_CODES: dict[str, tuple[int, str, str]] = {
    "INVALID_ARGUMENT": (400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
    "UNREGISTERED": (404, "NOT_FOUND", "Requested entity was not found."),
    "SENDER_ID_MISMATCH": (403, "PERMISSION_DENIED", "SenderId mismatch"),
    "QUOTA_EXCEEDED": (429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric of this project."),
    "THIRD_PARTY_AUTH_ERROR": (401, "UNAUTHENTICATED", "Auth error from APNS or Web Push Service"),
    "UNAVAILABLE": (503, "UNAVAILABLE", "The service is currently unavailable."),
    "INTERNAL": (500, "INTERNAL", "Internal error encountered."),
    "UNSPECIFIED_ERROR": (500, "UNKNOWN", "Unknown error."),
}
#: Plain HTTP statuses for which FCM names no errorCode of its own.
_PLAIN: dict[int, tuple[str, str]] = {
    401: (
        "UNAUTHENTICATED",
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
        "authentication credential.",
    ),
    403: ("PERMISSION_DENIED", "Permission 'cloudmessaging.messages.create' denied on resource."),
    502: ("UNAVAILABLE", "Bad gateway."),
    504: ("DEADLINE_EXCEEDED", "Deadline exceeded."),
}
_REASONS = {401: "ACCESS_TOKEN_TYPE_UNSUPPORTED", 403: "IAM_PERMISSION_DENIED"}
_CODE_OF_STATUS = {
    400: "INVALID_ARGUMENT",
    404: "UNREGISTERED",
    429: "QUOTA_EXCEEDED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}

#: The front end before FCM says this, in HTML, not FCM itself.
_TOO_LARGE = "<!DOCTYPE html><title>Error 413 (Request Entity Too Large)</title>"

Detail = dict[str, object]


def violation(field: str, description: str) -> Detail:
    """Returns the google.rpc.BadRequest that names the field at fault."""
    return {"@type": _BAD_REQUEST, "fieldViolations": [{"field": field, "description": description}]}


def status_response(status: int, name: str, message: str, details: list[Detail] | None = None) -> web.Response:
    error: dict[str, object] = {"code": status, "message": message, "status": name}
    if details:
        error["details"] = details
    return web.Response(status=status, body=orjson.dumps({"error": error}), content_type="application/json")


def coded(error_code: str, *, status: int | None = None, field: str | None = None) -> web.Response:
    """Returns FCM's answer for ``error_code``; ``field`` is what INVALID_ARGUMENT complains of.

    For QUOTA_EXCEEDED it is the subject whose quota is used up: the whole project's unless given.
    """
    usual_status, name, message = ERROR_CODES[error_code]
    details: list[Detail] = [{"@type": _FCM_ERROR, "errorCode": error_code}]
    if error_code == "INVALID_ARGUMENT":
        details.append(violation(field or "message.notification", message))
    if error_code == "QUOTA_EXCEEDED":
        quota = {"subject": field or "project", "description": "Message sends per minute"}
        details.append({"@type": _QUOTA_FAILURE, "violations": [quota]})
    return status_response(status or usual_status, name, message, details)


def plain(status: int) -> web.Response:
    """Returns FCM's answer for an HTTP status when no error code was asked for."""
    if status in _CODE_OF_STATUS:
        return coded(_CODE_OF_STATUS[status])
    if status == 413:
        return web.Response(status=status, text=_TOO_LARGE, content_type="text/html")
    name, message = _PLAIN.get(status, ("UNKNOWN", "Unknown error."))
    reason = _REASONS.get(status)
    info: list[Detail] | None = (
        [{"@type": _ERROR_INFO, "reason": reason, "domain": "googleapis.com"}] if reason is not None else None
    )
    return status_response(status, name, message, info)


def invalid_json(description: str, field: str) -> web.Response:
    """Returns what Google's JSON front end says before FCM has seen the request: no FcmError among the details."""
    message = f"Invalid JSON payload received. {description}"
    return status_response(400, "INVALID_ARGUMENT", message, [violation(field, message)])


def invalid_argument(field: str, description: str) -> web.Response:
    """Returns FCM's own refusal of ``field``."""
    details: list[Detail] = [
        {"@type": _FCM_ERROR, "errorCode": "INVALID_ARGUMENT"},
        violation(field, description),
    ]
    return status_response(400, "INVALID_ARGUMENT", description, details)
