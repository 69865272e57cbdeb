"""``python -m ops``, which is what ``./notify`` runs."""

from ops.cli import main

if __name__ == "__main__":
    main()
