"""Tests that supervisord reads the generated configuration as it is meant."""

import shlex
from configparser import RawConfigParser
from pathlib import Path

from ops.place import Place
from ops.system.fleet import Port, Program
from ops.system.supervision import configuration_text

PROGRAM = Program("push-1", "services.push", (Port(5081, "PUSH_PORT"),), replica=1)


def read(directory: Path) -> RawConfigParser:
    parser = RawConfigParser()
    parser.read_string(configuration_text(Place(directory), directory / "s.sock", [PROGRAM]))
    return parser


def test_a_process_that_dies_is_always_restarted_and_has_time_to_finish() -> None:
    section = read(Path("/tree/.local"))["program:push-1"]
    assert section["autorestart"] == "true"
    assert section["startsecs"] == "5"
    assert section["startretries"] == "1000000"
    assert section["stopwaitsecs"] == "35"
    assert section["environment"] == 'NOTIFY_REPLICA="1"'


def test_a_directory_with_blanks_and_percent_signs_survives() -> None:
    section = read(Path("/a b/50%/.local"))["program:push-1"]
    words = shlex.split(section["command"] % {})
    assert words[1:] == ["-m", "ops.system.launch", "/a b/50%/.local/run/process-push-1.pid", "services.push"]


def test_logs_are_rotated() -> None:
    section = read(Path("/tree/.local"))["program:push-1"]
    assert section["stdout_logfile"] == "/tree/.local/log/push-1.log"
    assert section["stdout_logfile_maxbytes"] == "10MB"
