"""Reads the settings from options and environment; an option overrides a variable."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

HIGHEST_PORT = 65_535

#: Number of deliveries that are remembered before the oldest is forgotten (about 1 kB each).
DEFAULT_KEEP = 200_000
DEFAULT_HOST, DEFAULT_PORT, DEFAULT_SMTP_PORT = "127.0.0.1", 5070, 5025


class BadSettings(ValueError):
    """Lists the bad settings in its text, one line each, naming the setting."""


@dataclass(frozen=True, slots=True)
class Settings:
    host: str
    port: int
    smtp_port: int
    keep: int


def read_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Reads all settings. Raises BadSettings naming every bad one; an unknown option exits with status 2."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="Stand-in providers for development.")
    parser.add_argument("--host", metavar="ADDRESS", help="SANDBOX_HOST, default 127.0.0.1")
    parser.add_argument("--port", metavar="PORT", help="SANDBOX_PORT (HTTP), default 5070; 0: any free one")
    parser.add_argument("--smtp-port", metavar="PORT", help="SANDBOX_SMTP_PORT, default 5025; 0: any free one")
    parser.add_argument("--keep", metavar="N", help=f"SANDBOX_KEEP, deliveries remembered, default {DEFAULT_KEEP}")
    options = vars(parser.parse_args(arguments))
    given = {name: options[name] or environment.get(f"SANDBOX_{name.upper()}") for name in options}
    complaints: list[str] = []

    def number(name: str, default: int, lowest: int, highest: int | None = None) -> int:
        text = given[name]
        if text is None or text == "":
            return default
        if text.isascii() and text.isdigit() and lowest <= int(text) and (highest is None or int(text) <= highest):
            return int(text)
        limits = f"{lowest} to {highest}" if highest is not None else f"{lowest} or more"
        complaints.append(f"SANDBOX_{name.upper()}: {text!r} is not a whole number, {limits}")
        return default

    settings = Settings(
        host=given["host"] or DEFAULT_HOST,
        port=number("port", DEFAULT_PORT, 0, HIGHEST_PORT),
        smtp_port=number("smtp_port", DEFAULT_SMTP_PORT, 0, HIGHEST_PORT),
        keep=number("keep", DEFAULT_KEEP, 1),
    )
    if complaints:
        raise BadSettings("\n".join(complaints))
    return settings
