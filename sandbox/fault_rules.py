"""Decides which faults each provider can have: an impossible fault is refused, and the refusal names the field."""

import re
from dataclasses import dataclass

from sandbox.faults import Fault, Mode
from sandbox.vendors.fcm_errors import ERROR_CODES as FCM_ERROR_CODES
from sandbox.vendors.vonage import NAMES_A_PARAMETER as VONAGE_NAMES_A_PARAMETER

ACCOUNTS = ("smtp", "smtp2")
LOOKUPS = ("users", "templates")
PROVIDERS = ("fcm", *ACCOUNTS, "sendgrid", "twilio", "vonage")

HTTP_STATUSES = range(300, 600)
SMTP_STATUSES = range(400, 600)


class ImpossibleFault(ValueError):
    """Says that this provider cannot have such a fault because of its ``field``."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field = field
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Rule:
    #: None: this provider has no codes of its own.
    error_code: re.Pattern[str] | None
    code_hint: str = ""
    statuses: range = HTTP_STATUSES
    mail: bool = False
    #: True if its refusals may name the field that they complain of.
    field: bool = False


_MAIL = Rule(re.compile(r"[45]\.\d{1,3}\.\d{1,3}"), "an enhanced status such as 4.2.2", SMTP_STATUSES, mail=True)
_RULES = {
    "fcm": Rule(re.compile("|".join(FCM_ERROR_CODES)), f"one of {', '.join(FCM_ERROR_CODES)}", field=True),
    "smtp": _MAIL,
    "smtp2": _MAIL,
    "sendgrid": Rule(None, field=True),
    "twilio": Rule(re.compile(r"\d{5}"), "five digits such as 21610"),
    "vonage": Rule(re.compile(r"[1-9]\d?"), "a message status, 1 to 99", field=True),
    "users": Rule(None),
    "templates": Rule(None),
}


def check(provider: str, fault: Fault) -> None:
    """Raises ImpossibleFault unless ``provider`` (one of PROVIDERS or LOOKUPS) can fail like this."""
    rule = _RULES[provider]
    if fault.status is not None and fault.status not in rule.statuses:
        raise ImpossibleFault("status", f"must be {rule.statuses.start} to {rule.statuses.stop - 1} for {provider}")
    if fault.error_code is not None:
        if rule.error_code is None:
            raise ImpossibleFault("error_code", f"{provider} has no error codes: use status")
        if not rule.error_code.fullmatch(fault.error_code):
            raise ImpossibleFault("error_code", f"must be {rule.code_hint}")
    _check_mail(rule, fault)
    if fault.field is not None and not rule.field:
        raise ImpossibleFault("field", f"{provider} names none")
    if fault.field is not None and provider == "vonage" and fault.error_code not in VONAGE_NAMES_A_PARAMETER:
        raise ImpossibleFault("field", "is for error codes 2 and 3 only")


def _check_mail(rule: Rule, fault: Fault) -> None:
    if fault.mode is Mode.DOWN and not rule.mail:
        raise ImpossibleFault("mode", "down is for smtp and smtp2 only")
    if fault.mode is Mode.DOWN and fault.target is not None:
        raise ImpossibleFault("target", "a server that is down does not learn the recipient")
    if rule.mail and fault.retry_after is not None:
        raise ImpossibleFault("retry_after", "SMTP has none")
    if fault.stage is not None and not (rule.mail and fault.mode is Mode.STATUS):
        raise ImpossibleFault("stage", "is for smtp and smtp2 in mode status only")
    if fault.stage == "mail" and fault.target is not None:
        raise ImpossibleFault("target", "no recipient is named yet at stage mail")
