"""Installs servers with apt-get, and prevents the installation from starting any service."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable

from ops.errors import ServerMissing
from ops.servers.programs import PACKAGES, advice, find

# The packages start their services when they are installed, unless /usr/sbin/policy-rc.d exits with 101. The script
# writes its own policy file and removes it at the end in every case, and it restores the file that was there before. It
# recognizes its own file, left by a run that was killed, by the mark, and does not save that one.
_POLICY = "/usr/sbin/policy-rc.d"
INSTALL_SCRIPT = r"""
set -e
policy=$1
shift
saved=$policy.before-notify
mark='written by ./notify'
restore() {
    rm -f "$policy"
    if [ -e "$saved" ]; then mv "$saved" "$policy"; fi
}
if [ -e "$policy" ] && ! grep -q "$mark" "$policy"; then mv "$policy" "$saved"; fi
trap restore EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" >"$policy"
chmod 755 "$policy"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq -o DPkg::Lock::Timeout=120 update
apt-get -qq -o DPkg::Lock::Timeout=120 -y --no-install-recommends install "$@"
"""


def ensure(programs: list[str], say: Callable[[str], None]) -> None:
    """Installs those of ``programs`` that are missing. Raises ServerMissing, which says what to install by hand."""
    lacking = [program for program in programs if find(program) is None]
    if not lacking:
        return
    command = _command([PACKAGES[program] for program in lacking])
    if command is None:
        raise ServerMissing(f"Not installed: {', '.join(lacking)}. {advice(lacking)}")
    say(f"Installing {' and '.join(lacking)} with apt-get; their services are not started ...")
    succeeded, output = _run(command)
    if not succeeded or any(find(program) is None for program in lacking):
        raise ServerMissing(f"apt-get could not install {', '.join(lacking)}. {advice(lacking)}\n{output[-2000:]}")


def _run(command: list[str]) -> tuple[bool, str]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        output, _ = process.communicate()
    except BaseException:
        # If the script were killed, it would leave the machine unable to start any service: ask it to stop, and wait
        # until it has cleaned up. A process that sudo runs cannot be signalled from here; Ctrl-C has reached it from
        # the terminal.
        with contextlib.suppress(PermissionError):
            process.terminate()
        process.wait()
        raise
    return process.returncode == 0, output


def _command(packages: list[str]) -> list[str] | None:
    """Returns the command that installs the packages on this machine, or None if there is none."""
    if shutil.which("apt-get") is None:
        return None
    script = ["sh", "-c", INSTALL_SCRIPT, "install", _POLICY, *packages]
    if os.geteuid() == 0:
        return script
    if shutil.which("sudo") is None:
        return None
    # Without a terminal no one could type the password.
    return ["sudo", *([] if sys.stdin.isatty() else ["-n"]), *script]
