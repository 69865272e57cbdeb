"""Defines the errors that the command shows to its user, each with its exit code.

OpsError                 1  the command has failed
├── BadSetting           2  a setting, or the way the command was called, is wrong
├── NotRunning           3
├── AlreadyRunning       4
├── LockedByAnother      5  another operator works on failed.queue
├── ServerMissing        1  a required program is not installed
└── ServerFailed         1  a private server did not become ready
"""


class OpsError(Exception):
    """Is shown to the user as it is, without a traceback."""

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
    """Says that a program that a private server needs is not installed, and what to install."""


class ServerFailed(OpsError):
    """Says that a private server ended or was not ready in time; the text holds the last lines of its output."""
