"""The stand-in providers in a process of their own, and what they wrote down."""

from __future__ import annotations

from collections import Counter
from typing import Any

import aiohttp

from tests.faults.ledger.ledgers import Call, Key

#: provider -> its channel; lookups have none
CHANNEL_OF = {
    "fcm": "push",
    "smtp": "email",
    "smtp2": "email",
    "sendgrid": "email",
    "twilio": "sms",
    "vonage": "sms",
}


class ProviderSide:
    """Orders faults and reads the log of calls, over HTTP. Raises aiohttp.ClientError if the sandbox is not there."""

    def __init__(self, port: int, smtp_port: int, http: aiohttp.ClientSession) -> None:
        self.port = port
        self.smtp_port = smtp_port
        self._http = http

    async def fault(self, provider: str, **fault: Any) -> None:
        """From now on, until ``heal``; see ``sandbox/faults.py`` for the modes."""
        async with self._http.put(f"{self._url}/sandbox/faults/{provider}", json=fault) as answer:
            if answer.status != 200:
                raise ValueError(f"{provider} {fault}: {await answer.text()}")

    async def heal(self, *providers: str) -> None:
        """Lift the faults of these, or of all."""
        for path in [f"/{provider}" for provider in providers] or [""]:
            async with self._http.delete(f"{self._url}/sandbox/faults{path}") as answer:
                answer.raise_for_status()

    async def standing(self) -> set[str]:
        """The providers that a fault still waits for; one with a count is gone once it has struck so often."""
        return set((await self._get("/sandbox/faults"))["faults"])

    async def accepted_calls(self) -> int:
        """Deliveries so far, to each target, doubles included."""
        return int((await self._get("/sandbox/deliveries?limit=0"))["count"])

    async def calls(self, provider: str) -> int:
        """Calls that this provider was sent so far, whatever it answered."""
        return int((await self._get("/sandbox/calls"))[provider]["calls"])

    async def accepted(self) -> list[Call]:
        """P. Raises RuntimeError if the sandbox has forgotten some of it."""
        answer = await self._get("/sandbox/deliveries?form=compact")
        if answer["forgotten"]:
            raise RuntimeError("the sandbox keeps too few deliveries for this scenario")
        return [
            Call((CHANNEL_OF[provider], request_id or target), target, provider, at, ended_at)
            for provider, request_id, target, at, ended_at in answer["deliveries"]
        ]

    async def tries(self) -> Counter[Key]:
        """Calls a message, over all providers of its channel, accepted or not; by its target where it was not named.

        Raises RuntimeError if the sandbox has forgotten some of it.
        """
        answer = await self._get("/sandbox/attempts")
        if answer["forgotten"]:
            raise RuntimeError("the sandbox keeps too few calls for this scenario")
        counts: Counter[Key] = Counter()
        for provider, channel in CHANNEL_OF.items():
            for by_name in (answer["attempts"].get(provider, {}), answer["targets"].get(provider, {})):
                counts.update({(channel, name): calls for name, calls in by_name.items()})
        return counts

    async def is_up(self) -> bool:
        try:
            return bool(await self._get("/health"))
        except aiohttp.ClientConnectionError:
            return False

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _get(self, path: str) -> Any:
        async with self._http.get(f"{self._url}{path}") as answer:
            answer.raise_for_status()
            return await answer.json()
