"""``./notify demo``."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import click
from rich.console import Console

from ops.demo.copies import Copies
from ops.demo.outage import primary_down
from ops.demo.services import Gateway, Sandbox
from ops.demo.stage import Stage
from ops.demo.steps import dead_token, fails_twice, none_twice, replayed, same_again, three_channels
from ops.demo.system import running_system
from ops.errors import AlreadyRunning, BadSetting, OpsError
from ops.failed.action_log import log_actions
from ops.place import Place
from ops.settings import Configuration, load
from ops.signals import stop_requested
from ops.system.local_servers import product_settings

Step = Callable[[Stage], None]


@click.command()
@click.option("--key", envvar="NOTIFY_KEY", help="For a gateway with API_KEYS; or NOTIFY_KEY. Scope send+operate.")
def demo(key: str | None) -> None:
    """Show what it does, step by step, on the development sandbox.

    Starts the system if it is not running, and then stops it at the end. Exit code 0 only if all of it happened.
    """
    configuration = load()
    _refuse_others(configuration, key)
    console = Console(highlight=False, soft_wrap=True)
    log_actions(configuration.place)
    try:
        with stop_requested(), _sole_demo(configuration.place), running_system(configuration, console) as running:
            _play(running, key, console)
    except KeyboardInterrupt:
        raise OpsError("Interrupted; everything is as it was before.") from None


def _play(configuration: Configuration, key: str | None, console: Console) -> None:
    """Every step, one after the other. Raises OpsError naming the one that did not happen."""
    product = configuration.product
    gateway_url = f"http://127.0.0.1:{product.gateway.port}"
    with closing(Gateway(gateway_url, key)) as gateway, closing(Sandbox(product.sandbox.url)) as sandbox:
        _refuse_faults(sandbox)
        stage = Stage(gateway, sandbox, product, console)
        copies = Copies(product_settings(configuration), configuration)
        began = time.monotonic()
        steps = (
            ("One push, one email, one SMS", three_channels),
            ("The same request again: suppressed", lambda stage: same_again(stage, copies)),
            ("A provider that fails twice: retried", fails_twice),
            ("A dead token: failed.queue at once", dead_token),
            ("The primary mail server is down: breaker, failover, recovery", primary_down),
            ("A fault is healed: replayed from failed.queue", replayed),
            ("Nothing lost, nothing twice", none_twice),
        )
        for number, (title, step) in enumerate(steps, 1):
            _step(stage, number, title, step)
        console.print(f"\n[bold green]All of it happened[/], in {time.monotonic() - began:.1f} s.")


def _step(stage: Stage, number: int, title: str, step: Step) -> None:
    stage.console.print(f"\n[bold]{number}  {title}[/]")
    try:
        with stage.console.status("..."):
            step(stage)
    except OpsError as exc:
        raise OpsError(f"\nStep {number}, {title!r}, did not happen: {exc}") from exc


def _refuse_others(configuration: Configuration, key: str | None) -> None:
    """Raise BadSetting for anything that could reach more than the sandbox."""
    product = configuration.product
    if product.production:
        raise BadSetting("NOTIFY_ENV: the demo is for development only.")
    given = {
        "USER_ENDPOINT": product.lookup.user_endpoint,
        "TEMPLATE_ENDPOINT": product.lookup.template_endpoint,
        "FIREBASE_KEY": product.providers.firebase_key,
        **{f"{name.upper()}_PROVIDERS": channel.providers for name, channel in product.channels.items()},
    }
    strangers = [name for name, value in given.items() if value]
    if strangers:
        raise BadSetting(f"{', '.join(strangers)}: the demo speaks to the sandbox only; it runs where this is not set.")
    if product.gateway.api_keys and not key:
        raise BadSetting("API_KEYS: the gateway asks for a key; give the demo one of scope send+operate, by --key.")


def _refuse_faults(sandbox: Sandbox) -> None:
    """Raise BadSetting if there is no sandbox, OpsError if somebody else makes it fail now."""
    try:
        standing = sandbox.faults()
    except OpsError as exc:
        raise BadSetting(f"The demo needs the sandbox (SANDBOX_HOST, SANDBOX_PORT): {exc}") from exc
    if standing:
        lift = f"curl -X DELETE {sandbox.base_url}/sandbox/faults"
        raise OpsError(f"Faults stand in the sandbox, for {', '.join(standing)}; lift them first: {lift}")


@contextmanager
def _sole_demo(place: Place) -> Iterator[None]:
    """Two would heal each other's faults. Raises AlreadyRunning."""
    place.run.mkdir(parents=True, exist_ok=True)
    with (place.run / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise AlreadyRunning("Another demo is under way.") from exc
        yield
