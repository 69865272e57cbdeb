"""Where the command keeps what it runs: everything under one directory, ``.local`` unless set."""

from dataclasses import dataclass
from pathlib import Path

from ops.processes import PidFile

#: The checkout; every process runs from here.
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Place:
    """The files of one running system."""

    directory: Path

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
    def keeper(self) -> PidFile:
        """The process that holds the system up: the ``up`` that the user called, or the one in the background."""
        return PidFile(self.run / "up.pid")

    @property
    def lock(self) -> Path:
        """Held by the keeper as long as it lives, so that two cannot start at once."""
        return self.run / "up.lock"

    def process(self, name: str) -> PidFile:
        return PidFile(self.run / f"process-{name}.pid")

    def processes(self) -> dict[str, PidFile]:
        """The records of the product's own processes, also of those that have ended."""
        return {path.stem.removeprefix("process-"): PidFile(path) for path in sorted(self.run.glob("process-*.pid"))}

    def log_file(self, name: str) -> Path:
        return self.log / f"{name}.log"

    def log_names(self) -> list[str]:
        return sorted(path.stem for path in self.log.glob("*.log"))
