"""Runs ``./notify prove``: ``python -m tests.faults``."""

from tests.faults.harness.prove import main

if __name__ == "__main__":
    main()
