"""Costs of points: in batches they are those that ``fusemax evaluate`` gives one by one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import isclose
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from einsum_cascades.load import load_cascade
from fusemax.evaluation import evaluate
from fusemax.sweep.evaluate import evaluate_points
from fusemax.sweep.names import CHOICES, COSTS, WORKLOAD
from fusemax.sweep.space import Sweep
from fusemax.sweep.spec import parse_sweep
from fusemax.sweep.wide import is_wide
from fusemax.workloads import settable_ranks
from hw_models.spatial_machines import spatial_machine

EXACT = ("dram_bytes", "buffer_bytes", "passes", "bound")
FUSED = ("fusemax-serial", "fusemax-interleaved")
FLAT = ("flat", "flat-searched")
CASCADES = (
    "attention-1-pass",
    "attention-2-pass",
    "attention-3-pass",
    "attention-3-pass-deferred",
    "attention-causal",
    "attention-sigmoid",
    "attention-linear",
    "cross-entropy",
)
MACHINE = {
    "array_2d.rows": 600,
    "array_2d.columns": 600,
    "array_1d.columns": 600,
    "array_1d.rows": 3,
    "array_2d.registers": 64,
    "array_1d.registers": 64,
    "global_buffer.bytes": 2**25,
    "global_buffer.row_values": 600,
    "array_2d.units.mac.cycles": 4,
    "array_1d.units.divide.actions": 4,
    "array_1d.units.mac.cycles": 4,
}
RATES = {"frequency_hz": (1e6, 1e10), "dram.bandwidth_bytes_per_s": (1e6, 1e13)}


def one_by_one(sweep: Sweep, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row's costs from ``fusemax evaluate``, or the reason why it has none."""
    names = {axis.name for axis in sweep.axes}
    given = {name: row[name] for name in names & WORKLOAD.keys()}
    ranks = {name: row[name] for name in names if name in settable_ranks(load_cascade(row["cascade"]))}
    machine = names - CHOICES.keys() - WORKLOAD.keys() - ranks.keys()
    changes = [f"{n}={str(row[n]).lower() if isinstance(row[n], bool) else row[n]}" for n in machine]
    options = {key: row[key] for key in ("accounting", "dtype", "causal") if key in names}
    try:
        found = evaluate(
            row["cascade"], row["arch"], row["mapper"], sizes=ranks or None, set_arch=changes, **given, **options
        )
    except InputError as error:
        return {"status": error.message}
    for column in ("dram_bytes", "buffer_bytes"):
        if (found.as_dict()[column] or 0) >= 2**63:
            return {"status": f"{column} passes 2^63 - 1"}
    return {"status": "ok"} | {name: found.as_dict()[name] for name in COSTS if name != "status"}


def check(sweep: Sweep, table: pa.Table) -> int:
    """Check every row of a table against the engine; return how many have costs."""
    for row in table.to_pylist():
        expected = one_by_one(sweep, row)
        assert row["status"] == expected["status"]
        for name in COSTS:
            if name == "status":
                continue
            wanted = expected.get(name)
            if wanted is None or name in EXACT:
                assert row[name] == wanted, name
            else:
                assert isclose(row[name], wanted, rel_tol=1e-12), name
    return sum(status == "ok" for status in table["status"].to_pylist())


