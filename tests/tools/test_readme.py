"""What the README says is so: its commands exist, its files are there, its examples run."""

from __future__ import annotations

import re
import sys
import uuid
from pathlib import Path

import click
import pytest

from tools import exits
from tools.cli import pipeline

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"(?P<note><!--[^\n]*-->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(language: str) -> list[tuple[str, str]]:
    """(note above it, text) of the code blocks of one language."""
    return [(found["note"] or "", found["text"]) for found in BLOCK.finditer(TEXT) if found["language"] == language]


def named(name: str) -> str:
    """The text of the shell block that a note names."""
    (text,) = [text for note, text in blocks("sh") if name in note]
    return text.strip()


def test_the_two_commands_are_one_line_each() -> None:
    """One sets up and runs the demo, one sets up and runs the tests."""
    for name, end in (("command: demo", "pipeline demo"), ("command: test", "pytest")):
        line = named(name)
        assert "\n" not in line
        assert line.endswith(end)


def test_links_lead_to_files() -> None:
    """Every relative link points at something that is there."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT)
    assert [] == [target for target in targets if not (ROOT / target).exists()]


def test_commands_exist() -> None:
    """Every `pipeline …` in code is a command that exists, with options that it has."""
    code = [text for _, text in blocks("sh")] + re.findall(r"`(pipeline [^`]+)`", TEXT)
    lines = [line.partition("#")[0] for text in code for line in text.splitlines()]
    for words in (re.sub(r".*?\bpipeline ", "", line).split() for line in lines if re.search(r"\bpipeline ", line)):
        command: click.Command = pipeline
        while isinstance(command, click.Group) and words and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        assert command is not pipeline or words[0].startswith("--"), words
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= known, words


def test_exit_codes_are_those_of_the_commands() -> None:
    """The table and `tools/exits.py` hold the same numbers."""
    table = {int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)}
    assert {value for value in vars(exits).values() if isinstance(value, int)} == table


def test_the_rig_file_is_a_rig(tmp_path: Path) -> None:
    """The example can be copied into a file and run."""
    from stations import load_rig

    ((_, text),) = blocks("toml")
    (tmp_path / "rig.toml").write_text(text)
    rig = load_rig(tmp_path / "rig.toml")
    assert ["pilot1.camera", "pilot1.probe", "pilot1.host"] == [name for _, name, _ in rig.streams()]


@pytest.mark.parametrize("text", [text for note, text in blocks("python") if "not run" not in note])
def test_python_examples_run(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each Python block does what it shows."""
    text = text.replace('"cam0"', f'"readme-{uuid.uuid4().hex}"')
    exec(compile(text, "README.md", "exec"), {"__name__": "readme"})  # noqa: S102 - our own README
    assert "(480, 640, 3) 0 " in capsys.readouterr().out
    assert sys.modules.get("readme") is None
