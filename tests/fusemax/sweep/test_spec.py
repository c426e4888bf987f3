"""Specifications of sweeps: what they may say, and how what they may not say is refused."""

from __future__ import annotations

import pickle
from contextlib import suppress
from pathlib import Path

import pytest

import hw_models
from einsum_cascades.errors import InputError
from fusemax.sweep.evaluate import evaluate_points
from fusemax.sweep.spec import parse_sweep, read_sweep

AXES = """
axes:
  cascade: attention-1-pass
  arch: fusemax-cloud
  mapper: [fusemax-serial, fusemax-interleaved]
  model: BERT
  seq_len: {log_range: [1024, 2**20], factor: 4}
"""
MORE = """  array_2d.rows: {range: [64, 512, 64]}
  array_2d.columns: {range: [64, 512, 64]}
  global_buffer.bytes: [4MiB, 16MiB]
zip:
  - [array_2d.rows, array_2d.columns]
filter:
  - area_mm2 <= 2000 and not (array_2d.rows == 128)
  - abs(area_mm2 / area_of('fusemax-cloud') - 1) <= 0.5
  - latency_s < 1e3 or bound == "memory"
"""
SAMPLED = """axes:
  cascade: attention-1-pass
  arch: [fusemax-cloud, flat-cloud]
  mapper: fusemax-interleaved
  model: BERT
  seq_len: {log_range: [1024, 2**20], multiple_of: 256}
  dram.bandwidth_bytes_per_s: {range: [1e10, 1e12]}
samples: {sobol: 1000, seed: 7}
"""


def test_points_of_a_product() -> None:
    sweep = parse_sweep(AXES + MORE)
    assert sweep.points == 2 * 6 * 8 * 2
    assert sweep.seed is None
    assert [axis.name for axis in sweep.axes][-1] == "accounting"


def test_points_of_samples() -> None:
    sweep = parse_sweep(SAMPLED)
    assert (sweep.points, sweep.seed) == (1000, 7)


@pytest.mark.parametrize(
    "text",
    [
        AXES,
        AXES + MORE,
        SAMPLED,
        "title: 'It is: \"a\" test'\n" + SAMPLED,
        AXES + "  array_2d.rows: {random: [1, 4, 100]}\n  frequency_hz: {random: [1e8, 1e9, 7], scale: log, seed: 3}\n",
    ],
)
def test_the_canonical_text_reads_back(text: str) -> None:
    sweep = parse_sweep(text)
    again = parse_sweep(sweep.text)
    assert again == sweep
    assert again.text == sweep.text


def test_multiples_lie_in_their_range() -> None:
    text = AXES + "  dram.bandwidth_bytes_per_s: {range: [10.5, 14.5], multiple_of: 2}\nsamples: {random: 200}\n"
    table = evaluate_points(parse_sweep(text), 0, 200)
    assert set(table["dram.bandwidth_bytes_per_s"].to_pylist()) == {12, 14}


def test_equal_sweeps_have_equal_texts() -> None:
    other = AXES.replace("{log_range: [1024, 2**20], factor: 4}", "[1_024, 4KiB, 16384, 65536, 262144, 1048576]")
    other = other.replace("4KiB", "4096").replace("attention-1-pass", "['attention-1-pass']")
    assert parse_sweep(other).text == parse_sweep(AXES).text
    assert parse_sweep(AXES.replace("BERT", "T5")).text != parse_sweep(AXES).text


def test_a_large_sweep_is_described_without_its_points() -> None:
    text = AXES + "  batch: {range: [1, 1000000]}\n  array_1d.registers: {range: [1, 1000000]}\n"
    assert parse_sweep(text).points == 12 * 10**12
    assert len(parse_sweep(text).text) < 500


