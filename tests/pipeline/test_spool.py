"""The spool: what it took is there again, whatever happened to the process or to its files."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.full_disk import disk_full_at
from support.spooling import BLOCK, MIB, SPEC, block_of, open_spool, spool_blocks, spooled_items

from pipeline.errors import BlockError, SpoolError
from pipeline.spool import Spool
from pipeline.spool_file import MAGIC, read_record, scan_file


def only_file(folder: Path) -> Path:
    """Return the one file of a spool."""
    (path,) = folder.glob("*.spool")
    return path


def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    """Items, stream, run and pilot."""
    with closing(open_spool(tmp_path)) as spool:
        spool_blocks(spool, range(0, 40, BLOCK))
    with closing(open_spool(tmp_path)) as spool:
        (run,) = spool
        assert list(range(40)) == spooled_items(run)
        assert ("pilot1", "/rec/1", SPEC) == (run.head.pilot, run.head.run, run.head.spec)
        assert spool.pending(SPEC.stream) == spool.pending(SPEC.stream, "/rec/1") == 40


def test_only_what_is_durable_is_forgotten_and_empty_files_go(tmp_path: Path) -> None:
    """A record of which an item is not durable stays whole."""
    with closing(open_spool(tmp_path)) as spool:
        run = spool_blocks(spool, range(0, 40, BLOCK))
        spool.forget("/rec/1", SPEC.stream, SPEC.birth, [(0, 10), (20, 24), (39, 90)])
        assert [*range(8, 20), *range(24, 40)] == spooled_items(run)
        spool.forget("/rec/2", SPEC.stream, SPEC.birth, [(0, 90)])
        spool.forget("/rec/1", SPEC.stream, SPEC.birth + 1, [(0, 90)])
        assert run.items == 28
        spool.forget("/rec/1", SPEC.stream, SPEC.birth, [(0, 90)])
        assert (run.items, spool.bytes, list(tmp_path.glob("*.spool"))) == (0, 0, [])


def test_runs_and_births_are_kept_apart(tmp_path: Path) -> None:
    """Each is backfilled into its own recording."""
    other = msgspec.structs.replace(SPEC, birth=8)
    with closing(open_spool(tmp_path)) as spool:
        spool_blocks(spool, [0, 4])
        spool_blocks(spool, [8], run="/rec/2")
        spool_blocks(spool, [0], run="/rec/2", spec=other)
    with closing(open_spool(tmp_path)) as spool:
        assert [8, 4, 4] == [run.items for run in spool]
        assert 8 == spool.pending(SPEC.stream, "/rec/2")


def test_the_budget_is_kept_and_what_is_refused_is_told(tmp_path: Path) -> None:
    """The newest is refused; what is there stays, and room that becomes free is used."""
    with closing(open_spool(tmp_path, 2000)) as spool:
        run = spool.run("/rec/1", SPEC)
        taken = [first for first in range(0, 80, BLOCK) if spool.put(run, block_of(first))]
        assert 1 < len(taken) < 20
        assert "2000 bytes" in spool.refused
        assert sum(path.stat().st_size for path in tmp_path.glob("*.spool")) == spool.bytes <= 2000
        spool.forget("/rec/1", SPEC.stream, SPEC.birth, [(0, 80)])
        assert spool.put(run, block_of(80))
        assert spool.refused == ""


def test_a_full_disk_refuses_and_leaves_no_torn_record(tmp_path: Path) -> None:
    """What a disk took of a record that did not fit is taken back, so the next one follows the last whole one."""
    with closing(open_spool(tmp_path)) as spool:
        run = spool_blocks(spool, [0, 4])
        with disk_full_at(only_file(tmp_path).stat().st_size + 50):
            assert not spool.put(run, block_of(8))
            assert spool.refused
        assert spool.put(run, block_of(12))
        assert [*range(8), *range(12, 16)] == spooled_items(run)
    _, records, damages = scan_file(only_file(tmp_path))
    assert ([0, 4, 12], []) == ([record.first for record in records], damages)


def test_a_disk_without_room_for_the_first_block_leaves_no_file_and_no_descriptor(tmp_path: Path) -> None:
    """However often it is tried."""
    with closing(open_spool(tmp_path)) as spool:
        run = spool.run("/rec/1", SPEC)
        with disk_full_at(10):
            assert not spool.put(run, block_of(0))
            descriptors = len(list(Path("/proc/self/fd").iterdir()))
            assert not any(spool.put(run, block_of(first)) for first in range(4, 40, BLOCK))
            assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
        assert [] == list(tmp_path.glob("*.spool"))
        assert spool.put(run, block_of(40))
        assert [*range(40, 44)] == spooled_items(run)


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_machine_that_died_while_writing_costs_the_last_record_only(tmp_path: Path, cut: int) -> None:
    """A torn tail is the end of the file, not damage."""
    with closing(open_spool(tmp_path)) as spool:
        spool_blocks(spool, range(0, 40, BLOCK))
    path = only_file(tmp_path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - cut)
    with closing(open_spool(tmp_path)) as spool:
        (run,) = spool
        assert list(range(36)) == spooled_items(run)
        assert run.damage_in(0, 100) is None
        spool_blocks(spool, [36])
        assert list(range(40)) == spooled_items(run)


def test_a_flipped_byte_is_named_by_stream_item_and_file(tmp_path: Path) -> None:
    """And costs its record alone."""
    with closing(open_spool(tmp_path)) as spool:
        run = spool_blocks(spool, [0, 4, 8])
        record = run.at(4)
        assert record is not None
        flip(record.path, record.offset + record.size - 3)
        with pytest.raises(BlockError, match=rf"{SPEC.stream} item 4 in the spool file .*{record.path.name}.*CRC"):
            read_record(record)
        spool.spoil(run, record)
        assert run.damage_in(0, 100) == (4, 8)
        assert [0, 1, 2, 3, 8, 9, 10, 11] == spooled_items(run)


def flip(path: Path, offset: int) -> None:
    """Change one byte of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x41]))


