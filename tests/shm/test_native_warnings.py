"""The native code compiles without a warning, wherever it may be built."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.compiler import COMMANDS, SHM, WARNINGS, compile_native


@pytest.mark.parametrize("compiler", COMMANDS)
@pytest.mark.parametrize("defines", [(), ("-DSHM_KILL_POINTS",)], ids=["installed", "test build"])
def test_no_compiler_warns(compiler: str, defines: tuple[str, ...], tmp_path: Path) -> None:
    """Gcc and clang, for this machine and for aarch64, have nothing to say about the extension."""
    compile_native(compiler, *WARNINGS, "-Werror", *defines, "-O2", "-c", SHM / "_native.c", into=tmp_path / "native.o")