def test_the_schema_is_that_of_the_table(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(AXES + MORE)
    sweep = pickle.loads(pickle.dumps(read_sweep(path)))
    table = evaluate_points(sweep, 0, 3)
    assert table.schema == sweep.schema
    assert table.column_names[0] == "point"
    assert table.column_names[-11:-1] == [
        "accounting",
        "status",
        "latency_s",
        "energy_j",
        "dram_bytes",
        "buffer_bytes",
        "area_mm2",
        "util_2d",
        "util_1d",
        "passes",
    ]


def test_files_are_read_once_and_known_by_their_text(tmp_path: Path) -> None:
    machine = tmp_path / "mine.yaml"
    machine.write_text((Path(hw_models.__file__).parent / "machines" / "fusemax-cloud.yaml").read_text())
    sweep = parse_sweep(AXES.replace("fusemax-cloud", str(machine)))
    assert str(machine) in dict(sweep.files)
    machine.write_text(machine.read_text() + "# changed\n")
    with pytest.raises(InputError, match=r"the text of .* is another one now"):
        parse_sweep(sweep.text)
    machine.unlink()
    assert evaluate_points(sweep, 0, 1).num_rows == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("mapper: [", "maper: ["), "missing key 'mapper'"),
        (("  model: BERT", "  modell: BERT\n  model: BERT"), "unknown axis 'modell'\n.*\n.*\n.*'model'"),
        (("array_2d.rows: {", "array_2d.row: {"), "unknown axis 'array_2d.row'\n.*\n.*\n.*array_2d.rows"),
        (("fusemax-serial, ", "fusemax-seral, "), "unknown mapper 'fusemax-seral'(.*\n)*.*'fusemax-serial'"),
        (("attention-1-pass", "attention-1pass"), "unknown cascade 'attention-1pass'(.*\n)*.*'attention-1-pass'"),
        (("fusemax-cloud\n", "fusemax-clod\n"), "unknown architecture 'fusemax-clod'(.*\n)*.*'fusemax-cloud'"),
        (("BERT", "BRET"), "unknown model 'BRET'(.*\n)*.*bert"),
        (("[fusemax-serial, fusemax-interleaved]", "gpu-tiles"), "mapper 'gpu-tiles' fits none of the machines"),
        (("64]}\n  global", "0]}\n  global"), "the step is 0"),
        (("[64, 512, 64]}\n  global", "[512, 64, 64]}\n  global"), "the range ends at 64, before it starts"),
        (("[64, 512, 64]}\n  global", "[0, 512, 64]}\n  global"), "'array_2d.columns' is '0'"),
        (("[64, 512, 64]}\n  global", "[64, 512, 32]}\n  global"), "zipped axes have different numbers of values"),
        (("[4MiB, 16MiB]", "[4Mb]"), "is a number, found '4Mb'(.*\n)*  a whole number of bytes .*256KiB"),
        (("[4MiB, 16MiB]", "[]"), "'global_buffer.bytes' has no values"),
        (("[4MiB, 16MiB]", "[4MiB, 4194304]"), "'4194304' is listed twice"),
        (("[4MiB, 16MiB]", "[1.5]"), "a whole number, found '1.5'"),
        (("[4MiB, 16MiB]", "{rnage: [1, 2, 1]}"), "unknown key 'rnage'(.*\n)*.*'range'"),
        (("[4MiB, 16MiB]", "{range: [1, 2, 1], factor: 2}"), "'factor' does not go with this form"),
        (("[4MiB, 16MiB]", "{log_range: [1, 16MiB]}"), "the number of values is missing"),
        (("- [array_2d.rows, array_2d.columns]", "- [array_2d.rows, array_2d.colums]"), "unknown axis"),
        (("- [array_2d.rows, array_2d.columns]", "- [array_2d.rows]"), "at least two axes"),
        (("area_mm2 <= 2000", "area <= 2000"), "unknown name 'area'(.*\n)*.*'area_mm2'"),
        (("area_mm2 <= 2000", "area_mm2 = 2000"), "this is no condition: unexpected '= 2000"),
        (("area_mm2 <= 2000", "area_mm2 <= 'x'"), "'x'.* is a text, a number is expected"),
        (("'fusemax-cloud')", "'fusemax-clod')"), "unknown architecture 'fusemax-clod'"),
        (("'fusemax-cloud')", "'h100')"), "'h100' is a gpu, not a spatial array"),
        (("  model: BERT\n", ""), "the workload lacks 'heads', 'head_dim'(.*\n)*  give 'model' and 'seq_len', or"),
        (("  model: BERT\n", "  model: BERT\n  heads: 4\n"), "'heads' is given beside a model"),
        (("  model: BERT\n", "  model: BERT\n  dtype: float32\n"), "'float32' has 32 bits"),
        (("zip:", "samples: {sobol: 0}\nzip:"), "expected at least 1"),
        (("zip:", "samples: {sobl: 10}\nzip:"), "unknown key 'sobl'"),
        (("zip:", "samples: {seed: 10}\nzip:"), "samples need one of sobol and random"),
        (("axes:", "axis:"), "unknown key 'axis'"),
    ],
)
def test_refuses(change: tuple[str, str], message: str) -> None:
    assert change[0] in AXES + MORE
    with pytest.raises(InputError, match=message) as caught:
        parse_sweep((AXES + MORE).replace(*change), "sweep.yaml")
    place = caught.value.location
    assert place is not None
    assert place.file == "sweep.yaml"
    assert place.line > 0


def test_a_value_that_a_machine_cannot_have() -> None:
    text = AXES.replace("fusemax-cloud", "h100").replace("[fusemax-serial, fusemax-interleaved]", "gpu-tiles")
    assert parse_sweep(text + "  sms: [100, 132]\n").points == 12
    with pytest.raises(InputError, match="launch_s is 5"):
        parse_sweep(text + "  launch_s: [1e-6, 5]\n")
    with pytest.raises(InputError, match=r"unknown axis 'array_2d.rows'"):
        parse_sweep(text + "  array_2d.rows: [1, 2]\n")


def test_every_cut_of_a_specification_is_refused_or_read() -> None:
    text = AXES + MORE
    for end in range(0, len(text), 7):
        with suppress(InputError):
            assert parse_sweep(text[:end]).points > 0
