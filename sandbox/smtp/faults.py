"""Decides at which point of a mail a fault strikes, and what the server then replies."""

from sandbox.faults import Fault, Mode

#: Replies with which a server refuses a client before it has received any mail command; other statuses answer DATA.
DOOR_STATUSES = frozenset({454, 530, 534, 535, 538})
#: Enhanced statuses of the usual refusals (RFC 3463); others are x.0.0.
_ENHANCED = {
    421: "4.3.2", 450: "4.2.0", 451: "4.3.0", 452: "4.3.1", 454: "4.7.0",
    530: "5.7.0", 534: "5.7.9", 535: "5.7.8", 538: "5.7.11", 550: "5.1.1", 552: "5.3.4", 554: "5.6.0",
}  # fmt: skip


def at_the_door(fault: Fault) -> bool:
    """Returns True if the fault strikes at AUTH, or at MAIL for a client that is already logged in."""
    if fault.stage is not None:
        return False
    return fault.mode is Mode.DOWN or (fault.mode is Mode.STATUS and fault.status in DOOR_STATUSES)


def at_mail(fault: Fault) -> bool:
    return fault.stage == "mail"


def at_the_door_or_mail(fault: Fault) -> bool:
    return at_the_door(fault) or at_mail(fault)


def at_rcpt(fault: Fault) -> bool:
    return fault.stage == "rcpt"


def after_the_mail(fault: Fault) -> bool:
    """Returns True if the fault strikes when the whole message has been read."""
    return fault.stage == "data" or (fault.stage is None and not at_the_door(fault))


def fault_reply(fault: Fault) -> str:
    """Returns ``status`` and ``error_code`` of the fault as one reply line; either is derived from the other if
    missing.
    """
    if fault.mode is Mode.DOWN:
        return "421 4.3.2 Service not available, closing transmission channel"
    if fault.error_code is None:
        status = fault.status or 451
        return f"{status} {_ENHANCED.get(status, f'{status // 100}.0.0')} fault ordered by the operator"
    temporary, mailbox = fault.error_code.startswith("4"), fault.error_code.startswith("5.1.")
    status = fault.status or (451 if temporary else 550 if mailbox else 554)
    return f"{status} {fault.error_code} fault ordered by the operator"
