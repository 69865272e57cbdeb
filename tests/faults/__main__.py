"""``python -m tests.faults``: what ``./notify prove`` runs."""

from tests.faults.harness.prove import main

if __name__ == "__main__":
    main()
