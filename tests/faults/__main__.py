"""Runs ``./notify prove``: ``python -m tests.faults``."""

import sys

from ops.place import ROOT


def run() -> None:
    """Runs the command."""
    # The devices keep the rules of the Python client, which is a package of its own.
    sys.path.append(str(ROOT / "clients" / "python" / "src"))
    from tests.faults.harness.prove import main

    main()


if __name__ == "__main__":
    run()
