"""The store: what is written comes back, what changes is found, and one process writes at a time."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as pads
import pytest
from small_sweep import SCHEMA, SmallSweep, environment, evaluate, expected, start_run

import fusemax
from einsum_cascades.errors import InputError
from fusemax.sweep.durable import write_durably
from fusemax.sweep.parts import Batch, DamageError, Header, batch_named, encode, read_part, usual_batch_points
from fusemax.sweep.store import open_store
from fusemax.sweep.writer import writing

SWEEP = SmallSweep(1000)
HEADER = Header("1.0", 3, 1000, 100, "abc")
BATCH = Batch(200, 300)


def fill(
    folder: Path, sweep: SmallSweep = SWEEP, *, only: int | None = None, **options: object
) -> tuple[list[str], int]:
    """Write what is missing, in this process; return the warnings and the number of batches written."""
    warned: list[str] = []
    options = {"batch_points": 100, **options}
    with writing(sweep, folder, warn=warned.append, **options) as writer:  # type: ignore[arg-type]
        todo = list(writer.left())[:only]
        for batch in todo:
            writer.write(batch, encode(evaluate(sweep, batch.start, batch.stop), batch, writer.store.header))
    return warned, len(todo)


def part(folder: Path, start: int = 200) -> Path:
    return folder / "points" / Batch(start, start + 100).name


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.*")) if path.is_file()}


def test_layout(tmp_path: Path) -> None:
    fill(tmp_path)
    assert (tmp_path / "sweep.yaml").read_text() == SWEEP.text
    header = json.loads((tmp_path / "sweep.json").read_text())
    assert header["version"] == fusemax.__version__
    assert (header["seed"], header["points"], header["batch_points"]) == (7, 1000, 100)
    names = sorted(path.name for path in (tmp_path / "points").iterdir())
    assert names[0] == "part-000000000000-000000000100.parquet"
    assert len(names) == 10
    assert pads.dataset(tmp_path / "points").to_table().sort_by("point") == expected(SWEEP)


def test_store_reads_back_what_was_written(tmp_path: Path) -> None:
    fill(tmp_path, only=4)
    store = open_store(tmp_path)
    assert (store.points_done, store.header.points) == (400, 1000)
    fill(tmp_path)
    assert store.table() == expected(SWEEP)
    for rows in (1, 50, 130, 10**6):
        tables = list(store.tables(rows=rows))
        assert pa.concat_tables(tables) == expected(SWEEP)
        assert all(rows <= len(table) < 2 * rows + 1 for table in tables[:-1])
    assert store.table(["point", "status"]).column_names == ["point", "status"]
    assert store.frame(["latency_s"]).shape == (expected(SWEEP).num_rows, 1)


def test_last_batch_may_be_short_and_all_points_are_covered() -> None:
    header = dataclasses.replace(HEADER, points=250)
    found = [header.batch(number) for number in range(header.batch_count)]
    assert found == [Batch(0, 100), Batch(100, 200), Batch(200, 250)]
    assert all(map(header.has, found))
    assert not any(map(header.has, [Batch(200, 300), Batch(50, 150), Batch(0, 200), Batch(300, 400)]))
    assert dataclasses.replace(HEADER, points=0).batch_count == 0


def test_names_of_parts() -> None:
    for batch in (Batch(0, 100), Batch(10**15, 10**15 + 4096)):
        assert batch_named(batch.name) == batch
    for name in (
        "part-0-1.parquet",
        "part-0000000000000-000000000001.parquet",
        "part-000000000000-000000000001.parquet.2",
    ):
        assert batch_named(name) is None


@pytest.mark.parametrize(("points", "size"), [(1, 64), (25_600, 100), (500_000, 1954), (10**8, 4096)])
def test_usual_batch(points: int, size: int) -> None:
    assert usual_batch_points(points) == size


def test_header_reads_back_only_what_was_written() -> None:
    assert Header.from_json(HEADER.as_json()) == HEADER
    for text in (b"", b"{}", b"[1]", b"\xff", HEADER.as_json()[:-1], HEADER.as_json().replace(b"100", b"0")):
        with pytest.raises(ValueError, match="not what was written"):
            Header.from_json(text)


def test_same_table_gives_same_bytes() -> None:
    table = evaluate(SWEEP, 200, 300)
    assert encode(table, BATCH, HEADER) == encode(table, BATCH, HEADER)


def test_a_changed_byte_of_a_part_is_found(tmp_path: Path) -> None:
    data = encode(evaluate(SWEEP, 200, 300), BATCH, HEADER)
    path = tmp_path / BATCH.name
    path.write_bytes(data)
    assert read_part(path, BATCH).rows == evaluate(SWEEP, 200, 300).num_rows
    for place in range(0, len(data), 3):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(DamageError):
            read_part(path, BATCH)
    for other in (b"", data[:-1], data[: len(data) // 2], data + b"\0", b"\0" * len(data)):
        path.write_bytes(other)
        with pytest.raises(DamageError):
            read_part(path, BATCH)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[random.Random(1).randrange(len(data))] ^= 0x10
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "flipped": _flip,
    "cut": lambda path: os.truncate(path, 1000),
    "empty": lambda path: os.truncate(path, 0),
    "text": lambda path: path.write_text("no Parquet"),
    "another part": lambda path: shutil.copy(part(path.parents[1], 300), path),
    "another sweep": lambda path: path.write_bytes(encode(evaluate(SWEEP, 200, 300), BATCH, HEADER)),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_part_is_named_set_aside_and_made_anew(tmp_path: Path, kind: str) -> None:
    fill(tmp_path)
    before = files(tmp_path)
    path = part(tmp_path)
    DAMAGE[kind](path)
    bad = path.read_bytes()
    warned, written = fill(tmp_path)
    assert written == 1
    assert len(warned) == 1
    assert str(path) in warned[0]
    assert (tmp_path / "damaged" / path.name).read_bytes() == bad
    shutil.rmtree(tmp_path / "damaged")
    assert files(tmp_path) == before


def test_the_same_part_damaged_twice_is_kept_twice(tmp_path: Path) -> None:
    for _ in range(2):
        fill(tmp_path)
        os.truncate(part(tmp_path), 10)
    fill(tmp_path)
    assert len(list((tmp_path / "damaged").iterdir())) == 2


def test_part_with_other_columns_and_strange_files_are_set_aside(tmp_path: Path) -> None:
    fill(tmp_path)
    header = open_store(tmp_path).header
    path = part(tmp_path)
    path.write_bytes(encode(evaluate(SWEEP, 200, 300).drop_columns(["energy_j"]), BATCH, header))
    (tmp_path / "points" / "notes.txt").write_text("mine")
    overlapping = Batch(250, 350)
    (tmp_path / "points" / overlapping.name).write_bytes(encode(evaluate(SWEEP, 250, 350), overlapping, header))
    warned, written = fill(tmp_path)
    assert (len(warned), written) == (3, 1)
    assert open_store(tmp_path).table() == expected(SWEEP)
    assert pads.dataset(tmp_path / "points").count_rows() == expected(SWEEP).num_rows


def test_reader_names_a_damaged_part(tmp_path: Path) -> None:
    fill(tmp_path)
    data = bytearray(part(tmp_path).read_bytes())
    data[100:200] = bytes(100)
    part(tmp_path).write_bytes(data)
    with pytest.raises(InputError, match="its checksum does not match") as caught:
        open_store(tmp_path).table(["point"])
    assert str(caught.value).startswith(f"{part(tmp_path)}: this part of a sweep is damaged")
    assert "run the sweep again" in caught.value.hint


def test_reader_takes_no_part_of_another_sweep_and_no_pipe(tmp_path: Path) -> None:
    fill(tmp_path / "mine")
    fill(tmp_path / "other", SmallSweep(1000, name="other"))
    shutil.copy(part(tmp_path / "other"), part(tmp_path / "mine"))
    store = open_store(tmp_path / "mine")
    with pytest.raises(InputError, match="belongs to another sweep"):
        store.table()
    part(tmp_path / "mine").unlink()
    os.mkfifo(part(tmp_path / "mine"))
    with pytest.raises(InputError, match="not a regular file but a pipe"):
        store.table()
    with pytest.raises(InputError, match="not a regular file"):
        store.dataset()
    (tmp_path / "mine" / "sweep.json").unlink()
    os.mkfifo(tmp_path / "mine" / "sweep.json")
    with pytest.raises(InputError, match="not a regular file"):
        open_store(tmp_path / "mine")
    warned, written = fill(tmp_path / "mine")
    assert ([w.count("a pipe") for w in warned], written) == ([1, 1], 1)
    assert store.table() == expected(SWEEP)


def test_a_store_whose_points_are_all_filtered_out_is_an_empty_table(tmp_path: Path) -> None:
    sweep = SmallSweep(4)
    with writing(sweep, tmp_path, batch_points=100) as writer:
        (batch,) = writer.left()
        writer.write(batch, encode(evaluate(sweep, 3, 4), batch, writer.store.header))
    assert open_store(tmp_path).table() == SCHEMA.empty_table()
    assert open_store(tmp_path).table(["seq_len"]).column_names == ["seq_len"]


@pytest.mark.parametrize("options", [{"on_change": "keep"}, {"on_change": None}, {"batch_points": 2**25}])
def test_unknown_options_touch_nothing(tmp_path: Path, options: dict[str, object]) -> None:
    fill(tmp_path)
    before = files(tmp_path)
    with pytest.raises(InputError, match=next(iter(options))):
        fill(tmp_path, SmallSweep(1000, name="other"), **options)
    assert files(tmp_path) == before


@pytest.mark.parametrize("lost", ["header", "spec", "both"])
@pytest.mark.parametrize("how", ["removed", "changed"])
def test_header_and_spec_are_mended(tmp_path: Path, lost: str, how: str) -> None:
    fill(tmp_path)
    before = files(tmp_path)
    for name in {"header": ["sweep.json"], "spec": ["sweep.yaml"], "both": ["sweep.json", "sweep.yaml"]}[lost]:
        if how == "removed":
            (tmp_path / name).unlink()
        else:
            _flip(tmp_path / name)
    warned, written = fill(tmp_path, batch_points=None)
    assert written == 0
    assert bool(warned) == (how == "changed")
    shutil.rmtree(tmp_path / "damaged", ignore_errors=True)
    assert files(tmp_path) == before


def test_changed_spec_is_refused_with_a_diff(tmp_path: Path) -> None:
    fill(tmp_path, only=3)
    before = files(tmp_path)
    with pytest.raises(InputError, match="the spec has changed") as refused:
        fill(tmp_path, SmallSweep(1000, name="other"))
    shown = str(refused.value).splitlines()
    assert "  -name: small" in shown
    assert "  +name: other" in shown
    assert "--on-change restart" in shown[-1]
    assert files(tmp_path) == before
    other = SmallSweep(1000, name="other")
    assert fill(tmp_path, other, on_change="restart") == ([], 10)
    assert open_store(tmp_path).text == other.text
    assert not list(tmp_path.glob(".*"))


def test_changed_spec_is_refused_though_the_header_is_lost(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "sweep.json").unlink()
    with pytest.raises(InputError, match="the spec has changed"):
        fill(tmp_path, SmallSweep(1000, name="other"))


def test_other_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    monkeypatch.setattr(fusemax, "__version__", "99.0")
    with pytest.raises(InputError, match=r"computed by fusemax .*, and this is 99\.0"):
        fill(tmp_path)
    assert fill(tmp_path, on_change="restart") == ([], 10)


def test_batch_size_is_fixed(tmp_path: Path) -> None:
    fill(tmp_path, only=2)
    with pytest.raises(InputError, match="100 points to a batch, not 50"):
        fill(tmp_path, batch_points=50)
    assert fill(tmp_path, batch_points=None)[1] == 8


def test_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"holds other files, such as 'thesis\.tex'"):
        fill(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match="cannot write to"):
        fill(tmp_path / "thesis.tex")


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no sweep"):
        open_store(tmp_path)
    fill(tmp_path, only=0)
    with pytest.raises(InputError, match="no rows yet"):
        open_store(tmp_path).table()
    fill(tmp_path)
    with pytest.raises(InputError, match="no_such"):
        open_store(tmp_path).table(["no_such"])
    (tmp_path / "sweep.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        open_store(tmp_path)


def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path) -> None:
    fill(tmp_path, only=5)
    stale = f".{BATCH.name}.{'a' * 32}.tmp"
    for place in (tmp_path / stale, tmp_path / "points" / stale):
        place.write_bytes(b"half")
    (tmp_path / f".discarded-{'a' * 32}").mkdir()
    fill(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_two_runs_cannot_write_at_once(tmp_path: Path) -> None:
    holder = start_run(tmp_path, SmallSweep(1000, point_s=1.0), workers=1)
    try:
        deadline = time.monotonic() + 600
        while not (tmp_path / "points").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(InputError, match=rf"another run \(process {holder.pid} on .*\) is writing"):
            fill(tmp_path, SmallSweep(1000, point_s=1.0), batch_points=None)
    finally:
        holder.kill()
        holder.communicate()
    assert fill(tmp_path, batch_points=None)[1] > 0, "a killed run holds no lock"


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_failed_write_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, code: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    fill(tmp_path, only=5)
    before = files(tmp_path)
    with writing(SWEEP, tmp_path) as writer, monkeypatch.context() as broken:
        broken.setattr(Path if step == "open" else os, step, fail)
        batch = next(writer.left())
        with pytest.raises(InputError, match=os.strerror(code)) as raised:
            writer.write(batch, encode(evaluate(SWEEP, batch.start, batch.stop), batch, writer.store.header))
    assert "500 of 1,000 points are there and stay good" in str(raised.value)
    assert files(tmp_path) == before
    assert not list((tmp_path / "points").glob(".*"))
    assert fill(tmp_path) == ([], 5)


def test_interrupted_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_durably(tmp_path / "file", b"data")
    assert not list(tmp_path.iterdir())


FILL = """
import resource, sys, test_store
from pathlib import Path
from einsum_cascades.errors import InputError
for limit in map(int, sys.argv[2:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    test_store.fill(Path(sys.argv[1]), test_store.SmallSweep(20_000), batch_points=2000)
except InputError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""


def _fill_elsewhere(folder: Path, *limit: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", FILL, str(folder), *map(str, limit)]
    return subprocess.run(command, env=_environment(), capture_output=True, text=True)


def _environment() -> dict[str, str]:
    found = environment()
    return found | {"PYTHONPATH": os.pathsep.join((found["PYTHONPATH"], str(Path(__file__).parent)))}


@pytest.mark.slow
def test_file_size_limit_is_a_clear_error(tmp_path: Path) -> None:
    done = _fill_elsewhere(tmp_path, 10_000)
    assert done.returncode == 2
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "points").iterdir())
    assert _fill_elsewhere(tmp_path).returncode == 0


ON_SMALL_DISK = """
set -e
mount -t tmpfs -o size=256k tmpfs "$1"
set +e; "$2" -W error -c "$3" "$1"; echo "status $?"; set -e
echo "parts $(ls "$1/points" | wc -l), hidden $(ls -d "$1"/points/.*.tmp 2>/dev/null | wc -l)"
mount -o remount,size=16m "$1"
"$2" -W error -c "$3" "$1"; echo "status $?"
cp -r "$1/points" "$4"
"""


def _own_mounts() -> bool:
    probe = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(probe, capture_output=True).returncode == 0


@pytest.mark.skipif(not _own_mounts(), reason="needs the right to mount a small disk")
def test_full_disk_is_a_clear_error_and_what_was_written_stays_good(tmp_path: Path) -> None:
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    shell = ["unshare", "--mount", "sh", "-c", ON_SMALL_DISK, "sh", str(disk), sys.executable, FILL, str(kept)]
    done = subprocess.run(shell, env=_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, parts, second = done.stdout.splitlines()
    assert (first, second) == ("status 2", "status 0")
    written = int(parts.removeprefix("parts ").partition(",")[0])
    assert 0 < written < 10
    assert parts.endswith("hidden 0")
    assert "No space left on device" in done.stderr
    assert f"{written * 2000:,} of 20,000 points are there and stay good" in done.stderr
    assert "Traceback" not in done.stderr
    assert pads.dataset(kept, schema=SCHEMA).to_table().sort_by("point") == expected(SmallSweep(20_000))
