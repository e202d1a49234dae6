"""What recordings are called: templates that are refused, names that count up, folders that are never taken twice."""

from __future__ import annotations

import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.rigs import SMALL, RunningRig

from stations.config import Rig, claim_folder, dump_rig, parse_rig
from stations.errors import ConfigError, OutputError
from stations.recording import read_journal, verify

NOON = datetime(2026, 11, 21, 12, 0, 5, tzinfo=UTC)
BIDS = "sub-{subject}/ses-{session}/sub-{subject}_ses-{session}_run-{run}"


def rig(template: str | None = None, **keys: str) -> Rig:
    lines = [f'{key} = "{value}"' for key, value in keys.items()]
    lines += [] if template is None else [f'recording = "{template}"']
    text = '[rig]\nname = "demo"\n' + "\n".join(lines)
    return parse_rig(text, folder=Path("/rigs"), name="rig.toml")


def claim(described: Rig, output: Path, now: datetime = NOON) -> str:
    """Claim a folder; return its path below the output folder."""
    return str(claim_folder(described, output, now).relative_to(output))


def test_a_recording_is_called_after_rig_and_time_unless_the_rig_file_says_otherwise(tmp_path: Path) -> None:
    """The time is in UTC."""
    assert "demo_2026-11-21T12-00-05Z" == claim(rig(), tmp_path)
    assert "a_2026-11-21T12-00-05Z.b" == claim(rig("a_{time}.b"), tmp_path)
    assert (tmp_path / "a_2026-11-21T12-00-05Z.b").is_dir()


def test_runs_count_up_by_subject_and_session(tmp_path: Path) -> None:
    """As BIDS has them, each session for itself."""
    first = rig(BIDS, SUBJECT="m7", session="01")
    assert "sub-m7/ses-01/sub-m7_ses-01_run-01" == claim(first, tmp_path)
    assert "sub-m7/ses-01/sub-m7_ses-01_run-02" == claim(first, tmp_path)
    assert "sub-m7/ses-02/sub-m7_ses-02_run-01" == claim(rig(BIDS, SUBJECT="m7", session="02"), tmp_path)
    assert first == parse_rig(dump_rig(first), folder=Path("/rigs"))


def test_a_run_counts_on_behind_the_highest(tmp_path: Path) -> None:
    """A number that was deleted is not given again, a file counts as well, and other names do not."""
    for name in ("r03_x", "r11_x", "r99", "xr98_x", "r97_y", "rzz_x"):
        (tmp_path / name).mkdir()
    (tmp_path / "r12_x").write_text("")
    described = rig("r{run}_x")
    assert ["r13_x", "r14_x"] == [claim(described, tmp_path) for _ in range(2)]


def test_runs_at_different_times_count_up_too(tmp_path: Path) -> None:
    """The time in a name does not make it another's; twice the same run is one."""
    described = rig("{run}_{time}_{run}")
    names = [claim(described, tmp_path, NOON + timedelta(minutes=n)) for n in range(3)]
    assert ["01", "02", "03"] == [name[:2] for name in names] == [name[-2:] for name in names]


def test_a_folder_that_exists_is_never_taken(tmp_path: Path) -> None:
    """Not an empty one either; two rigs that begin at once have one each."""
    claim(rig(), tmp_path)
    with pytest.raises(OutputError, match=re.escape("demo_2026-11-21T12-00-05Z: exists already")):
        claim(rig(), tmp_path)
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: claim(rig("x{run}"), tmp_path), range(40)))
    assert {f"x{number:02d}" for number in range(1, 41)} == set(names)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file stands in its way."""
    (tmp_path / "a").write_text("")
    with pytest.raises(OutputError, match=r"a/01: cannot hold a recording: Not a directory"):
        claim(rig("a/{run}"), tmp_path)


@pytest.mark.parametrize(
    ("template", "keys", "message"),
    [
        ("{rig}", {}, "rig.recording: a second run would have the name of the first; add {run} or {time}"),
        ("{subjct}_{run}", {}, "rig.recording: no field {subjct}; did you mean 'subject'?"),
        ("{run:3d}", {}, "rig.recording: no field {run}"),
        ("{}_{run}", {}, "rig.recording: no field {}"),
        ("{run", {}, "rig.recording: expected '}' before end of string"),
        ("{subject}_{run}", {}, "rig.SUBJECT: '' cannot be in the recording's name"),
        ("{subject}_{run}", {"SUBJECT": "a/b"}, "rig.SUBJECT: 'a/b' cannot be in the recording's name"),
        ("{session}_{run}", {"SUBJECT": "m"}, "rig.session: '' cannot be in the recording's name"),
        ("../{run}", {}, "rig.recording: '..' cannot be the name of a folder"),
        ("/rec/{run}", {}, "rig.recording: '' cannot be the name of a folder"),
        ("a//{run}", {}, "rig.recording: '' cannot be the name of a folder"),
        (".{run}", {}, "rig.recording: '.0' cannot be the name of a folder"),
        ("a b{run}", {}, "rig.recording: 'a b0' cannot be the name of a folder"),
        ("", {}, "rig.recording: '' cannot be the name of a folder"),
        ("run-{run}/{rig}", {}, "rig.recording: {run} counts the recordings of one folder"),
    ],
)
def test_a_template_that_names_no_new_folder_is_refused(template: str, keys: dict[str, str], message: str) -> None:
    """When the rig file is read; the key, what is wrong, what to do."""
    with pytest.raises(ConfigError) as refused:
        rig(template, **keys)
    assert str(refused.value).startswith(f"rig.toml: {message}")


def test_a_rig_records_under_its_name_and_counts_up(tmp_path: Path) -> None:
    """Twice the same rig: two runs, both whole; the agents' events are in the journal."""
    keys = f'name = "{{name}}"\nSUBJECT = "m7"\nsession = "01"\nrecording = "{BIDS}"'.replace(
        "{name}", uuid.uuid4().hex[:8]
    )
    text = SMALL.replace('name = "{name}"', keys)
    for number in (1, 2):
        with RunningRig(tmp_path, text, "--duration", "1") as running:
            result = running.finish()
            assert 0 == running.process.returncode, running.said
        folder = tmp_path / "out" / "sub-m7" / "ses-01" / f"sub-m7_ses-01_run-0{number}"
        assert str(folder) == result["recording"]
        assert verify(folder).ok, verify(folder).lines()
        assert {"here", "start", "stop", "ledger"} <= {e.kind for e in read_journal(folder / "session.jsonl").events}


def test_a_run_that_never_began_leaves_no_folder(tmp_path: Path) -> None:
    """Stopped while it waits for its Pilot."""
    text = SMALL.format(name=f"name-{uuid.uuid4().hex[:8]}")
    with RunningRig(tmp_path, text, "--role", "terminal") as running:
        running.wait_for("page: ")
        assert [] == list(running.recording.iterdir())
        running.process.terminate()
        assert running.finish()["recording"] is None
    assert {"logs"} == {path.name for path in (tmp_path / "out").iterdir()}
