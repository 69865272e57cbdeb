"""Where the servers' programs are, and what to install where they are not."""

import os
import platform
import shutil
from pathlib import Path

from ops.errors import ServerMissing

# An ordinary user's PATH often lacks these.
_MORE_PLACES = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/opt/homebrew/bin", "/opt/homebrew/sbin", "/usr/local/bin"]
# Debian's /usr/sbin/rabbitmq-server switches to the user rabbitmq and its directories: these are the scripts behind it.
_DEBIAN_RABBITMQ = Path("/usr/lib/rabbitmq/bin")

#: program -> Debian's package that holds it
PACKAGES = {"rabbitmq-server": "rabbitmq-server", "redis-server": "redis-server", "nginx": "nginx"}
_BREW = {"rabbitmq-server": "rabbitmq", "redis-server": "redis", "nginx": "nginx"}
#: what the product itself runs on
_SERVERS = ("rabbitmq-server", "redis-server")


def search_path() -> str:
    """PATH, with the places where servers are usually installed."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *_MORE_PLACES])


def find(program: str) -> Path | None:
    if program.startswith("rabbitmq") and (script := _DEBIAN_RABBITMQ / program).exists():
        return script
    if program == "epmd":
        return _find_epmd()
    found = shutil.which(program, path=search_path())
    return Path(found) if found else None


def _find_epmd() -> Path | None:
    """epmd is not always linked into a bin directory, but always lies in the runtime system that erl belongs to."""
    if found := shutil.which("epmd", path=search_path()):
        return Path(found)
    erl = shutil.which("erl", path=search_path())
    if erl is None:
        return None
    return next(iter(sorted(Path(erl).resolve().parents[1].glob("**/erts-*/bin/epmd"))), None)


def require(program: str) -> Path:
    """Its path. Raises ServerMissing, saying what to install."""
    found = find(program)
    if found is None:
        raise ServerMissing(f"{program} is not installed. {advice([program])}")
    return found


def missing() -> list[str]:
    """Which of the two servers' programs are not on this machine."""
    return [program for program in _SERVERS if find(program) is None]


def advice(programs: list[str]) -> str:
    """One sentence: the command that installs them here."""
    if platform.system() == "Darwin":
        return f"Install with: brew install {' '.join(_BREW.get(name, 'rabbitmq') for name in programs)}"
    packages = " ".join(PACKAGES.get(name, "rabbitmq-server") for name in programs)
    if shutil.which("apt-get"):
        return f"Install with: sudo apt-get install {packages}"
    return f"Install the packages that hold {packages}, or set RABBITMQ_URL and REDIS_URL to servers that you have."