@st.composite
def ranges(draw: st.DrawFn, high: int) -> str:
    first = draw(st.integers(1, high))
    last = draw(st.integers(first, high))
    form = draw(st.sampled_from(["range", "log_range"]))
    multiple = draw(st.sampled_from([m for m in (1, 8, 256) if last // m >= -(-first // m)]))
    return f"{{{form}: [{first}, {last}], multiple_of: {multiple}}}"


@st.composite
def sweeps(draw: st.DrawFn, mappers: tuple[str, ...], points: int) -> str:
    """A sampled sweep of some cascade over anything, from sizes of 1 to sizes whose counts pass 64 bits."""
    cascade = draw(st.sampled_from(CASCADES))
    high = draw(st.sampled_from([16, 300, 4096, 2**17, 2**50]))
    machines = draw(st.lists(st.sampled_from(["flat-cloud", "flat-edge", "fusemax-cloud"]), min_size=1, unique=True))
    lines = [f"cascade: {cascade}", f"arch: [{', '.join(machines)}]", f"mapper: [{', '.join(mappers)}]"]
    lines += ["accounting: [published, physical]"]
    ranks = settable_ranks(load_cascade(cascade))
    if set(ranks) == set("EFMP") and draw(st.booleans()):
        keys = ["heads", "head_dim", "seq_len"]
        keys += draw(st.lists(st.sampled_from(["batch", "value_dim", "kv_len"]), unique=True))
    else:
        keys = list(ranks)
    lines += [f"{key}: {draw(ranges(high))}" for key in keys]
    varied = draw(st.lists(st.sampled_from(sorted(MACHINE)), unique=True))
    lines += [f"{key}: {draw(ranges(MACHINE[key]))}" for key in varied]
    rated = draw(st.lists(st.sampled_from(sorted(RATES)), unique=True))
    lines += [f"{key}: {{log_range: [{RATES[key][0]}, {RATES[key][1]}]}}" for key in rated]
    method = draw(st.sampled_from(["sobol", "random"]))
    tail = f"samples: {{{method}: {points}, seed: {draw(st.integers(0, 2**40))}}}"
    return "\n".join(["axes:", *(f"  {line}" for line in lines), tail])


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sweeps(FUSED, 8))
def test_fused_batches_are_the_engine(text: str) -> None:
    sweep = parse_sweep(text)
    check(sweep, evaluate_points(sweep, 0, sweep.points))


@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sweeps(FLAT, 6))
def test_flat_batches_are_the_engine(text: str) -> None:
    sweep = parse_sweep(text)
    check(sweep, evaluate_points(sweep, 0, sweep.points))


@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sweeps(("unfused",), 3))
def test_unfused_batches_are_the_engine(text: str) -> None:
    sweep = parse_sweep(text)
    check(sweep, evaluate_points(sweep, 0, sweep.points))


@settings(max_examples=3, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 128), st.integers(2**14, 2**22), st.integers(0, 2**40))
def test_unfused_choices_between_two_rates(seq_len: int, head_dim: int, capacity: int, seed: int) -> None:
    """The outcome at every ratio of the rates is that of a search at that ratio."""
    sweep = parse_sweep(f"""axes:
  cascade: attention-3-pass
  arch: flat-edge
  mapper: unfused
  accounting: physical
  heads: 4
  head_dim: {head_dim}
  seq_len: {seq_len}
  global_buffer.bytes: {capacity}
  frequency_hz: {{log_range: [1e7, 1e10]}}
  dram.bandwidth_bytes_per_s: {{log_range: [1e8, 1e14]}}
samples: {{random: 12, seed: {seed}}}
""")
    check(sweep, evaluate_points(sweep, 0, sweep.points))


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sweeps(FUSED, 16))
def test_more_fused_batches_are_the_engine(text: str) -> None:
    sweep = parse_sweep(text)
    check(sweep, evaluate_points(sweep, 0, sweep.points))


@pytest.mark.slow
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sweeps(FLAT, 12))
def test_more_flat_batches_are_the_engine(text: str) -> None:
    sweep = parse_sweep(text)
    check(sweep, evaluate_points(sweep, 0, sweep.points))


PUBLISHED = """axes:
  cascade: [attention-3-pass, attention-3-pass, attention-1-pass, attention-1-pass, attention-1-pass]
  arch: [flat-cloud, flat-cloud, flat-cloud, fusemax-cloud, fusemax-cloud]
  mapper: [unfused, flat, fusemax-serial, fusemax-serial, fusemax-interleaved]
  model: [BERT, XLM]
  seq_len: [1024, 65536, 2**20]
zip:
  - [cascade, arch, mapper]
"""
CONFIGURATIONS = (
    ("attention-3-pass", "flat-cloud", "flat"),
    ("attention-1-pass", "flat-cloud", "fusemax-serial"),
    ("attention-1-pass", "fusemax-cloud", "fusemax-interleaved"),
)


@pytest.mark.parametrize(("cascade", "arch", "mapper"), CONFIGURATIONS)
def test_published_configurations(cascade: str, arch: str, mapper: str) -> None:
    """The table of published FLAT mappings, with what overflows the buffer, is used where it has a row."""
    text = f"""axes:
  cascade: {cascade}
  arch: {arch}
  mapper: {mapper}
  accounting: [published, physical]
  model: [BERT, XLM]
  seq_len: [1024, 1536, 16384, 2**20]
  dram.bandwidth_bytes_per_s: 1e11
"""
    sweep = parse_sweep(text)
    assert check(sweep, evaluate_points(sweep, 0, sweep.points)) == sweep.points


