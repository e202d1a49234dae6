"""The shape of the tree: who imports whom, who owns which library, what every file has."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("shm", "pipeline", "stations", "tools")
DISTRIBUTION = "acquisition-pipeline"
SOLE_IMPORTERS = {
    "zmq": "pipeline/transport.py",
    "posix_ipc": "shm/segment.py",
    "mmap": "shm/segment.py",
}
RIVALS = Path("tools/bench/transports")
THINK_AT = 400
SPLIT_AT = 600


def modules() -> list[Path]:
    """Every Python file of the four packages, relative to the root."""
    return sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """The top-level names that a file imports absolutely, wherever in the file."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            yield node.module.partition(".")[0]


def test_no_import_runs_upwards() -> None:
    """The contracts in pyproject.toml hold."""
    lint = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_top_level_packages_are_ours_alone(package: str) -> None:
    """No other distribution in this environment ships a package of the same name."""
    assert {DISTRIBUTION} == set(metadata.packages_distributions()[package])


@pytest.mark.parametrize(("library", "owner"), SOLE_IMPORTERS.items())
def test_each_system_library_has_one_importer(library: str, owner: str) -> None:
    """Sockets, segments and mappings are each known to one module, if to any; rivals in a bench use them raw."""
    ours = (path for path in modules() if RIVALS not in path.parents)
    assert {owner} >= {str(path) for path in ours if library in imported(path)}


@pytest.mark.parametrize("path", modules(), ids=str)
def test_every_module_says_what_it_is(path: Path) -> None:
    """Each module starts with a docstring."""
    assert ast.get_docstring(ast.parse((ROOT / path).read_text()))


def test_packages_re_export_and_do_nothing_else() -> None:
    """An `__init__` holds a docstring, imports and `__all__`."""
    allowed = (ast.Import, ast.ImportFrom)
    for path in modules():
        if path.name != "__init__.py":
            continue
        for node in ast.parse((ROOT / path).read_text()).body:
            is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            is_all = isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["__all__"]
            assert isinstance(node, allowed) or is_docstring or is_all, f"{path}:{node.lineno}"


def test_nobody_imports_a_private_name_across_packages() -> None:
    """`from shm import X` and `from shm.x import _y`: only the first is allowed between packages."""
    for path in modules():
        own = path.parts[0]
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
                package = node.module.partition(".")[0]
                if package in PACKAGES and package != own:
                    parts = [*node.module.split("."), *(alias.name for alias in node.names)]
                    assert not [part for part in parts if part.startswith("_")], f"{path}:{node.lineno}"


def test_files_are_small(record_property: Callable[[str, object], None]) -> None:
    """No file has grown past the point where it should have been split; the long ones are reported."""
    sizes = {str(path): len((ROOT / path).read_text().splitlines()) for path in modules()}
    for path, size in sizes.items():
        if size > THINK_AT:
            record_property(path, size)
            print(f"{path}: {size} lines, think about splitting it")
    assert {} == {path: size for path, size in sizes.items() if size > SPLIT_AT}


def test_tests_are_not_packages() -> None:
    """An `__init__.py` under tests would shadow the packages under test."""
    assert [] == list((ROOT / "tests").rglob("__init__.py"))
