"""Runs the command line: ``./notify`` starts ``python -m ops``."""

from ops.cli import main

if __name__ == "__main__":
    main()