@pytest.mark.parametrize(
    ("text", "costs"),
    [
        ("arch: h100\n  mapper: gpu-tiles\n  sms: [66, 132]\n  causal: [true, false]\n  seq_len: [512, 2048]", 8),
        ("arch: cpu\n  mapper: cpu-tiles\n  threads: [1, 2]\n  seq_len: [512, 1024]", 4),
        ("arch: flat-edge\n  mapper: unfused\n  array_2d.rows: [16, 32]\n  seq_len: [100, 512]", 4),
        ("arch: [flat-edge, h100]\n  mapper: [flat, gpu-tiles]\n  seq_len: 512", 2),
    ],
)
def test_what_is_evaluated_point_by_point(text: str, costs: int) -> None:
    sweep = parse_sweep(f"axes:\n  cascade: attention-3-pass\n  heads: 2\n  head_dim: 64\n  {text}\n")
    assert check(sweep, evaluate_points(sweep, 0, sweep.points)) == costs


@pytest.mark.parametrize("accounting", ["published", pytest.param("physical", marks=pytest.mark.slow)])
def test_many_points_of_flat(accounting: str) -> None:
    """So many that bounds leave points out of the search."""
    text = f"""axes:
  cascade: attention-3-pass
  arch: flat-cloud
  mapper: flat-searched
  accounting: {accounting}
  model: BERT
  seq_len: {{log_range: [16, 2**20]}}
  array_2d.rows: {{range: [16, 512]}}
  array_2d.columns: {{range: [16, 512]}}
  array_1d.columns: {{range: [16, 512]}}
  global_buffer.bytes: {{log_range: [256KiB, 64MiB]}}
  dram.bandwidth_bytes_per_s: {{log_range: [1e10, 2e12]}}
samples: {{random: 4097, seed: 7}}
"""
    sweep = parse_sweep(text)
    table = evaluate_points(sweep, 0, sweep.points)
    check(sweep, table.take(list(range(0, sweep.points, 1000))))


def test_a_published_choice_for_a_cascade_with_more_tensors_than_it_names() -> None:
    sweep = parse_sweep(
        "axes: {cascade: attention-soft-cap, arch: flat-cloud, mapper: flat, model: BERT, seq_len: [1024, 1000]}"
    )
    assert check(sweep, evaluate_points(sweep, 0, 2)) == 2


@pytest.mark.parametrize("table", ["accelergy", "cacti"])
@pytest.mark.parametrize("axis", ["global_buffer.ports: [1, 2, 7]", "technology_nm: [22, 45, 60]"])
def test_one_number_of_a_memory_varies(table: str, axis: str) -> None:
    sweep = parse_sweep(
        "axes:\n  cascade: attention-1-pass\n  arch: fusemax-cloud\n  mapper: [unfused, flat, fusemax-serial]\n"
        f"  model: BERT\n  seq_len: 1024\n  global_buffer.table: {table}\n  {axis}\n"
    )
    assert check(sweep, evaluate_points(sweep, 0, 9)) == 9


def test_linear_layers_of_a_model() -> None:
    text = """axes:
  cascade: linear-layers
  arch: flat-edge
  mapper: unfused
  model: T5
  batch: [1, 2]
  seq_len: [64, 128]
"""
    sweep = parse_sweep(text)
    check(sweep, evaluate_points(sweep, 0, sweep.points))


