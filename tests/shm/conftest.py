"""A build of the package whose extension can be asked more than the installed one."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.compiler import SHM, compile_native


@pytest.fixture(scope="session")
def instrumented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the package as it is, but for an extension that has kill points and counts shared words."""
    folder = tmp_path_factory.mktemp("instrumented")
    package = folder / "shm"
    package.mkdir()
    compile_native("gcc", "-DSHM_KILL_POINTS", "-O1", "-shared", SHM / "_native.c", into=package / "_native.abi3.so")
    for module in SHM.glob("*.py"):
        (package / module.name).symlink_to(module)
    return folder
