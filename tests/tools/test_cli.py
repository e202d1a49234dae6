"""`pipeline` as a newcomer meets it: a process with help, exit codes, stdout and stderr."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from tools import exits
from tools.boundary import run_command
from tools.cli import SECTIONS, pipeline
from tools.extras import extras, missing_extra, require_extra

PIPELINE = str(Path(sys.executable).with_name("pipeline"))
HEAVY = ("numpy", "zmq", "h5py", "av", "tornado", "textual", "blosc", "shm", "stations")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed console script to its end."""
    return subprocess.run([PIPELINE, *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_help_names_every_command_and_where_to_start() -> None:
    """A newcomer finds each command with a sentence, and what to type first."""
    result = command("--help")
    assert exits.OK == result.returncode
    for name in ("demo", "run", "record", "stream", "verify", "recover", "replay", "clean", "bench", "config", "plan"):
        assert any(line.split()[:1] == [name] and len(line.split()) > 3 for line in result.stdout.splitlines()), name
    assert "pipeline demo" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100


def every_command(group: click.Group, *path: str) -> list[list[str]]:
    """The words of every command and group below a group."""
    found = []
    for name, entry in group.commands.items():
        found.append([*path, name])
        if isinstance(entry, click.Group):
            found += every_command(entry, *path, name)
    return found


@pytest.mark.parametrize("words", every_command(pipeline), ids=" ".join)
def test_each_command_has_help(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """Each command says what it does, in a first sentence that is not cut off."""
    assert exits.OK == run_command(pipeline, [*words, "--help"], "pipeline")
    out, err = capfd.readouterr()
    assert out.startswith(f"Usage: pipeline {' '.join(words)}")
    assert "..." not in out.partition("Options:")[0].replace("[ARGS]...", "").replace("COMMAND [", "")
    assert not err


def test_every_command_has_a_section() -> None:
    """The sections of the help and the commands that exist are the same."""
    shown = [str(entry.name) for entries in SECTIONS.values() for entry in entries]
    assert sorted(shown) == sorted(pipeline.commands)


def test_help_loads_no_library() -> None:
    """Help is quick because nothing that a command needs is imported for it."""
    script = f"import sys, tools.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "[]" == result.stdout.strip()


def test_help_is_quick() -> None:
    """Half a second even on a busy machine, of which Python itself takes its part."""
    spent = []
    for _ in range(3):
        begin = time.perf_counter()
        command("--help")
        spent.append(time.perf_counter() - begin)
    assert min(spent) < 0.5


def test_version_says_whose_the_packages_are() -> None:
    """Each of the four packages is named with its distribution."""
    result = command("--version")
    assert exits.OK == result.returncode, result.stdout
    assert result.stdout.startswith("pipeline ")
    assert 4 == result.stdout.count("from acquisition-pipeline: ok")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["dmeo"], "dmeo"),
        (["demo", "--durration", "3"], "--durration"),
        (["demo", "--duration", "-1"], "-1"),
        (["run"], "RIG.toml"),
        (["run", "rig.toml", "--role", "captain"], "captain"),
        (["run", "rig.toml", "--role", "pilot", "--standby"], "--standby"),
        (["record", "--from", "10s"], "write -10s"),
        (["record", "--from", "-10parsecs"], "parsecs"),
        (["record", "--rig", "nonesuch"], "nonesuch"),
        (["verify", "/does/not/exist"], "/does/not/exist"),
        (["recover", "/does/not/exist"], "/does/not/exist"),
        (["replay", "/does/not/exist"], "/does/not/exist"),
        (["replay", "/does/not/exist", "--rate", "quick"], "quick"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistyped_command_is_one_line(arguments: list[str], named: str) -> None:
    """What was wrong is named on one line of stderr; stdout stays empty; exit code 2."""
    result = command(*arguments)
    assert (exits.BAD_INPUT, "") == (result.returncode, result.stdout)
    (line,) = result.stderr.splitlines()
    assert line.startswith("pipeline: ")
    assert named in line


def raising(error: BaseException) -> click.Command:
    """A command that fails with a given error."""

    @click.command()
    def fail() -> None:
        raise error

    return fail


def test_a_missing_extra_names_the_pip_command(capsys: pytest.CaptureFixture[str]) -> None:
    """An optional module that is not there is one line that can be copied into a shell."""
    assert exits.BAD_INPUT == run_command(
        raising(ModuleNotFoundError("No module named 'av'", name="av")), [], "pipeline"
    )
    assert capsys.readouterr().err == "pipeline: av is not installed; run: pip install 'acquisition-pipeline[video]'\n"


def test_a_required_extra_is_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing, what for, and the pip command."""
    monkeypatch.setattr("tools.extras.find_spec", lambda name: None if name == "tornado" else object())
    with pytest.raises(
        click.ClickException, match=r"the page needs tornado; run: pip install 'acquisition-pipeline\[term"
    ):
        require_extra("terminal", "the page")


def test_extras_are_those_of_the_distribution() -> None:
    """The table of extras comes from the installed metadata, so it cannot be out of date."""
    assert ["av"] == extras()["video"]
    assert {"h5py", "tornado", "simplejpeg", "textual", "rich"} == set(extras()["terminal"])
    assert missing_extra("os") is None


def test_a_defect_of_ours_keeps_its_traceback() -> None:
    """Only expected errors are shortened."""
    with pytest.raises(ZeroDivisionError):
        run_command(raising(ZeroDivisionError()), [], "pipeline")
    with pytest.raises(ModuleNotFoundError):
        run_command(raising(ModuleNotFoundError("No module named 'shmm'", name="shmm")), [], "pipeline")


def test_an_expected_error_is_one_line_whatever_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Line breaks inside a message do not reach the terminal; a path is named."""
    from pipeline.errors import PipelineError

    assert exits.BAD_INPUT == run_command(raising(PipelineError("port 5560 in use:\n  stop it")), [], "pipeline")
    assert exits.BAD_INPUT == run_command(raising(FileNotFoundError(2, "No such file", "rig.toml")), [], "pipeline")
    assert capsys.readouterr().err == "pipeline: port 5560 in use: stop it\npipeline: rig.toml: No such file\n"


def test_ctrl_c_ends_quietly(capsys: pytest.CaptureFixture[str]) -> None:
    """As shells expect: 130 and no traceback."""
    assert exits.INTERRUPTED == run_command(raising(KeyboardInterrupt()), [], "pipeline")
    assert not capsys.readouterr().err.strip()
