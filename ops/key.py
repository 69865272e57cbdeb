"""Implements ``./notify key``, which makes API keys for the gateway's callers, and keys that sign users' tokens."""

import hashlib
import re
import secrets

import click

from ops.terminal import Terminal

_CLIENT = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SCOPES = ("send", "operate", "tokens")


@click.group()
def key() -> None:
    """Make API keys for the gateway's callers, and keys that sign the tokens of users."""


@key.command()
@click.argument("client")
@click.option("--scope", required=True, metavar="send[+operate+tokens]", help="What the key may do.")
def new(client: str, scope: str) -> None:
    """Make a key for CLIENT. It is shown once and stored nowhere."""
    if not _CLIENT.fullmatch(client):
        raise click.BadParameter("use 1 to 64 of the characters A-Z a-z 0-9 _ . -", param_hint="CLIENT")
    scopes = scope.split("+")
    if not set(scopes) <= set(_SCOPES) or len(set(scopes)) != len(scopes):
        raise click.BadParameter("use one or more of send, operate and tokens, joined by +", param_hint="--scope")
    secret = secrets.token_urlsafe(32)
    Terminal().print(f"Key (shown only now): {secret}")
    Terminal().print(f"Entry for API_KEYS:   {entry(client, scopes, secret)}")


@key.command()
@click.argument("name", default="k1")
def signing(name: str) -> None:
    """Make a key that signs users' tokens. Give each one its own NAME."""
    if not _CLIENT.fullmatch(name):
        raise click.BadParameter("use 1 to 64 of the characters A-Z a-z 0-9 _ . -", param_hint="NAME")
    Terminal().print(f"Entry for SOCKET_TOKEN_KEYS: {name}:{secrets.token_urlsafe(32)}")


def entry(client: str, scopes: list[str], secret: str) -> str:
    """Returns the entry for API_KEYS: the gateway knows the key's SHA-256, never the key itself."""
    return f"{client}:{'+'.join(scopes)}:{hashlib.sha256(secret.encode()).hexdigest()}"
