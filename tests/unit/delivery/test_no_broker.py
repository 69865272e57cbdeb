"""The rule book does no I/O: it can be imported, and so understood, without the broker."""

import subprocess
import sys


def test_the_rule_book_does_not_know_the_broker() -> None:
    code = "import sys, shared.delivery.delivery; print([n for n in sys.modules if 'broker' in n or 'pika' in n])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.strip() == "[]"
