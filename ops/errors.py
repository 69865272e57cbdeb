"""What the command tells its user, and the exit code that goes with it.

OpsError                 1  it did not work
├── BadSetting           2  a setting, or the way the command was called, is wrong
├── NotRunning           3
├── AlreadyRunning       4
├── LockedByAnother      5  another operator works on failed.queue
├── ServerMissing        1  a program that we need is not installed
└── ServerFailed         1  a private server did not become ready
"""


class OpsError(Exception):
    """Shown to the user as it is, without a traceback."""

    exit_code = 1


class BadSetting(OpsError):
    exit_code = 2


class NotRunning(OpsError):
    exit_code = 3


class AlreadyRunning(OpsError):
    exit_code = 4


class LockedByAnother(OpsError):
    exit_code = 5


class ServerMissing(OpsError):
    """A program that a private server needs is not installed; the text says what to install."""


class ServerFailed(OpsError):
    """A private server ended or did not become ready in time; the text holds its last words."""
