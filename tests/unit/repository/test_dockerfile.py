"""Tests that the image runs without root, and contains only the product and no files of the machine that built it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LINES = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
IGNORED = (ROOT / ".dockerignore").read_text().splitlines()


def stages() -> dict[str, list[str]]:
    """Returns the stages: name -> instructions, with FROM first."""
    found: dict[str, list[str]] = {}
    for line in LINES:
        if line.startswith("FROM "):
            found[line.split(" AS ")[1]] = []
        if found:
            list(found.values())[-1].append(line)
    return found


def test_no_process_in_it_is_root() -> None:
    users = [line.split()[1] for line in LINES if line.startswith("USER ")]
    assert users == ["10001:10001"], "by number: runAsNonRoot cannot judge a name"
    assert stages()["sandbox"][0] == "FROM product AS sandbox", "inherits the user"
    assert stages()["product"][-2].startswith("USER "), "nothing is done as root after it"


def test_the_product_holds_no_stand_in_and_no_compiler() -> None:
    assert [line for line in stages()["product"] if "sandbox" in line] == []
    assert "COPY --from=environment /opt/notify /opt/notify" in stages()["product"]
    assert [line for line in stages()["product"] if "pip " in line or "apt-get" in line] == []


def test_only_what_is_named_is_sent_to_the_builder() -> None:
    rules = [line for line in IGNORED if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        word.split("/")[0]
        for line in LINES
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    assert allowed == copied
    assert all((ROOT / name).exists() for name in allowed)
    assert [name for name in allowed if name.startswith(".")] == []
