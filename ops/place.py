"""Names the files of a running system: all lie in one directory, ``.local`` unless NOTIFY_LOCAL_DIR is set."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ops.errors import BadSetting
from ops.processes import PidFile

#: The checkout. Every process runs from this directory.
ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def writing_to(directory: Path) -> Iterator[None]:
    """Turns an OSError into a BadSetting that names NOTIFY_LOCAL_DIR, under which ``directory`` lies."""
    try:
        yield
    except OSError as exc:
        raise BadSetting(f"NOTIFY_LOCAL_DIR: cannot write to {directory}: {exc.strerror}") from exc


@dataclass(frozen=True)
class Place:
    """Names the files of one running system, under ``directory``."""

    directory: Path

    def make(self) -> None:
        """Makes the directory, which only its owner may enter: logs, messages and passwords lie in it.

        A directory that exists and was not made here (such as /tmp) keeps its mode. Raises OSError.
        """
        if self.run.exists() or not self.directory.exists():
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.directory.chmod(0o700)
        self.run.mkdir(exist_ok=True)

    @property
    def run(self) -> Path:
        return self.directory / "run"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def rabbitmq(self) -> Path:
        return self.directory / "rabbitmq"

    @property
    def redis(self) -> Path:
        return self.directory / "redis"

    @property
    def database(self) -> Path:
        """Returns the file of the embedded database; SQLite keeps others beside it."""
        return self.directory / "store" / "notify.db"

    @property
    def keeper(self) -> PidFile:
        """Returns the record of the process that keeps the system running: ``up`` in the foreground or background."""
        return PidFile(self.run / "up.pid")

    @property
    def lock(self) -> Path:
        """Returns the file that the keeper locks while it lives, so that two keepers cannot run at once."""
        return self.run / "up.lock"

    @property
    def stopping(self) -> Path:
        """Returns the file that exists while the processes are to end: one that is just being started then ends itself.

        supervisord loses a SIGTERM for a child that it has forked and that has not become another program yet.
        """
        return self.run / "stopping"

    @property
    def fleet(self) -> Path:
        """Returns the file with the digest of the settings with which the processes were started."""
        return self.run / "fleet.sha256"

    def process(self, name: str) -> PidFile:
        return PidFile(self.run / f"process-{name}.pid")

    def processes(self) -> dict[str, PidFile]:
        """Returns the records of the product's own processes by name, including those that have ended."""
        return {path.stem.removeprefix("process-"): PidFile(path) for path in sorted(self.run.glob("process-*.pid"))}

    def log_file(self, name: str) -> Path:
        return self.log / f"{name}.log"

    def log_names(self) -> list[str]:
        return sorted(path.stem for path in self.log.glob("*.log"))
