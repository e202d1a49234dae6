"""The extension under AddressSanitizer and UndefinedBehaviorSanitizer, driven by the tests of the ring."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.compiler import ROOT, SHM, compile_native

TESTS = tuple(f"test_{name}.py" for name in ("ring", "blob", "counters", "gate", "layout", "ring_model"))
OPTIONS = (
    "-O1",
    "-g",
    "-shared",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
)
GUARD = '''
"""Part of the run: it is the sanitized extension that is tested."""
from pathlib import Path

import shm._native


def test_the_extension_is_the_sanitized_one() -> None:
    assert Path(shm._native.__file__).parent == Path(__file__).parents[2] / "shm"
    assert "libasan" in Path("/proc/self/maps").read_text()
'''


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a folder with shm/, its extension sanitized, and the tests that run in one process."""
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(SHM, tmp_path / "shm", ignore=ignored)
    shutil.copytree(ROOT / "tests" / "support", tmp_path / "tests" / "support", ignore=ignored)
    (tmp_path / "tests" / "shm").mkdir()
    for name in TESTS:
        shutil.copy(ROOT / "tests" / "shm" / name, tmp_path / "tests" / "shm")
    (tmp_path / "tests" / "shm" / "test_guard.py").write_text(GUARD)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests")
    compile_native("gcc", *OPTIONS, SHM / "_native.c", into=tmp_path / "shm" / "_native.abi3.so")
    return tmp_path


def library(name: str) -> str:
    """Return where gcc keeps a sanitizer's library."""
    found = subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return found.stdout.strip()


def test_the_tests_of_the_ring_pass_sanitized(tree: Path) -> None:
    """Items, blobs, counters, layout and the model run without a report; the first would end the process."""
    environment = os.environ | {
        "LD_PRELOAD": library("libasan.so"),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python keeps what it has interned
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",  # every object has borders of its own
        "PYTHONPATH": os.pathsep.join((str(tree), str(tree / "tests"), os.environ.get("PYTHONPATH", ""))),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=110, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-10_000:]
    assert "runtime error" not in said
    assert "Sanitizer" not in said
