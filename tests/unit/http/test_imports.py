import ast
from pathlib import Path

ROOT = Path(__file__).parents[3]
#: what only the hot path's client may know of
PARTS = {"httptools", "aiohappyeyeballs"}


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def users(libraries: set[str]) -> set[str]:
    files = [file for part in ("shared", "gateway", "services") for file in (ROOT / part).rglob("*.py")]
    return {str(file.relative_to(ROOT)) for file in files if imported(file) & libraries}


def test_only_the_client_knows_what_it_is_made_of() -> None:
    assert users(PARTS) == {"shared/http/response.py", "shared/http/connection.py", "shared/http/dial.py"}


def test_the_product_does_without_the_client_it_is_measured_against() -> None:
    assert users({"pyreqwest"}) == set()
    assert "pyreqwest" not in (ROOT / "requirements.txt").read_text()
