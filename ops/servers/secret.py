"""Keeps the passwords of private servers in files that only their owner can read."""

import contextlib
import os
import secrets
from pathlib import Path

from ops.place import writing_to


def kept_password(file: Path) -> str:
    """Returns the password in ``file``; the first call writes a random one of 192 bits there. Raises BadSetting."""
    with writing_to(file.parent):
        if not file.exists():
            _keep(file, secrets.token_hex(24))
        file.chmod(0o600)
        return file.read_text().strip()


def _keep(file: Path, password: str) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The file appears complete, and of two processes that start together only one writes it.
    new = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    write_private(new, password)
    with contextlib.suppress(FileExistsError):
        os.link(new, file)
    new.unlink()


def write_private(file: Path, text: str) -> None:
    """Writes a file that only its owner can read, also if the file was readable before."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as output:
        os.fchmod(output.fileno(), 0o600)
        output.write(text)
