"""Who may import whom, and that what is installed is what stands in the folders."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("agent", "envs", "planners", "scripts", "world_model")
MAY_IMPORT = {
    "envs": set(),
    "world_model": set(),
    "planners": set(),
    "agent": {"world_model", "planners"},
    "scripts": {"agent", "envs", "planners", "world_model"},
}


def imported_rooms(path: Path) -> set[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.append(node.module or "")
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("jepa_rl.")}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room):
    for path in (ROOT / room).glob("**/*.py"):
        assert imported_rooms(path) <= MAY_IMPORT[room] | {room}, path


def test_the_wheel_lists_every_room():
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == set(ROOMS)
    folders = {path.parent.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).glob("**/*.py")}
    listed = {"jepa_rl." + ".".join(folder.parts): folder.as_posix() for folder in folders}
    assert set(setuptools["packages"]) == set(listed)
    assert setuptools["package-dir"] == listed


def test_test_modules_have_names_of_their_own():
    names = [path.name for path in (ROOT / "tests").glob("**/test_*.py")]
    assert len(names) == len(set(names))
