"""Reads the settings of ``./notify`` itself, together with the product's, from the environment and ``.env``."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ops.errors import BadSetting
from ops.place import ROOT, Place
from shared.errors import BadSettings
from shared.settings.load import group_from, names_of, read_variables, settings_from
from shared.settings.misspelt import misspelt
from shared.settings.settings import Settings
from shared.settings.types import Group, Seconds, variable

# The kernel takes the ports of outgoing connections from the range above.
ServerPort = Annotated[int, Field(ge=1, le=32767)]


class WhereSettings(Group):
    """Holds what is needed to find the running system."""

    local_dir: Annotated[Path, variable("NOTIFY_LOCAL_DIR")] = Path(".local")

    @property
    def place(self) -> Place:
        return Place(ROOT / self.local_dir)


class LocalSettings(WhereSettings):
    """Configures the private servers of ``./notify up``, which all listen on 127.0.0.1."""

    local_rabbitmq_port: Annotated[ServerPort, variable("LOCAL_RABBITMQ_PORT")] = 17672
    local_rabbitmq_management_port: Annotated[ServerPort, variable("LOCAL_RABBITMQ_MANAGEMENT_PORT")] = 17673
    local_rabbitmq_dist_port: Annotated[ServerPort, variable("LOCAL_RABBITMQ_DIST_PORT")] = 17674
    local_epmd_port: Annotated[ServerPort, variable("LOCAL_EPMD_PORT")] = 17675
    local_redis_port: Annotated[ServerPort, variable("LOCAL_REDIS_PORT")] = 17379
    #: How long ``up`` waits at most until /health is healthy, in seconds.
    up_timeout_s: Annotated[Seconds, variable("NOTIFY_UP_TIMEOUT_S")] = 120


@dataclass(frozen=True)
class Configuration:
    product: Settings
    local: LocalSettings

    @property
    def place(self) -> Place:
        return self.local.place

    @property
    def private_rabbitmq(self) -> bool:
        """Tells whether the command starts its own RabbitMQ, because no address is set."""
        return not self.product.broker.model_fields_set & {"given_url", "host"}

    @property
    def private_redis(self) -> bool:
        """Tells whether the command starts its own Redis, because no address is set."""
        return not self.product.redis.model_fields_set & {"given_url", "host", "port"}

    @property
    def embedded_database(self) -> bool:
        """Tells whether the database is a file of this place, because no address is set."""
        return self.product.database.given_url is None


def find_place() -> Place:
    """Reads only where the system's files are; no other setting, and no broken line of ``.env``, matters to it.

    Raises BadSetting.
    """
    try:
        return group_from(WhereSettings, read_variables(skip_unreadable=True)).place
    except BadSettings as exc:
        raise BadSetting(_shown(exc.problems)) from exc


def load() -> Configuration:
    """Reads all settings. Raises BadSetting, which names every bad variable."""
    try:
        variables = read_variables()
    except BadSettings as exc:
        raise BadSetting(_shown(exc.problems)) from exc
    problems: list[tuple[str, str]] = misspelt(variables, set(names_of(LocalSettings)))
    try:
        product = settings_from(variables)
    except BadSettings as exc:
        problems += exc.problems
    try:
        local = group_from(LocalSettings, variables)
    except BadSettings as exc:
        problems += exc.problems
    if problems:
        raise BadSetting(_shown(sorted(problems)))
    return Configuration(product, local)


def _shown(problems: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"{name}: {why}" for name, why in problems)
