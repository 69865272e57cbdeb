"""Tests that the claim token of a delivery belongs to no other delivery."""

from __future__ import annotations

import subprocess
import sys

from ops.place import ROOT

#: prints the tokens of two deliveries, then forks, and the child prints the tokens of two more
_FORKING = """
import os
from shared.message.incoming import _fresh_token
print(_fresh_token(), _fresh_token(), flush=True)
child = os.fork()
if child:
    # What two processes print at the same time may be mixed.
    os.waitpid(child, 0)
print(_fresh_token(), _fresh_token(), flush=True)
"""


def test_no_two_deliveries_have_the_same_token_although_their_processes_were_forked_from_one() -> None:
    said = subprocess.run([sys.executable, "-c", _FORKING], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tokens = said.split()
    assert len(tokens) == len(set(tokens)) == 6, tokens
