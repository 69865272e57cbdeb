"""Turns a decoded document into the messages to publish, with every check that needs neither Redis nor the broker."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.http.errors import problem_for
from gateway.http.problem import Problem
from shared.broker.publisher import Publication
from shared.broker.topology import EXCHANGE
from shared.errors import InvalidEnvelope
from shared.message.channels import CHANNELS, PLANNED_CHANNELS, Lane
from shared.message.envelope import MAX_BODY_BYTES, Envelope, Recipient, validate_envelope
from shared.message.headers import DeliveryState


@dataclass(frozen=True, slots=True)
class Candidate:
    """Holds a valid notification: one body per lane. ``digest`` tells two uses of one request_id apart."""

    request_id: str
    parts: tuple[tuple[Lane, bytes], ...]
    digest: str

    @property
    def lanes(self) -> tuple[Lane, ...]:
        return tuple(lane for lane, _ in self.parts)

    @property
    def channels(self) -> list[str]:
        return [lane.channel for lane, _ in self.parts]

    def publications(self, accepted_at: str) -> list[Publication]:
        """Returns one message per channel. ``accepted_at`` is RFC 3339."""
        return [
            Publication(
                exchange=EXCHANGE,
                routing_key=lane.routing_key,
                body=body,
                headers=DeliveryState(accepted_at=accepted_at).to_headers(),
                correlation_id=self.request_id,
            )
            for lane, body in self.parts
        ]


def candidate_from(document: Any) -> Candidate:
    """Checks a decoded document. Raises Problem 422, which names the bad fields, or 413."""
    if not isinstance(document, dict):
        raise Problem(422, "a notification is a JSON object")
    # The size of a single request was checked when it was read; that of a batch's item was not.
    _check_size(orjson.dumps(document))
    envelope = _envelope(document)
    if isinstance(envelope, Problem):
        raise envelope
    unfit = [*_undeliverable(envelope), *_unaddressed(envelope.recipient, envelope.targets), *_untitled(envelope)]
    if unfit:
        raise Problem(422, "the notification cannot be delivered as it is", unfit)
    return _candidate(envelope)


def _envelope(document: Any) -> Envelope | Problem:
    # The problem is returned and raised by the caller: raised here, it would keep the error with all its details, of
    # which there can be ten thousand.
    try:
        return validate_envelope(document, extra="forbid")
    except InvalidEnvelope as exc:
        return problem_for(exc)


def _candidate(envelope: Envelope) -> Candidate:
    parts = []
    digest = hashlib.sha256()
    for channel in envelope.targets:
        body = envelope.body_for(channel)
        _check_size(body)
        digest.update(body)
        parts.append((Lane(channel, envelope.lane_priority), body))
    return Candidate(envelope.request_id, tuple(parts), digest.hexdigest()[:32])


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


def _unaddressed(recipient: Recipient | None, targets: tuple[str, ...]) -> list[tuple[str, str]]:
    if recipient is None:
        return []
    return [
        (f"recipient.{address}", f"required for {channel}")
        for channel in targets
        if channel in CHANNELS and not getattr(recipient, (address := CHANNELS[channel].address))
    ]


def _untitled(envelope: Envelope) -> list[tuple[str, str]]:
    if envelope.content is None or envelope.content.title:
        return []
    titled = [channel for channel in envelope.targets if channel in CHANNELS and "title" in CHANNELS[channel].parts]
    return [("content.title", f"required for {channel}") for channel in titled[:1]]
