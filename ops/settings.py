"""What the command itself can be told, beside the product's settings, from the environment and ``.env``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from ops.errors import BadSetting
from ops.place import ROOT, Place
from shared.errors import BadSettings
from shared.settings.settings import Settings, load_settings

# Above lies the range from which the kernel serves outgoing connections.
ServerPort = Annotated[int, Field(ge=1, le=32767)]


class WhereSettings(BaseSettings):
    """All that is needed to find what runs."""

    model_config = SettingsConfigDict(
        frozen=True, env_file=".env", extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )
    local_dir: Path = Field(default=Path(".local"), validation_alias="NOTIFY_LOCAL_DIR")

    @property
    def place(self) -> Place:
        return Place(ROOT / self.local_dir)


class LocalSettings(WhereSettings):
    """The private servers of ``./notify up``, all on 127.0.0.1."""

    local_rabbitmq_port: ServerPort = 17672
    local_rabbitmq_management_port: ServerPort = 17673
    local_rabbitmq_dist_port: ServerPort = 17674
    local_epmd_port: ServerPort = 17675
    local_redis_port: ServerPort = 17379
    #: longest that ``up`` waits for /health to be healthy
    up_timeout_s: Annotated[float, Field(gt=0, validation_alias="NOTIFY_UP_TIMEOUT_S")] = 120


@dataclass(frozen=True)
class Configuration:
    product: Settings
    local: LocalSettings

    @property
    def place(self) -> Place:
        return self.local.place

    @property
    def private_rabbitmq(self) -> bool:
        """Whether we bring RabbitMQ ourselves: no address is set."""
        return not self.product.model_fields_set & {"rabbitmq_url", "rabbitmq_host"}

    @property
    def private_redis(self) -> bool:
        return not self.product.model_fields_set & {"redis_url", "redis_host", "redis_port"}


def load() -> Configuration:
    """Read everything. Raises BadSetting naming every bad variable."""
    problems: list[tuple[str, str]] = []
    try:
        product = load_settings()
    except BadSettings as exc:
        problems += exc.problems
    try:
        local = LocalSettings()
    except ValidationError as exc:
        problems += [(str(error["loc"][0]).upper(), error["msg"]) for error in exc.errors(include_input=False)]
    if problems:
        raise BadSetting("\n".join(f"{name}: {why}" for name, why in sorted(problems)))
    return Configuration(product, local)
