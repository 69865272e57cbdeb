"""Records its pid in a file, then becomes another module: ``python -m ops.system.launch PID_FILE MODULE``.

It ends at once if the system is stopping (``Place.stopping``). With the record the next ``up`` or ``down`` can end
processes that a killed supervisor left running. The pid and the start time stay the same across the exec.
"""

import os
import sys
from pathlib import Path

from ops.place import Place
from ops.processes import Identity, PidFile


def main(pid_file: str, module: str) -> None:
    identity = Identity.of(os.getpid())
    if identity is None:
        raise RuntimeError("the operating system does not list this process")
    record = PidFile(Path(pid_file))
    record.write(identity)
    if Place(record.path.parents[1]).stopping.exists():
        return
    os.execv(sys.executable, [sys.executable, "-m", module])


if __name__ == "__main__":
    main(*sys.argv[1:])
