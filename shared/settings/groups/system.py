"""Defines the settings of every process: which environment it runs in, and what it logs."""

from __future__ import annotations

from typing import Annotated, Literal

from shared.settings.types import Group, variable


class SystemSettings(Group):
    """Sets the environment and the log."""

    env: Annotated[Literal["development", "production"], variable("NOTIFY_ENV")] = "development"
    log_format: Annotated[Literal["auto", "json", "console"], variable("LOG_FORMAT")] = "auto"
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], variable("LOG_LEVEL")] = "INFO"
