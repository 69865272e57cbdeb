"""Implements ``./notify demo``."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import click

from ops.demo.copies import Copies
from ops.demo.devices import Devices, devices_of
from ops.demo.inboxes import live_on_two, offline_then_missed, one_too_many, read_on_one
from ops.demo.outage import primary_down
from ops.demo.services import Gateway, Sandbox
from ops.demo.stage import Stage
from ops.demo.steps import dead_token, fails_twice, none_twice, replayed, same_again, three_channels
from ops.demo.system import running_system
from ops.errors import AlreadyRunning, BadSetting, OpsError
from ops.failed.action_log import log_actions
from ops.place import Place
from ops.servers.local import product_settings
from ops.settings import Configuration, load
from ops.signals import stop_requested
from ops.system.fleet import devices_url
from ops.terminal import Terminal, styled

Step = Callable[[Stage], None]

#: The demo connects two devices at first, and then one more than a user may have.
_FEWEST_SOCKETS, _MOST_SOCKETS = 2, 20


@click.command()
@click.option("--key", envvar="NOTIFY_KEY", help="Key of scope send+operate+tokens, if API_KEYS is set; or NOTIFY_KEY.")
def demo(key: str | None) -> None:
    """Show the main functions step by step on the development sandbox.

    The demo starts the system if it is not running, and then stops it at the end. The exit code is 0 only if every
    step has succeeded.
    """
    configuration = load()
    _refuse_others(configuration, key)
    console = Terminal()
    log_actions(configuration.place)
    try:
        with stop_requested(), _sole_demo(configuration.place), running_system(configuration, console) as running:
            _play(running, key, console)
    except KeyboardInterrupt:
        raise OpsError("Interrupted; everything is in the same state as before.") from None


def _play(configuration: Configuration, key: str | None, console: Terminal) -> None:
    """Runs every step, one after the other. Raises OpsError, which names the step that failed."""
    product = configuration.product
    gateway_url = f"http://127.0.0.1:{product.gateway.port}"
    with closing(Gateway(gateway_url, key)) as gateway, closing(Sandbox(product.sandbox.url)) as sandbox:
        _refuse_faults(sandbox)
        stage = Stage(gateway, sandbox, product, console)
        copies = Copies(product_settings(configuration), configuration, key)
        with devices_of(_devices(configuration, stage), gateway.empty_inbox) as devices:
            _play_steps(stage, copies, devices)


def _play_steps(stage: Stage, copies: Copies, devices: Devices) -> None:
    began = time.monotonic()
    steps: tuple[tuple[str, Step], ...] = (
        ("One push, one email, one SMS", three_channels),
        ("The same request again: suppressed", lambda stage: same_again(stage, copies)),
        ("A provider that fails twice: retried", fails_twice),
        ("A dead token: failed.queue at once", dead_token),
        ("The primary mail server is down: breaker, failover, recovery", primary_down),
        ("A fault is healed: replayed from failed.queue", replayed),
        ("An inbox: live on two devices", lambda stage: live_on_two(stage, devices)),
        ("A device is offline: it gets what it has missed", lambda stage: offline_then_missed(stage, devices)),
        ("Read on one device: read on the other", lambda stage: read_on_one(stage, devices)),
        ("One device too many: the oldest connection ends", lambda stage: one_too_many(stage, devices)),
        ("Nothing lost, nothing delivered twice", lambda stage: none_twice(stage, devices)),
    )
    for number, (title, step) in enumerate(steps, 1):
        _step(stage, number, title, step)
    stage.console.print(styled(f"\n[bold green]All steps succeeded[/], in {time.monotonic() - began:.1f} s."))


def _devices(configuration: Configuration, stage: Stage) -> Devices:
    """Returns the devices of a user who is used by this demo alone; they show tokens if the system asks for them."""
    user_id, url = f"demo-{stage.run}", devices_url(configuration)
    if configuration.product.socket_auth == "required":
        return Devices(user_id, url, stage.gateway.token)
    return Devices(user_id, f"{url}?user_id={user_id}", lambda user_id: None)


def _step(stage: Stage, number: int, title: str, step: Step) -> None:
    stage.console.print(f"\n{number}  {title}", style="bold")
    try:
        with stage.console.status("..."):
            step(stage)
    except OpsError as exc:
        raise OpsError(f"\nStep {number}, {title!r}, failed: {exc}") from exc


def _refuse_others(configuration: Configuration, key: str | None) -> None:
    """Raises BadSetting for every setting that could let the demo reach anything but the sandbox."""
    product = configuration.product
    if product.production:
        raise BadSetting("NOTIFY_ENV: the demo runs in development only.")
    given = {
        "USER_ENDPOINT": product.lookup.user_endpoint,
        "TEMPLATE_ENDPOINT": product.lookup.template_endpoint,
        "FIREBASE_KEY": product.providers.firebase_key,
        **{f"{name.upper()}_PROVIDERS": channel.providers for name, channel in product.channels.items()},
    }
    strangers = [name for name, value in given.items() if value]
    if strangers:
        raise BadSetting(f"{', '.join(strangers)}: the demo may use the sandbox only; unset this to run the demo.")
    if product.gateway.api_keys and not key:
        raise BadSetting("API_KEYS: the gateway needs a key; give the demo one of scope send+operate+tokens by --key.")
    if product.sockets.role == "consumer":
        raise BadSetting("WEBSOCKET_ROLE: the demo connects devices, and a consumer serves none; unset it.")
    if not _FEWEST_SOCKETS <= product.sockets.per_user <= _MOST_SOCKETS:
        bounds = f"{_FEWEST_SOCKETS} to {_MOST_SOCKETS}"
        raise BadSetting(f"SOCKETS_PER_USER: the demo connects one device more than this; it must be {bounds}.")


def _refuse_faults(sandbox: Sandbox) -> None:
    """Raises BadSetting if there is no sandbox, and OpsError if faults are already set in it."""
    try:
        standing = sandbox.faults()
    except OpsError as exc:
        raise BadSetting(f"The demo needs the sandbox (SANDBOX_HOST, SANDBOX_PORT): {exc}") from exc
    if standing:
        lift = f"curl -X DELETE {sandbox.base_url}/sandbox/faults"
        raise OpsError(f"The sandbox has faults set for {', '.join(standing)}; remove them first: {lift}")


@contextmanager
def _sole_demo(place: Place) -> Iterator[None]:
    """Lets only one demo run at a time, because two would remove each other's faults. Raises AlreadyRunning."""
    place.run.mkdir(parents=True, exist_ok=True)
    with (place.run / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise AlreadyRunning("Another demo is running; wait until it has ended.") from exc
        yield
