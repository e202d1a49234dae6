"""Rig files: what is accepted, and the one line that says why not."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

import pytest

from stations.config import Rig, dump_rig, load_rig, parse_rig
from stations.errors import BadInputError, ConfigError, MissingExtraError
from stations.roster import children, with_ports

WHOLE = """
[rig]
name = "room-1"
output = "out"
DRAWFPS = 30
LOGDIR = "elsewhere"
[terminal]
MSGPORT = 5565
[restart]
recorder = "stop"
[pilots.left]
MSGPORT = 5570
[pilots.left.streams.eye]
source = "video:clips/eye.mp4"
loop = true
rate = "max"
seconds = 1.5
restart = "ignore"
[pilots.left.streams.own]
ring = "cam0"
codec = "raw"
"""


def read(text: str, folder: str = "/rigs") -> Rig:
    return parse_rig(text, folder=Path(folder), name="rig.toml")


def test_rig_file_is_read_with_its_upper_case_names() -> None:
    """Preferences are upper case in the file and fields here."""
    rig = read(WHOLE)
    eye, own = rig.pilots["left"].streams.values()
    assert (30, "elsewhere", 5565) == (rig.rig.draw_fps, rig.rig.log_dir, rig.terminal.msg_port)
    assert (False, False) == (eye.is_required, own.is_required)
    assert ("stop", "restart") == (rig.restart.recorder, rig.restart.view)
    assert {"loop": True, "rate": "max"} == eye.options
    assert (1.5, "ignore", "cam0", "raw") == (eye.seconds, eye.restart, own.ring, own.codec)
    assert ["left.eye", "left.own"] == [name for _, name, _ in rig.streams()]
    assert "<Rig room-1: 1 pilots, 2 streams>" == repr(rig)


@pytest.mark.parametrize(
    ("stream", "is_required"),
    [
        ('source = "host"', True),
        ('source = "host"\nrestart = "stop"', True),
        ('source = "host"\nrestart = "ignore"', False),
        ('source = "host"\nrestart = "ignore"\nrequired = true', True),
        ('source = "host"\nrequired = false', False),
        ('ring = "cam0"', False),
        ('ring = "cam0"\nrequired = true', True),
    ],
)
def test_what_has_a_source_is_required_unless_the_rig_goes_on_without_it(stream: str, is_required: bool) -> None:
    """What somebody else fills only where the rig file says so."""
    rig = read(f'[rig]\nname = "a"\n[pilots.p.streams.s]\n{stream}')
    assert rig.pilots["p"].streams["s"].is_required is is_required
    assert rig == parse_rig(dump_rig(rig), folder=Path("/rigs"))


FAMILY = """
[rig]
NAME = "room"
DATADIR = "data"
SUBJECT = "mouse-7"
PING_INTERVAL = 2
SOUNDDIR = "tones"
[terminal]
NAME = "Top"
TERMINALIP = "127.0.0.1"
MSGPORT = 5565
[pilots.mother]
NAME = "mother"
MSGPORT = 5570
LINEAGE = "PARENT"
CHILDID = ["son", "daughter"]
forward = ["CALIBRATE_PORT"]
[pilots.son]
LINEAGE = "CHILD"
PARENTID = "mother"
CHILDID = "grandson"
SUBJECT = "mouse-8"
share = ["NAME", "SUBJECT", "MSGPORT"]
forward = { VALVE = "son.valve" }
[pilots.daughter]
LINEAGE = "CHILD"
PARENTID = "mother"
PARENTIP = "127.0.0.2"
PARENTPORT = 5600
[pilots.grandson]
LINEAGE = "CHILD"
PARENTID = "son"
[pilots.far]
TERMINALIP = "127.0.0.3"
PUSHPORT = 5601
"""


def test_preferences_of_older_rigs_are_read_by_their_names() -> None:
    """NAME, DATADIR, TERMINALIP, SUBJECT, PING_INTERVAL, SOUNDDIR, LINEAGE and its kin."""
    rig = read(FAMILY)
    assert ("room", "data", "mouse-7", 2, "tones") == (
        rig.name, rig.rig.output, rig.rig.subject, rig.rig.ping_interval_s, rig.rig.sound_dir,
    )  # fmt: skip
    assert ("Top", "127.0.0.1") == (rig.terminal.id, rig.terminal.ip)
    assert (["son", "daughter"], ["grandson"], []) == tuple(rig.pilots[p].children for p in ("mother", "son", "far"))
    assert {"CALIBRATE_PORT": "_mother"} == rig.pilots["mother"].forwards("mother")
    assert {"VALVE": "son.valve"} == rig.pilots["son"].forwards("son")
    assert rig == read(dump_rig(rig))


def test_handshake_shares_what_is_declared_and_no_more() -> None:
    """By default the names and the subject; else what the file lists."""
    rig = read(FAMILY)
    assert {"NAME": "mother", "LINEAGE": "PARENT", "SUBJECT": "mouse-7"} == rig.shared("mother")
    assert {"NAME": "son", "SUBJECT": "mouse-8", "MSGPORT": 0} == rig.shared("son")


def test_pilots_push_to_who_is_above_them() -> None:
    """A child to its parent's port, whoever has a way of his own to that, all others to the Terminal."""
    parts = children(with_ports(read(FAMILY)), "pilot", Path("out"))
    specs = {spec.name: spec.config for spec in parts if spec.part == "pilot"}
    son = specs["son"].listen_endpoint
    assert {
        "mother": ("tcp://127.0.0.1:5565", ""),
        "son": ("tcp://127.0.0.1:5570", "mother"),
        "daughter": ("tcp://127.0.0.2:5600", "mother"),
        "grandson": (son, "son"),
        "far": ("tcp://127.0.0.3:5601", ""),
    } == {pilot: (config.push_endpoint, config.parent) for pilot, config in specs.items()}


