"""What a user can get wrong about a rig: one line that names the thing, exit code 2, nothing left running."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from shm import list_segments

PIPELINE = str(Path(sys.executable).with_name("pipeline"))
STORY = ("page: ", "recording ")
"""What a rig may have told before its bad part was found."""
CAMERA = 'source = "synthetic:camera"\nshape = [120, 160, 3]\nrate = 30\n'
NAME = f"bad-{uuid.uuid4().hex[:8]}"
MARK = "PIPELINE_TEST_MARK"
SHM = Path(os.sep, "dev", "shm")


def rig(stream: str = CAMERA, *, sections: str = "") -> str:
    """The text of a rig with one stream."""
    return f'[rig]\nname = "{NAME}"\n{sections}\n[pilots.pilot1.streams.cam0]\n{stream}'


def survivors(mark: str) -> list[str]:
    """Processes that still run with a mark in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def refused(folder: Path, text: str | None, *options: str, within: tuple[str, ...] = ()) -> str:
    """Run a rig that cannot run; return the line on stderr after checking that it is one and that all is gone.

    Args:
        folder: where the rig file is written and the command is run.
        text: the rig file; None: there is none.
        options: more arguments.
        within: a command that runs ours.
    """
    if text is not None:
        (folder / "rig.toml").write_text(text)
    mark = uuid.uuid4().hex
    result = subprocess.run(
        [*within, PIPELINE, "run", "rig.toml", "--no-browser", "--json", "--duration", "5", *options],
        cwd=folder,
        env={**os.environ, MARK: mark},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (2, "") == (result.returncode, result.stdout), result.stderr
    errors = [line for line in result.stderr.splitlines() if not line.startswith(STORY)]
    assert 1 == len(errors), result.stderr
    assert errors[0].startswith("pipeline: ")
    assert [] == survivors(mark)
    assert [] == list_segments(f"{NAME}/")
    return errors[0]


def test_no_rig_file(tmp_path: Path) -> None:
    """The path that was given is named."""
    assert "rig.toml" in refused(tmp_path, None)


def test_a_file_that_is_not_toml(tmp_path: Path) -> None:
    """The file and the line in it are named."""
    line = refused(tmp_path, "[rig\nname = 3")
    assert "rig.toml" in line
    assert "line 1" in line


def test_missing_source_file(tmp_path: Path) -> None:
    """The stream and the file are named."""
    line = refused(tmp_path, rig('source = "video:nowhere.mp4"\n'))
    assert "cam0" in line
    assert "nowhere.mp4" in line


def test_undecodable_video(tmp_path: Path) -> None:
    """A file that is no video is refused before anything is recorded."""
    (tmp_path / "notes.mp4").write_text("this is not a video\n" * 100)
    line = refused(tmp_path, rig('source = "video:notes.mp4"\n'))
    assert "notes.mp4" in line


def test_unknown_source(tmp_path: Path) -> None:
    """The source is named and the nearest one that exists is suggested."""
    line = refused(tmp_path, rig('source = "synthetic:camara"\n'))
    assert "synthetic:camara" in line
    assert "synthetic:camera" in line


@pytest.mark.parametrize(
    ("text", "wrong", "meant"),
    [
        (rig(sections="DRAWFSP = 10"), "rig.DRAWFSP", "DRAWFPS"),
        (rig(CAMERA + "secnods = 2\n"), "secnods", "seconds"),
        (rig(CAMERA + 'restrat = "stop"\n'), "restrat", "restart"),
        (rig().replace("pilots", "pilot"), "pilot", "pilots"),
    ],
    ids=["rig", "stream", "policy", "section"],
)
def test_unknown_key(tmp_path: Path, text: str, wrong: str, meant: str) -> None:
    """The key is named and the one that was probably meant is suggested."""
    line = refused(tmp_path, text)
    assert wrong in line
    assert f"{meant}" in line.partition(wrong)[2]


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port of this machine that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("key", ["MSGPORT", "DATAPORT", "VIEWPORT"])
def test_port_in_use(tmp_path: Path, taken_port: int, key: str) -> None:
    """The port is named."""
    line = refused(tmp_path, rig(sections=f"[terminal]\n{key} = {taken_port}"))
    assert str(taken_port) in line


def test_shared_memory_too_small_for_the_rings(tmp_path: Path) -> None:
    """What is needed and what there is are named; nothing is left half made."""
    space = os.statvfs(SHM)
    slots = space.f_blocks * space.f_frsize // (120 * 160 * 3) + 1000
    line = refused(tmp_path, rig(CAMERA + f"slots = {slots}\n"))
    assert str(SHM) in line
    assert "cam0" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small /dev/shm")
def test_shared_memory_of_a_container(tmp_path: Path) -> None:
    """In the 64 MB that containers get, a rig that needs more is refused and nothing dies of SIGBUS."""
    mount = f'mount -t tmpfs -o size=64m tmpfs {SHM} && exec "$@"'
    within = ("unshare", "--mount", "sh", "-c", mount, "sh")
    line = refused(tmp_path, rig('source = "synthetic:camera"\nshape = [480, 640, 3]\nrate = 60\n'), within=within)
    assert str(SHM) in line


def test_output_is_a_file(tmp_path: Path) -> None:
    """A folder that cannot be made is named."""
    (tmp_path / "occupied").write_text("")
    assert "occupied" in refused(tmp_path, rig(), "--output", "occupied")


def test_output_cannot_be_written(tmp_path: Path) -> None:
    """A folder in which nothing can be made is named (/proc refuses root too)."""
    assert "/proc/recordings" in refused(tmp_path, rig(), "--output", "/proc/recordings")
