"""Reads every breaker of every living worker from the workers' heartbeats in Redis."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from shared.health.registry import SOURCES, Forced, forced_breakers, read_workers
from shared.message.channels import CHANNELS
from shared.providers.urls import development_urls, known_urls, parse_provider_urls
from shared.settings.settings import Settings

#: channel, provider (or source: users, templates)
Name = tuple[str, str]


@dataclass(frozen=True)
class Worker:
    """Holds the breakers of one living worker process.

    ``breakers`` maps provider or source -> state; ``obeys`` maps it -> open or closed, for forced ones.
    """

    instance: str
    breakers: Mapping[str, str]
    obeys: Mapping[str, str]


@dataclass(frozen=True)
class Survey:
    """Holds what was read at one moment. ``forced`` holds the operators' commands, even if not yet obeyed."""

    workers: Mapping[str, list[Worker]]
    forced: Mapping[Name, Forced]

    def names(self, settings: Settings) -> list[Name]:
        """Returns every breaker, by channel. Raises BadSettings.

        These are the breakers of the living workers; for a channel without a living worker, those of the configured
        providers; those of the user and template services; and all forced ones, even if no worker has such a provider
        any more, so that an operator can still end the force.
        """
        return [(channel, provider) for channel in CHANNELS for provider in self._providers(channel, settings)]

    def disobedient(self, name: Name) -> list[str]:
        """Returns the living workers that do not yet obey the last command."""
        channel, provider = name
        said = self.forced.get(name)
        return [worker.instance for worker in self.workers[channel] if worker.obeys.get(provider) != said]

    def _providers(self, channel: str, settings: Settings) -> dict[str, None]:
        found = [name for worker in self.workers[channel] for name in worker.breakers if name not in SOURCES]
        found += [] if found else _configured(channel, settings)
        return dict.fromkeys([*found, *SOURCES, *(provider for of, provider in self.forced if of == channel)])


def survey(client: redis.Redis, heartbeat_s: float) -> Survey:
    """Reads the present state. Raises RedisUnavailable."""
    workers = read_workers(client, CHANNELS, heartbeat_s)
    return Survey(
        {channel: [_worker(*entry) for entry in sorted(found.items())] for channel, found in workers.items()},
        forced_breakers(client),
    )


def _worker(instance: str, state: Mapping[str, Any]) -> Worker:
    breakers = dict([*_texts(state.get("providers")), *_texts(state.get("sources"))])
    return Worker(instance, breakers, dict(_texts(state.get("forced"))))


def _texts(found: Any) -> Iterator[tuple[str, str]]:
    # A worker of another version may write another shape.
    if isinstance(found, dict):
        yield from ((str(name), str(value)) for name, value in found.items())


def _configured(channel: str, settings: Settings) -> list[str]:
    urls = known_urls(channel, settings) or development_urls(channel, settings)
    schemes = {url.partition("://")[0] for url in urls}
    return [url.name for url in parse_provider_urls(urls, schemes, channel)]
