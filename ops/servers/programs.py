"""Finds the servers' programs, and says what to install if they are missing."""

import os
import platform
import shutil
from pathlib import Path

from ops.errors import ServerMissing

# An ordinary user's PATH often lacks these directories.
_MORE_PLACES = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/opt/homebrew/bin", "/opt/homebrew/sbin", "/usr/local/bin"]
# Debian's /usr/sbin/rabbitmq-server switches to the user rabbitmq and its directories. It calls the scripts in here.
_DEBIAN_RABBITMQ = Path("/usr/lib/rabbitmq/bin")
# Debian has the programs of each version of PostgreSQL in a directory of its own, which is in nobody's PATH.
_DEBIAN_POSTGRESQL = Path("/usr/lib/postgresql")
_POSTGRESQL = ("postgres", "initdb")

#: program -> the Debian package that contains it
PACKAGES = {
    "rabbitmq-server": "rabbitmq-server",
    "redis-server": "redis-server",
    "nginx": "nginx",
    "postgres": "postgresql",
    "chromium": "chromium",
}
_BREW = {
    "rabbitmq-server": "rabbitmq",
    "redis-server": "redis",
    "nginx": "nginx",
    "postgres": "postgresql",
    "chromium": "chromium",
}
#: The servers that the product itself needs.
_SERVERS = ("rabbitmq-server", "redis-server")


def search_path() -> str:
    """Returns PATH, extended by the directories where servers are usually installed."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *_MORE_PLACES])


def find(program: str) -> Path | None:
    if program.startswith("rabbitmq") and (script := _DEBIAN_RABBITMQ / program).exists():
        return script
    if program == "epmd":
        return _find_epmd()
    found = shutil.which(program, path=search_path())
    if found is None and program in _POSTGRESQL:
        return _newest_postgresql(program)
    return Path(found) if found else None


def _newest_postgresql(program: str) -> Path | None:
    found = [path for path in _DEBIAN_POSTGRESQL.glob(f"*/bin/{program}") if path.parts[-3].isdigit()]
    return max(found, key=lambda path: int(path.parts[-3]), default=None)


def _find_epmd() -> Path | None:
    """Finds epmd, which is not always linked into a bin directory but always lies in the runtime system of erl."""
    if found := shutil.which("epmd", path=search_path()):
        return Path(found)
    erl = shutil.which("erl", path=search_path())
    if erl is None:
        return None
    return next(iter(sorted(Path(erl).resolve().parents[1].glob("**/erts-*/bin/epmd"))), None)


def require(program: str) -> Path:
    """Returns the program's path. Raises ServerMissing, which says what to install."""
    found = find(program)
    if found is None:
        raise ServerMissing(f"{program} is not installed. {advice([program])}")
    return found


def missing() -> list[str]:
    """Returns those of the two servers' programs that are not on this machine."""
    return [program for program in _SERVERS if find(program) is None]


def advice(programs: list[str]) -> str:
    """Returns one sentence with the command that installs the programs on this machine."""
    if platform.system() == "Darwin":
        return f"Install with: brew install {' '.join(_BREW.get(name, 'rabbitmq') for name in programs)}"
    packages = " ".join(PACKAGES.get(name, "rabbitmq-server") for name in programs)
    if shutil.which("apt-get"):
        return f"Install with: sudo apt-get install {packages}"
    return f"Install the packages that contain {packages}, or set RABBITMQ_URL and REDIS_URL to existing servers."