def slices(points: int) -> Iterator[tuple[int, int]]:
    cuts = [0, 1, 7, points // 2, points // 2, points]
    yield from pairwise(cuts)


FILTERED = """axes:
  cascade: [attention-1-pass, attention-2-pass]
  arch: [fusemax-cloud, flat-edge]
  mapper: [fusemax-serial, fusemax-interleaved]
  model: BERT
  seq_len: [1024, 65536]
  array_2d.rows: {range: [32, 512, 96]}
  array_2d.columns: {range: [32, 512, 96]}
filter:
  - array_2d.rows == array_2d.columns or array_2d.rows < 100
  - area_mm2 <= 1500 and global_buffer.bytes > 1MiB
  - abs(area_mm2 / area_of('fusemax-cloud') - 1) <= 0.9
  - latency_s * array_2d.columns < 5000 and bound != 'memory'
  - mapper != 'fusemax-serial' or seq_len > 2000
"""


def test_filters() -> None:
    sweep = parse_sweep(FILTERED)
    everything = parse_sweep(FILTERED[: FILTERED.index("filter:")])
    area = evaluate("attention-1-pass", "fusemax-cloud", "fusemax-serial", model="BERT", seq_len=1024).as_dict()[
        "area_mm2"
    ]
    expected = [
        row
        for row in evaluate_points(everything, 0, everything.points).to_pylist()
        if row["status"] == "ok"
        and (row["array_2d.rows"] == row["array_2d.columns"] or row["array_2d.rows"] < 100)
        and row["area_mm2"] <= 1500
        and row["arch"] == "fusemax-cloud"
        and abs(row["area_mm2"] / area - 1) <= 0.9
        and row["latency_s"] * row["array_2d.columns"] < 5000
        and row["bound"] != "memory"
        and (row["mapper"] != "fusemax-serial" or row["seq_len"] > 2000)
    ]
    assert 0 < len(expected) < everything.points / 4
    assert evaluate_points(sweep, 0, sweep.points).to_pylist() == expected


def test_slices_make_up_the_whole() -> None:
    sweep = parse_sweep(FILTERED)
    whole = evaluate_points(sweep, 0, sweep.points)
    parts = [evaluate_points(sweep, start, stop) for start, stop in slices(sweep.points)]
    assert pa.concat_tables(parts).to_pylist() == whole.to_pylist()
    assert all(part.schema == sweep.schema for part in parts)
    with pytest.raises(ValueError, match="of a sweep of"):
        evaluate_points(sweep, 0, sweep.points + 1)


def test_points_without_a_cost_say_why() -> None:
    text = FILTERED[: FILTERED.index("  array_2d.rows")] + "  global_buffer.bytes: [256, 8192, 16MiB]\n"
    sweep = parse_sweep(text)
    table = evaluate_points(sweep, 0, sweep.points)
    assert check(sweep, table) < sweep.points
    statuses = set(table["status"].to_pylist())
    assert "the global buffer of 8192 bytes is too small for any fused mapping" in statuses
    assert "global_buffer has 256 bytes, less than one row" in statuses


@pytest.mark.parametrize(
    ("cascade", "arch", "mapper", "rest"),
    [
        (
            "attention-3-pass-deferred",
            "fusemax-cloud",
            "flat",
            "head_dim: 1620\n  seq_len: [604, 612]\n  kv_len: 771\n  heads: 1625\n  batch: 2258\n  array_1d.columns: 1",
        ),
        (
            "attention-1-pass",
            "fusemax-cloud",
            "[flat, fusemax-serial]",
            "head_dim: 1\n  seq_len: [1, 2]\n  heads: 2**27\n  batch: [2**23, 2**29]",
        ),
    ],
    ids=["an array of one lane", "many heads of one value"],
)
def test_counts_that_nearly_fill_64_bits(cascade: str, arch: str, mapper: str, rest: str) -> None:
    """Cycles times epochs of a pipeline, bits of all values, and drains of an array pass them, where cycles do not."""
    sweep = parse_sweep(
        f"axes:\n  cascade: {cascade}\n  arch: {arch}\n  mapper: {mapper}\n  accounting: physical\n  {rest}\n"
    )
    assert check(sweep, evaluate_points(sweep, 0, sweep.points)) == sweep.points


@pytest.mark.parametrize("cascade", ["attention-1-pass", "attention-2-pass", "attention-3-pass"])
@pytest.mark.parametrize(("heads", "dim"), [(12, 64), (16, 128)])
def test_the_longest_published_lengths_are_evaluated_together(cascade: str, heads: int, dim: int) -> None:
    sizes = {"E": dim, "F": dim, "M": 2**20, "P": 2**20}
    for machine in ("flat-cloud", "fusemax-cloud"):
        assert not is_wide(load_cascade(cascade), spatial_machine(machine), sizes, 64 * heads)


def test_counts_beyond_the_columns() -> None:
    text = (
        "axes:\n  cascade: attention-1-pass\n  arch: fusemax-cloud\n  mapper: fusemax-interleaved\n"
        "  heads: 2**44\n  head_dim: 64\n  seq_len: [64, 65536]\n  batch: [1, 2**50]\n"
    )
    sweep = parse_sweep(text)
    found = evaluate_points(sweep, 0, 4)
    assert found["status"].to_pylist() == ["ok", *3 * ["dram_bytes passes 2^63 - 1"]]
