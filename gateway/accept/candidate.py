"""Turns a decoded document into the messages to publish, with every check that needs neither Redis nor the broker."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.http.errors import problem_for
from gateway.http.problem import Problem
from shared.broker.publisher import Publication
from shared.broker.topology import EXCHANGE
from shared.errors import InvalidEnvelope
from shared.message.channels import CHANNELS, OWN_ADDRESS, PLANNED_CHANNELS, Lane
from shared.message.envelope import MAX_BODY_BYTES, Envelope, Recipient, validate_envelope
from shared.message.headers import DeliveryState
from shared.message.identity import both_forms
from shared.message.phone_number import e164
from shared.message.push_data import reserved_keys

RESERVED_BY_FCM = "this key is reserved by FCM"
RESERVED_FOR_OURS = "this key always holds the notification's own request_id"


@dataclass(frozen=True, slots=True)
class Candidate:
    """Holds a valid notification: one body per lane. ``digest`` tells two uses of one request_id apart.

    It follows from what the caller wrote, not from the model: a later version must compute the same for a repeat.
    """

    request_id: str
    parts: tuple[tuple[Lane, bytes], ...]
    digest: str
    envelope: Envelope

    @property
    def lanes(self) -> tuple[Lane, ...]:
        return tuple(lane for lane, _ in self.parts)

    @property
    def channels(self) -> list[str]:
        return [lane.channel for lane, _ in self.parts]

    def was_accepted_as(self, digest: str) -> bool:
        """Tells whether a record with this digest is of the same notification, also if an earlier version wrote it."""
        return digest == self.digest or digest == _digest(map(self.envelope.body_for, self.channels))

    def publications(self, accepted_at: str, client: str = "") -> list[Publication]:
        """Returns one message per channel. ``accepted_at`` is RFC 3339; ``client`` is '' if no keys are configured."""
        headers = DeliveryState(accepted_at=accepted_at, client=client).to_headers()
        return [
            Publication(
                exchange=EXCHANGE,
                routing_key=lane.routing_key,
                body=body,
                headers=headers,
                correlation_id=self.request_id,
            )
            for lane, body in self.parts
        ]


def candidate_from(document: Any, phone_region: str | None = None) -> Candidate:
    """Checks a decoded document. Raises Problem 422, which names the bad fields, or 413.

    ``phone_region`` (ISO 3166) is the region of a phone number without a country code; None refuses such a number.
    """
    if not isinstance(document, dict):
        raise Problem(422, "a notification is a JSON object")
    # The size of a single request was checked when it was read; that of a batch's item was not.
    _check_size(orjson.dumps(document))
    envelope = _envelope(document)
    if isinstance(envelope, Problem):
        raise envelope
    unfit = [
        *_undeliverable(envelope),
        *_unaddressed(envelope),
        *_uncallable(envelope, phone_region),
        *_untitled(envelope),
        *_reserved(envelope),
    ]
    if unfit:
        raise Problem(422, "the notification cannot be delivered as it is", unfit)
    parts, forms = [], []
    for channel in envelope.targets:
        body, form = both_forms(document, channel)
        _check_size(body)
        parts.append((Lane(channel, envelope.lane_priority), body))
        forms.append(form)
    return Candidate(envelope.request_id, tuple(parts), _digest(forms), envelope)


def _digest(forms: Iterable[bytes]) -> str:
    """Returns 32 hex digits over the forms of a notification for its channels."""
    digest = hashlib.sha256()
    for form in forms:
        digest.update(form)
    return digest.hexdigest()[:32]


def _envelope(document: Any) -> Envelope | Problem:
    # The problem is returned and raised by the caller: raised here, it would keep the error with all its details, of
    # which there can be ten thousand.
    try:
        return validate_envelope(document, extra="forbid")
    except InvalidEnvelope as exc:
        return problem_for(exc)


def _check_size(body: bytes) -> None:
    if len(body) > MAX_BODY_BYTES:
        raise Problem(413, f"the notification takes {len(body)} bytes; at most {MAX_BODY_BYTES} are allowed")


def _undeliverable(envelope: Envelope) -> list[tuple[str, str]]:
    field = "channels" if envelope.channels is not None else "notification_type"
    return [
        (field, f"the {channel} channel is not available in this version")
        for channel in envelope.targets
        if channel in PLANNED_CHANNELS or channel not in CHANNELS
    ]


def _unaddressed(envelope: Envelope) -> list[tuple[str, str]]:
    if envelope.recipient is None:
        return []
    return [found for channel in envelope.targets if (found := _unaddressed_on(channel, envelope, envelope.recipient))]


def _unaddressed_on(channel: str, envelope: Envelope, recipient: Recipient) -> tuple[str, str] | None:
    if channel not in CHANNELS:
        return None
    address = CHANNELS[channel].address
    if address == OWN_ADDRESS:
        return None if envelope.user_id else (address, f"required for {channel}")
    return None if getattr(recipient, address) else (f"recipient.{address}", f"required for {channel}")


def _untitled(envelope: Envelope) -> list[tuple[str, str]]:
    if envelope.content is None or envelope.content.title:
        return []
    titled = [channel for channel in envelope.targets if channel in CHANNELS and "title" in CHANNELS[channel].parts]
    if envelope.content.subject:
        titled = [channel for channel in titled if "subject" not in CHANNELS[channel].parts]
    return [("content.title", f"required for {channel}") for channel in titled[:1]]


def _uncallable(envelope: Envelope, phone_region: str | None) -> list[tuple[str, str]]:
    if "sms" not in envelope.targets or envelope.recipient is None or not envelope.recipient.phone:
        return []
    try:
        e164(envelope.recipient.phone, phone_region)
    except ValueError as exc:
        return [("recipient.phone", str(exc))]
    return []


def _reserved(envelope: Envelope) -> list[tuple[str, str]]:
    """Returns the keys of ``data`` that a push cannot have: FCM's own, and ours with another value."""
    data = envelope.content.data if envelope.content is not None else None
    if "push" not in envelope.targets or not data:
        return []
    ours = ["request_id"] if data.get("request_id", envelope.request_id) != envelope.request_id else []
    return [
        *((f"content.data.{key}", RESERVED_BY_FCM) for key in reserved_keys(data)),
        *((f"content.data.{key}", RESERVED_FOR_OURS) for key in ours),
    ]