@given(st.data())
def test_one_flipped_byte_costs_one_record_or_the_head(data: st.DataObject) -> None:
    """Whatever byte of the file it is: no other item is lost, none comes changed, and the damage is bounded."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with closing(open_spool(folder)) as spool:
            spool_blocks(spool, range(0, 40, BLOCK))
        path = only_file(folder)
        _, records, _ = scan_file(path)
        flip(path, data.draw(st.integers(0, path.stat().st_size - 1)))
        try:
            _, found, damages = scan_file(path)
        except BlockError:
            assert path.read_bytes()[: records[0].offset] != b""
            return
        whole = [record for record in found if reads(record)]
        assert len(records) - 1 <= len(whole)
        assert {record.first for record in whole} <= {record.first for record in records}
        for damage in damages:
            assert (damage.after is None) or damage.before in (None, damage.after + BLOCK)


def reads(record: object) -> bool:
    """Tell whether a record is whole, and then that it is the one that was written."""
    try:
        block = read_record(record)  # type: ignore[arg-type]
    except BlockError:
        return False
    assert block.decode()[:, 0].tolist() == list(range(block.header.first, block.header.first + BLOCK))
    return True


def test_a_file_that_is_none_of_ours_is_left_alone(tmp_path: Path) -> None:
    """It counts against the budget, and nothing else."""
    (tmp_path / "00000009.spool").write_bytes(b"something else")
    (tmp_path / "notes.txt").write_text("mine")
    with closing(open_spool(tmp_path)) as spool:
        assert (list(spool), spool.bytes) == ([], 14)
        spool_blocks(spool, [0])
        assert (tmp_path / "00000010.spool").read_bytes().startswith(MAGIC)
    assert (tmp_path / "00000009.spool").read_bytes() == b"something else"


def test_a_second_pilot_of_the_same_name_is_refused(tmp_path: Path) -> None:
    """Two writers would send each other's items."""
    with closing(open_spool(tmp_path)) as spool:
        spool_blocks(spool, [0])
        with pytest.raises(SpoolError, match="another process"):
            open_spool(tmp_path)
        spool.forget("/rec/1", SPEC.stream, SPEC.birth, [(0, 4)])
    tmp_path.mkdir()
    open_spool(tmp_path).close()


def test_there_is_a_folder_only_while_something_is_kept(tmp_path: Path) -> None:
    """A rig whose link is fast enough leaves no trace of its spool."""
    folder = tmp_path / "spool" / "pilot1"
    with closing(open_spool(folder)) as spool:
        assert not folder.exists()
        run = spool_blocks(spool, [0])
        assert folder.is_dir()
        assert folder.stat().st_mode & 0o777 == 0o700
        spool.forget(run.head.run, SPEC.stream, SPEC.birth, [(0, 4)])
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """With what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match=r"file/spool cannot be used: .*name another folder"):
        Spool(tmp_path / "file" / "spool", "pilot1", MIB)
