"""Compile the native code, or what is built around it, as the package's own build does."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHM = ROOT / "shm"
SOURCES = ROOT / "tests" / "shm" / "native"
FLAGS = ("-std=gnu11", "-DPy_LIMITED_API=0x030B0000", "-fPIC", "-fvisibility=hidden")
STRICT = ("shadow", "conversion", "strict-prototypes", "pointer-arith", "vla", "undef")
WARNINGS = ("-Wall", "-Wextra", *(f"-W{name}" for name in STRICT))
ARM_HEADERS = Path("/usr/aarch64-linux-gnu/include")
COMMANDS = {
    "gcc": ("gcc",),
    "clang": ("clang",),
    "aarch64 gcc": ("aarch64-linux-gnu-gcc",),
    "aarch64 clang": ("clang", "--target=aarch64-linux-gnu", "-isystem", str(ARM_HEADERS)),
}


def compile_native(compiler: str, *arguments: str | Path, into: Path) -> None:
    """Run one of COMMANDS with the headers of shm/ and of Python; the test is skipped where there is no such compiler.

    Raises:
        AssertionError: it failed, with all that it said.
    """
    command = COMMANDS[compiler]
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]} here; `.ci/packages test` installs it")
    if "aarch64" in compiler and not ARM_HEADERS.is_dir():
        pytest.skip(f"there are no headers in {ARM_HEADERS}; `.ci/packages test` installs them")
    headers = python_headers(into.parent / "headers") if "aarch64" in compiler else ()
    system = ("-isystem", sysconfig.get_path("include"), *headers)
    done = subprocess.run(
        [*command, *FLAGS, "-I", SHM, *system, *arguments, "-o", into], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(map(str, done.args))}\n{done.stderr}"


def python_headers(folder: Path) -> tuple[str, ...]:
    """Lend an aarch64 compiler this machine's pyconfig.h where Debian's asks for one of its own: both are LP64."""
    version = f"python{sysconfig.get_python_version()}"
    host = Path("/usr/include") / str(sysconfig.get_config_var("MULTIARCH")) / version / "pyconfig.h"
    inner = folder / "aarch64-linux-gnu" / version
    inner.mkdir(parents=True, exist_ok=True)
    (inner / "pyconfig.h").write_text(f'#include "{host}"\n')
    return "-isystem", str(folder)
