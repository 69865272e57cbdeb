"""Reads the environment and ``.env`` once, checks everything, and names every bad variable at once.

No other file of the product reads settings from the environment. No error shows a value: it may be a secret.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from shared.errors import BadSettings
from shared.message.channels import CHANNELS
from shared.settings.env_file import read_file
from shared.settings.groups.channels import ChannelSettings, defaults_of
from shared.settings.misspelt import misspelt
from shared.settings.settings import Settings
from shared.settings.types import Group

G = TypeVar("G", bound=Group)


def load_settings(env_file: str | None = ".env", **overrides: Any) -> Settings:
    """Reads all settings. Raises BadSettings, which names each bad variable, and TypeError for an unknown override.

    ``overrides`` win; they are named like the variables, in lower case (``breaker_failures=1``), and are checked too.
    """
    settings = settings_from({**read_variables(env_file), **{name.upper(): v for name, v in overrides.items()}})
    if unknown := {name for name in overrides if name.upper() not in variables_of(settings)}:
        raise TypeError(f"no such settings: {', '.join(sorted(unknown))}")
    return settings


def read_variables(env_file: str | None = ".env", *, skip_unreadable: bool = False) -> dict[str, str]:
    """Returns the set variables, by their upper-case names. The environment wins; an empty value counts as not set.

    Raises BadSettings, which names each line of the file that cannot be read, unless they are to be skipped.
    """
    in_file = read_file(Path(env_file), skip_unreadable=skip_unreadable) if env_file is not None else {}
    return {name.upper(): value for source in (in_file, os.environ) for name, value in source.items() if value}


def settings_from(variables: Mapping[str, Any]) -> Settings:
    """Builds the settings from ``variables`` alone.

    Raises BadSettings, which also names each unknown variable that is probably a misspelt setting.
    """
    channels = {name: _channel_input(name, variables) for name in CHANNELS}
    settings, problems = None, misspelt(variables, _VARIABLES)
    try:
        settings = _checked(Settings, _input(Settings, variables) | {"channels": channels})
    except BadSettings as exc:
        problems += exc.problems
    if settings is None or problems:
        raise BadSettings(sorted(problems))
    return settings


def group_from(group: type[G], variables: Mapping[str, Any]) -> G:
    """Builds one group from ``variables``. Raises BadSettings."""
    return _checked(group, _input(group, variables))


def variables_of(group: Group) -> dict[str, Any]:
    """Maps the name of each variable of ``group`` to its value there."""
    return {name: value for name, _, value in fields_of(group)}


def fields_of(group: Group, channel: str = "") -> Iterator[tuple[str, FieldInfo, Any]]:
    """Yields (variable, field, value) for each field of ``group`` and of the groups inside it."""
    for name, field in type(group).model_fields.items():
        value = getattr(group, name)
        if isinstance(field.validation_alias, str):
            yield field.validation_alias.format(CHANNEL=channel), field, value
        elif isinstance(value, Group):
            yield from fields_of(value, channel)
        else:
            for key, each in value.items():
                yield from fields_of(each, key.upper())


def _input(group: type[Group], variables: Mapping[str, Any], channel: str = "") -> dict[str, Any]:
    """Arranges ``variables`` as pydantic expects them for ``group`` and the groups inside it."""
    found: dict[str, Any] = {}
    for name, field in group.model_fields.items():
        alias = field.validation_alias
        if isinstance(alias, str):
            if (variable := alias.format(CHANNEL=channel)) in variables:
                found[alias] = variables[variable]
        elif isinstance(field.annotation, type) and issubclass(field.annotation, Group):
            found[name] = _input(field.annotation, variables, channel)
    return found


def _channel_input(channel: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    return _input(ChannelSettings, {**defaults_of(CHANNELS[channel]), **variables}, channel.upper())


def _checked(group: type[G], raw: dict[str, Any]) -> G:
    try:
        return group.model_validate(raw)
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_input=False, include_context=False)
        problems = {(_variable_at(group, *e["loc"]), e["msg"].removeprefix("Value error, ")) for e in errors}
    raise BadSettings(sorted(problems))


def names_of(group: type[Group], channel: str = "") -> Iterator[str]:
    """Yields the name of each variable of ``group`` and of the groups inside it."""
    for field in group.model_fields.values():
        if isinstance(field.validation_alias, str):
            yield field.validation_alias.format(CHANNEL=channel)
        elif isinstance(field.annotation, type) and issubclass(field.annotation, Group):
            yield from names_of(field.annotation, channel)


def _variable_at(group: type[Group], name: int | str, *rest: int | str) -> str:
    """Returns the variable for a location in a pydantic error (``"channels", "push", "{CHANNEL}_PORT"``: PUSH_PORT)."""
    field = group.model_fields.get(str(name))
    if field is None:
        return str(name)
    # If a default is wrong because of another value, its location ends in the name of the field, not in the variable.
    if isinstance(field.validation_alias, str):
        return field.validation_alias
    if isinstance(field.annotation, type) and issubclass(field.annotation, Group):
        return _variable_at(field.annotation, *rest)
    channel, *within = rest
    return _variable_at(ChannelSettings, *within).format(CHANNEL=str(channel).upper())


_VARIABLES = frozenset(names_of(Settings)).union(*(names_of(ChannelSettings, name.upper()) for name in CHANNELS))
