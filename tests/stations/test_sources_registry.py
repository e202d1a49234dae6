"""Finding sources by their text, and sources of a user's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stations.errors import SourceError
from stations.sources import Source, SourceSpec, check_source, make_source, open_source, resolve_path

MODULE = """
from stations.sources import SourceSpec

class Ramp:
    spec = SourceSpec(shape=(2,), dtype="f4", rate=100.0, paced=True)
    def __init__(self, *, step: float = 1.0):
        self.step, self.value = step, 0.0
    def open(self): pass
    def read_into(self, out):
        for row in out:
            row[:] = self.value = self.value + self.step
        return len(out)
    def close(self): pass

class Half:
    spec = Ramp.spec
    def open(self): pass
    def close(self): pass

def broken():
    raise RuntimeError
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "my_source.py").write_text(MODULE)
    (tmp_path / "my_broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_source"
    sys.modules.pop("my_source", None)


def test_class_of_a_users_own_is_a_source(own_module: str) -> None:
    """Ten lines and a name in the rig file are enough; options are keyword arguments."""
    source = open_source(f"python:{own_module}:Ramp", {"step": 2})
    out = np.zeros((3, 2), "f4")
    assert isinstance(source, Source)
    assert 3 == source.read_into(out)
    assert [2, 4, 6] == out[:, 1].tolist()


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("python:my_source:Ramp", {"stepp": 1}, "python:my_source:Ramp has no option 'stepp'; did you mean 'step'?"),
        ("python:my_source:Ramp", {"step": "x"}, "step = 'x': expected float, got str"),
        ("python:my_source:Rampe", {}, "module 'my_source' has no class 'Rampe'; did you mean 'Ramp'?"),
        ("python:my_source:Half", {}, "python:my_source:Half has no method read_into()"),
        ("python:my_source", {}, "names no class; write 'python:module:Class'"),
        ("python:no_such_module:A", {}, "cannot import 'no_such_module'"),
        ("python:my_broken:A", {}, "importing 'my_broken' failed: ZeroDivisionError: division by zero"),
        ("synthetic:camra", {}, "unknown source 'synthetic:camra'; did you mean 'synthetic:camera'?"),
        ("lidar:front", {}, "unknown source 'lidar:front'; known: host, python:module:Class"),
        ("host:0", {}, "takes nothing behind the name; write 'host'"),
        ("wav:", {}, "lacks what it should read; write 'wav:PATH'"),
        ("synthetic:signal", {"channels": 3}, "channels = 3: expected int >= 4"),
        ("video:x.mp4", {"rate": "fast"}, "rate = 'fast': expected a number or 'max'"),
    ],
)
def test_wrong_source_is_refused_in_one_line(
    own_module: str, text: str, options: dict[str, object], message: str
) -> None:
    """The line begins with the stream and names the thing."""
    with pytest.raises(SourceError) as refused:
        make_source(text, options, name="pilot1.cam0")
    assert str(refused.value).startswith("pilot1.cam0: ")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_check_imports_no_users_module_unless_told() -> None:
    """A rig file may be checked where a Pilot's modules are not."""
    check_source("python:no_such_module:A", {}, name="s")
    with pytest.raises(SourceError):
        check_source("python:no_such_module:A", {}, name="s", imports=True)


def test_only_paths_are_resolved() -> None:
    """Other sources stay as they were written."""
    assert "wav:/rigs/a.wav" == resolve_path("wav:a.wav", Path("/rigs"))
    assert "wav:/b.wav" == resolve_path("wav:/b.wav", Path("/rigs"))
    assert "python:a:B" == resolve_path("python:a:B", Path("/rigs"))


@pytest.mark.parametrize(
    "wrong",
    [{"dtype": "O"}, {"dtype": "nonsense"}, {"shape": (3, 0)}, {"rate": 0.0}, {"rate": None, "paced": True}],
)
def test_spec_that_no_ring_can_hold_is_refused(wrong: dict[str, object]) -> None:
    """A spec is checked where it is made."""
    with pytest.raises(SourceError):
        SourceSpec(**{"shape": (3,), "dtype": "f4", "rate": 1.0, **wrong})  # type: ignore[arg-type]
