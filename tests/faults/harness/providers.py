"""Runs the stand-in providers in a process of their own and reads what they recorded."""

from __future__ import annotations

from collections import Counter
from typing import Any

import aiohttp

from tests.faults.ledger.ledgers import Call, Key

#: provider -> its channel; the lookup services have none
CHANNEL_OF = {
    "fcm": "push",
    "smtp": "email",
    "smtp2": "email",
    "sendgrid": "email",
    "twilio": "sms",
    "vonage": "sms",
}


class ProviderSide:
    """Orders faults and reads the log of calls, over HTTP. Raises aiohttp.ClientError if the sandbox is not running."""

    def __init__(self, port: int, smtp_port: int, http: aiohttp.ClientSession) -> None:
        self.port = port
        self.smtp_port = smtp_port
        self._http = http

    async def fault(self, provider: str, **fault: Any) -> None:
        """Orders a fault that lasts until ``heal``; see ``sandbox/faults.py`` for the modes."""
        async with self._http.put(f"{self._url}/sandbox/faults/{provider}", json=fault) as answer:
            if answer.status != 200:
                raise ValueError(f"{provider} {fault}: {await answer.text()}")

    async def heal(self, *providers: str) -> None:
        """Lifts the faults of these providers, or of all if none is named."""
        for path in [f"/{provider}" for provider in providers] or [""]:
            async with self._http.delete(f"{self._url}/sandbox/faults{path}") as answer:
                answer.raise_for_status()

    async def standing(self) -> set[str]:
        """Returns the providers whose fault still stands; a fault with a count is removed once it has struck that
        number of calls.
        """
        return set((await self._get("/sandbox/faults"))["faults"])

    async def accepted_calls(self) -> int:
        """Counts the deliveries so far, to each target, including second deliveries."""
        return int((await self._get("/sandbox/deliveries?limit=0"))["count"])

    async def calls(self, provider: str) -> int:
        """Counts the calls that this provider has received so far, including those that it refused."""
        return int((await self._get("/sandbox/calls"))[provider]["calls"])

    async def accepted(self) -> list[Call]:
        """Returns P, the calls that were accepted. Raises RuntimeError if the sandbox has forgotten some of them."""
        answer = await self._get("/sandbox/deliveries?form=compact")
        if answer["forgotten"]:
            raise RuntimeError("the sandbox keeps too few deliveries for this scenario")
        return [
            Call((CHANNEL_OF[provider], request_id or target), target, provider, at, ended_at)
            for provider, request_id, target, at, ended_at in answer["deliveries"]
        ]

    async def tries(self) -> Counter[Key]:
        """Counts the calls for each message over all providers of its channel, accepted or not. A call that did not
        name its message is counted by its target.

        Raises RuntimeError if the sandbox has forgotten some of the calls.
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
