"""``python -m ops.system.launch PID_FILE MODULE``: become that module, with this pid on record.

The record lets the next ``up`` or ``down`` end what a killed supervisor left running. The pid and the start time
stay the same across the exec.
"""

import os
import sys
from pathlib import Path

from ops.processes import Identity, PidFile


def main(pid_file: str, module: str) -> None:
    identity = Identity.of(os.getpid())
    if identity is None:
        raise RuntimeError("the system does not know this very process")
    PidFile(Path(pid_file)).write(identity)
    os.execv(sys.executable, [sys.executable, "-m", module])


if __name__ == "__main__":
    main(*sys.argv[1:])