def test_a_pilot_that_records_has_a_recorder_of_its_own() -> None:
    """It may be lossless in the Pilot's rings; nothing is spooled for a Terminal that records nothing."""
    text = FAMILY + "[pilots.solo]\nrecord = true\n[pilots.solo.streams.s]\nsource = 'host'\n"
    specs = {spec.name: spec for spec in children(with_ports(read(text)), "pilot", Path("out"))}
    recorder = specs["solo.recorder"]
    assert (["solo.s"], specs["solo"].config.listen_endpoint.rpartition(":")[2]) == (  # type: ignore[attr-defined]
        list(recorder.config.sources), str(recorder.config.port),  # type: ignore[attr-defined]
    )  # fmt: skip
    assert ["recorder"] == specs["solo.s"].config.lossless_readers  # type: ignore[attr-defined]
    assert ["solo.recorder"] == [name for name in specs if name.endswith(".recorder")]
    alone = '[rig]\nname = "a"\n[terminal]\nrecord = false\n[pilots.p]\nrecord = true\n'
    (pilot,) = [spec for spec in children(with_ports(read(alone)), "pilot", Path("out")) if spec.part == "pilot"]
    assert "" == pilot.config.spool  # type: ignore[attr-defined]


def test_a_pilot_that_records_needs_h5py(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line names the key and the command."""
    monkeypatch.setitem(sys.modules, "h5py", None)
    rig = with_ports(read('[rig]\nname = "a"\n[pilots.p]\nrecord = true\n'))
    with pytest.raises(
        MissingExtraError, match=r"pilots\.p\.record: .* pip install 'acquisition-pipeline\[terminal\]'"
    ):
        children(rig, "pilot", Path("out"))


def test_paths_of_sources_start_at_the_rig_file() -> None:
    """A rig can be started from any folder."""
    assert "video:/rigs/clips/eye.mp4" == read(WHOLE).pilots["left"].streams["eye"].source


def test_dumped_rig_reads_as_the_same_rig() -> None:
    """Writing and reading lose nothing, whatever the options hold."""
    odd = WHOLE + '[pilots.left.streams.user]\nsource = "python:a:B"\nname = "\\"q\\" \\u007f\\n"\n'
    odd += 'list = [1, 2.5, "x"]\ntable = { "a b" = true, c = { d = -1 } }\nwhen = 2026-01-02T03:04:05\n'
    rig = read(odd)
    assert rig == read(dump_rig(rig))


def test_packaged_demo_is_a_good_rig() -> None:
    """The demo has two pilots and three streams, within 384 MiB of rings."""
    with resources.as_file(resources.files("tools") / "demo.toml") as path:
        rig = load_rig(path)
    streams = {name: entry for _, name, entry in rig.streams()}
    assert {"pilot1.cam0", "pilot1.host", "pilot2.probe"} == set(streams)
    camera = streams["pilot1.cam0"].seconds * 60 * 640 * 480 * 3
    probe = streams["pilot2.probe"].seconds * 30_000 * 32 * 2
    assert 2.1 * (camera + probe) < 384 * 2**20


BAD = {
    'name = "a"': "name: unknown key; known: pilots, recording, restart, rig, terminal",
    "": "there is no [rig]; add [rig] with name = …",
    "[rig": "not TOML: expected ']' at the end of a table declaration (at end of document)",
    "[rig]": "rig: add name = …",
    '[rig]\nname = "a"\n[recording]\nsegment_mb = -1': "recording.segment_mb: expected float >= 0.0",
    '[rig]\nname = "a"\nDRAWFSP = 3': "rig.DRAWFSP: unknown key; did you mean 'DRAWFPS'?",
    '[rig]\nname = "a"\ndrawfps = 3': "rig.drawfps: unknown key; did you mean 'DRAWFPS'?",
    '[rig]\nname = "a"\nDRAWFPS = 0': "rig.DRAWFPS: expected float > 0.0",
    '[rig]\nname = "a/b"': "rig.name: letters, digits, - and _ are allowed, and no _ in front",
    '[rig]\nname = "a"\nLOGLEVEL = "LOUD"': "rig.LOGLEVEL: 'LOUD' is none of DEBUG, INFO, WARNING, ERROR, CRITICAL",
    '[rig]\nname = "a"\n[terminal]\nMSGPORT = 70000': "terminal.MSGPORT: expected int <= 65535",
    '[rig]\nname = "a"\n[terminal]\nMSGPORT = 5\nVIEWPORT = 5': "terminal.VIEWPORT: port 5 is terminal.MSGPORT already",
    '[rig]\nname = "a"\n[pilots.T]': "pilots.T: the Terminal has this id",
    '[rig]\nname = "a"\n[pilots._p]': "pilots: '_p' cannot be a name",
    '[rig]\nname = "a"\nNAME = "b"': "rig.NAME: rig.name says the same; give one of them",
    '[rig]\nname = "a"\n[pilots.p]\nNAME = "q"': "pilots.p.NAME: 'q', but its table is [pilots.p]",
    '[rig]\nname = "a"\n[pilots.p]\nLINEAGE = "CHILD"': "pilots.p: a CHILD has a Pilot above it; add PARENTID = …",
    '[rig]\nname = "a"\n[pilots.p]\nLINEAGE = "SON"': "pilots.p.LINEAGE: 'SON' is none of NONE, PARENT, CHILD",
    '[rig]\nname = "a"\n[pilots.p]\nPARENTID = "q"': "pilots.p.PARENTID: only a CHILD has a parent",
    '[rig]\nname = "a"\n[pilots.p]\nCHILDID = "q"': "pilots.p.CHILDID: a Pilot without LINEAGE has no children",
    '[rig]\nname = "a"\n[pilots.p]\nLINEAGE = "CHILD"\nPARENTID = "q"': "pilots.p.PARENTID: no Pilot 'q' in this file",
    '[rig]\nname = "a"\n[pilots.p]\nLINEAGE = "CHILD"\nPARENTID = "p"': "pilots.p.PARENTID: p is below p",
    '[rig]\nname = "a"\n[terminal]\nrecord = false\n[pilots.p.streams.s]\nsource = "host"': (
        "terminal.record: nobody would record pilots.p; add record = true there"
    ),
    '[rig]\nname = "a"\n[pilots.p]\nrecord = true\n[pilots.p.streams.recorder]\nsource = "host"': (
        "pilots.p.streams.recorder: the Pilot's own recorder has this name; choose another"
    ),
    '[rig]\nname = "a"\n[pilots.p]\nshare = ["SUBJCT"]': "pilots.p.share: no preference 'SUBJCT'; did you mean",
    '[rig]\nname = "a"\n[pilots.p]\nMSGPROT = 1': "pilots.p.MSGPROT: unknown key; did you mean 'MSGPORT'?",
    '[rig]\nname = "a"\n[pilots.p.streams]\nc = 1': "pilots.p.streams.c: expected a table, got 1",
    '[rig]\nname = "a"\n[pilots.p.streams.c]': "pilots.p.streams.c: a stream has either a source = … or a ring = …",
}
BAD_STREAMS = {
    'source = "vido:x"': "unknown source 'vido:x'; did you mean 'video'?",
    'source = "video:x"\nlop = true': "video:x has no option 'lop'; did you mean 'loop'?",
    'source = "video:x"\nsecnds = 3': "video:x has no option 'secnds'; did you mean 'seconds'?",
    'source = "host"\nrate = -1': "host: rate = -1: expected float > 0.0",
    'source = "synthetic:camera"\nshape = [9]': "synthetic:camera: shape = [9]: expected array of length >= 2",
    'ring = "r"\nrate = 3': "rate: unknown key",
    'source = "host"\nring = "r"': "a stream has either a source = … or a ring = …",
}


@pytest.mark.parametrize(("text", "message"), BAD.items())
def test_bad_rig_file_is_refused_in_one_line(text: str, message: str) -> None:
    """The message begins with the file and the dotted path, and says what to do."""
    with pytest.raises(ConfigError) as refused:
        read(text)
    assert str(refused.value).startswith(f"rig.toml: {message}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("text", "message"), BAD_STREAMS.items())
def test_bad_stream_is_refused_with_its_path(text: str, message: str) -> None:
    """A typing error in a stream's table is found before any process starts."""
    with pytest.raises(ConfigError) as refused:
        read(f'[rig]\nname = "a"\n[pilots.p.streams.c]\n{text}')
    assert "rig.toml: pilots.p.streams.c" in str(refused.value)
    assert message in str(refused.value)


def test_missing_rig_file_is_bad_input(tmp_path: Path) -> None:
    """It ends a command with exit code 2."""
    with pytest.raises(BadInputError, match=r"no rig file .*none\.toml"):
        load_rig(tmp_path / "none.toml")
    assert 2 == BadInputError.exit_code
