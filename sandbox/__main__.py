"""Runs ``python -m sandbox``: exits with 0 after SIGTERM or SIGINT, 1 if a port is not
available, 2 for a bad setting.
"""

import asyncio
import os
import signal
import sys

import uvloop

from sandbox.server import CannotListen, start
from sandbox.settings import BadSettings, Settings, read_settings


async def run(settings: Settings) -> None:
    """Serves until a signal asks it to stop. Raises CannotListen."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with start(settings.host, settings.port, settings.smtp_port, settings.keep) as sandbox:
        sys.stdout.write(f"sandbox: HTTP on {sandbox.url}, SMTP on {sandbox.host}:{sandbox.smtp_port}\n")
        sys.stdout.flush()
        await stop.wait()


def main() -> int:
    try:
        uvloop.run(run(read_settings(sys.argv[1:], os.environ)))
    except BadSettings as error:
        sys.stderr.write(f"sandbox: bad settings\n{error}\n")
        return 2
    except CannotListen as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
