"""Lists every refusal that a retry cannot change, as faults for the sandbox.

The list is written by hand and not read from the providers' tables: a row that changes there must be changed here too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

RECIPIENT = "recipient_invalid"
PAYLOAD = "payload_rejected"
#: The refusal does not prove whose fault it is: the next provider is asked first.
UNPROVEN = "provider_refused"


class Permanent(NamedTuple):
    """Describes one refusal."""

    channel: str
    provider: str
    #: the body to PUT to /sandbox/faults/<provider>
    fault: dict[str, Any]
    #: the reason in failed.queue
    reason: str
    #: the entry of the provider's table: the table, then the code; ``rule`` if the named field decides
    entry: str


_TWILIO = {
    RECIPIENT: (
        *(21201, 21211, 21214, 21217, 21221, 21265, 21266, 21268, 21604, 21610),
        *(21614, 21635, 30004, 30005, 30006),
    ),
    PAYLOAD: (21602, 21605, 21617, 21619),
    UNPROVEN: (21219, 21264, 21408, 21608, 21612, 21656, 30007, 30010, 30011, 30450, 30453),
}
_VONAGE = {RECIPIENT: (6, 7, 17, 22, 33), PAYLOAD: (12, 16, 20), UNPROVEN: (2, 3, 15, 19, 29)}
_SMTP_ENHANCED = {
    RECIPIENT: ("1.1", "1.2", "1.3", "1.4", "1.6", "1.10", "2.1", "4.1", "4.4", "7.2", "7.17", "7.18"),
    PAYLOAD: ("2.3", "3.4", "6.0", "6.1", "6.2", "6.3", "6.4", "6.5", "6.6"),
    UNPROVEN: ("2.0", "3.3", "6.7", "6.9", "7.0", "7.1", "7.3"),
}
_SMTP_CODES = {
    RECIPIENT: (("rcpt", (500, 501, 513, 551, 553, 555, 556)),),
    PAYLOAD: (("mail", (552,)),),
    UNPROVEN: (("rcpt", (521, 550, 554)), ("data", (550, 552, 553, 554))),
}


def _fcm() -> Iterator[Permanent]:
    def row(reason: str, entry: str, **fault: Any) -> Permanent:
        return Permanent("push", "fcm", {"mode": "status", **fault}, reason, entry)

    yield row(RECIPIENT, "BY_ERROR_CODE UNREGISTERED", error_code="UNREGISTERED")
    yield row(UNPROVEN, "BY_ERROR_CODE SENDER_ID_MISMATCH", error_code="SENDER_ID_MISMATCH")
    yield row(UNPROVEN, "BY_ERROR_CODE INVALID_ARGUMENT", error_code="INVALID_ARGUMENT", field="project")
    yield row(PAYLOAD, "rule INVALID_ARGUMENT", error_code="INVALID_ARGUMENT")
    yield row(RECIPIENT, "rule INVALID_ARGUMENT", error_code="INVALID_ARGUMENT", field="message.token")
    yield row(UNPROVEN, "BY_STATUS INVALID_ARGUMENT", status=400, field="project")
    yield row(PAYLOAD, "rule 400", status=400, field="message.data[0].value")
    yield row(RECIPIENT, "rule 400", status=400, field="message.token")
    yield row(PAYLOAD, "HTTP 413", status=413)


def _smtp() -> Iterator[Permanent]:
    def row(reason: str, entry: str, **fault: Any) -> Permanent:
        return Permanent("email", "smtp", {"mode": "status", **fault}, reason, entry)

    for reason, enhanced_codes in _SMTP_ENHANCED.items():
        for enhanced in enhanced_codes:
            yield row(reason, f"BY_ENHANCED {enhanced}", error_code=f"5.{enhanced}")
    for reason, stages in _SMTP_CODES.items():
        for stage, codes in stages:
            for code in codes:
                # 5.9.9 means nothing, so the basic code decides.
                yield row(reason, f"BY_CODE {stage} {code}", status=code, error_code="5.9.9", stage=stage)


def _sendgrid() -> Iterator[Permanent]:
    def row(reason: str, entry: str, **fault: Any) -> Permanent:
        return Permanent("email", "sendgrid", {"mode": "status", **fault}, reason, entry)

    yield row(PAYLOAD, "BY_STATUS 413", status=413)
    yield row(RECIPIENT, "rule 400", status=400, field="personalizations.0.to.0.email")
    yield row(PAYLOAD, "rule 400", status=400, field="content")
    yield row(UNPROVEN, "rule 400", status=400, field="mail_settings")


def _sms() -> Iterator[Permanent]:
    def row(provider: str, reason: str, entry: str, **fault: Any) -> Permanent:
        return Permanent("sms", provider, {"mode": "status", **fault}, reason, entry)

    for reason, codes in _TWILIO.items():
        for code in codes:
            yield row("twilio", reason, f"BY_CODE {code}", error_code=code)
    yield row("twilio", PAYLOAD, "HTTP 413", status=413)
    for reason, statuses in _VONAGE.items():
        for status in statuses:
            yield row("vonage", reason, f"BY_STATUS {status}", error_code=status)
    yield row("vonage", RECIPIENT, "rule 3", error_code=3, field="to")
    yield row("vonage", PAYLOAD, "rule 3", error_code=3, field="text")
    yield row("vonage", PAYLOAD, "HTTP 413", status=413)


PERMANENT: tuple[Permanent, ...] = (*_fcm(), *_smtp(), *_sendgrid(), *_sms())
#: Those after which a message is given up at once.
PROVEN: tuple[Permanent, ...] = tuple(row for row in PERMANENT if row.reason != UNPROVEN)
