"""The presets flat and flat-searched: published rows, closed forms on random shapes, its own choice, laws."""

import csv
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import closed_forms
import pytest
from closed_forms import FlatMapping, Machine, Shape
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import fusemax
from einsum_cascades.errors import InputError
from einsum_cascades.load import load_cascade, parse_cascade
from hw_models.accounting import PHYSICAL, PUBLISHED
from hw_models.spatial_machines import spatial_machine
from mappers.choose import best, outcome
from mappers.presets.flat import flat, flat_searched
from mappers.presets.flat_phases import Phases
from mappers.presets.flat_search import TRAFFIC
from mappers.presets.flat_table import STATIONARY, choice, rows, tabulated
from mappers.presets.flat_tree import whole_tree
from mappers.presets.problem import Problem

CASCADE = load_cascade("attention-3-pass")
NAMES = dict(zip(STATIONARY, ("input", "weight", "output"), strict=True))
PUBLISHED_ROWS = Path(fusemax.__file__).parent / "published" / "attention.csv"
MODELS = {"BERT": (12, 64), "TrXL": (16, 64), "T5": (8, 64), "XLM": (16, 128)}


@cache
def machine(name="flat-cloud", *changes):
    return spatial_machine(name, changes)


def problem_of(shape, spatial=None, cascade=CASCADE, accounting=PUBLISHED):
    sizes = {"instances": shape.B * shape.H, "E": shape.E, "F": shape.F, "M": shape.M, "P": shape.P}
    return Problem(cascade, sizes, spatial or machine(), accounting)


def cost_of(problem, preset=flat_searched):
    found = best(problem, preset(problem))
    assert found.fits
    return found.cost


def published():
    with PUBLISHED_ROWS.open(encoding="utf-8") as file:
        table = csv.DictReader(line for line in file if not line.startswith("#"))
        return [row for row in table if row["config"] == "flat"]


@pytest.mark.parametrize("row", published(), ids=lambda r: f"{r['model']}-{r['seq_len']}")
def test_published_rows(row):
    heads, dim = MODELS[row["model"]]
    length = int(row["seq_len"])
    found = cost_of(problem_of(Shape(64, heads, dim, dim, length, length)), flat)
    assert found.latency_s == pytest.approx(float(row["latency_s"]), rel=1e-9)
    assert found.dram_bytes == pytest.approx(float(row["dram_bytes"]), rel=1e-9)
    assert found.utilization["array_2d"] == pytest.approx(float(row["util_2d"]), rel=1e-9)
    assert found.utilization["array_1d"] == pytest.approx(float(row["util_1d"]), rel=1e-9)
    assert found.energy_j == pytest.approx(float(row["energy_j"]), rel=3e-5)  # the published register files differ


@pytest.mark.parametrize("key", rows(), ids=str)
def test_every_row_of_the_table(key):
    side, buffer, dim, length = key
    spatial = machine("flat-edge" if side == 32 else "flat-cloud")
    shape = Shape(64, 12, dim, dim, length, length)
    found = cost_of(problem_of(shape, spatial), flat)
    row = rows()[key]
    assert row["qk_stationary"] == row["av_stationary"]
    mapping = FlatMapping(
        frozenset(row["on_chip"].split()),
        NAMES[row["qk_stationary"]],
        int(row["fused_queries"]),
        Fraction(row["spilled"]),
    )
    bandwidth = spatial.root.rates[0]
    form = closed_forms.flat(shape, Machine(side, side, buffer, float(bandwidth), float(spatial.frequency_hz)), mapping)
    assert abs(found.dram_bytes - form.dram_bytes) <= 40  # a spilled part is rounded to whole values
    assert found.latency_s == pytest.approx(form.latency_s, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    side=st.sampled_from([16, 32, 64, 128, 256]),
    dims=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)),
    heads=st.tuples(st.integers(1, 16), st.integers(1, 16)),
    tiles=st.tuples(st.integers(1, 12), st.integers(1, 4), st.integers(1, 4)),
    held=st.frozensets(st.sampled_from(["Q", "K", "V", "AV"])),
    scores=st.booleans(),
    stationary=st.sampled_from(STATIONARY),
    spilled=st.sampled_from([Fraction(0), Fraction(1, 4), Fraction(1, 2)]),
)
def test_flat_as_in_the_closed_form(side, dims, heads, tiles, held, scores, stationary, spilled):
    keys, fused, groups = tiles
    head_dim = dims[0] * side if dims[2] > 2 else side // dims[0]
    value_dim = dims[1] * side if dims[3] > 2 else side // dims[1]
    shape = Shape(*heads, E=head_dim, F=value_dim, M=keys * side, P=fused * groups * side)
    assume(shape.E and shape.F)
    spatial = machine("flat-cloud", f"array_2d.rows={side}", f"array_2d.columns={side}")
    on_chip = held | {"QK", "A"} if scores else held
    problem = problem_of(shape, spatial)
    phases = Phases(problem)
    still = dict.fromkeys(("QK", "AV"), stationary)
    found = outcome(problem, whole_tree(phases, [choice(phases, fused * side, still, sorted(on_chip), spilled)])).cost
    form = closed_forms.flat(
        shape, Machine(rows=side, columns=side), FlatMapping(on_chip, NAMES[stationary], fused * side, spilled)
    )
    assert abs(found.dram_bytes - form.dram_bytes) <= 40
    for array, share in (("array_2d", form.util_2d), ("array_1d", form.util_1d)):
        assert found.utilization[array] * found.latency_s == pytest.approx(share * form.latency_s, rel=1e-9)
    assert found.latency_s == pytest.approx(form.latency_s, rel=1e-6 if spilled else 1e-9)


def test_the_table_is_for_its_machine_and_shape_only():
    shape = Shape(64, 12, 64, 64, 4096, 4096)
    assert list(tabulated(Phases(problem_of(shape))))
    assert not list(tabulated(Phases(problem_of(replace(shape, M=2048)))))
    assert not list(tabulated(Phases(problem_of(replace(shape, F=128)))))
    assert not list(tabulated(Phases(problem_of(shape, machine("flat-cloud", "global_buffer.bytes=16MiB")))))
    deferred = load_cascade("attention-3-pass-deferred")
    assert not list(tabulated(Phases(problem_of(shape, cascade=deferred))))


def test_its_own_choice_for_64k_tokens():
    """240 queries at a time fit, and more."""
    found = cost_of(problem_of(Shape(64, 12, 64, 64, 65536, 65536)))
    assert found.latency_s < 54.83
    assert found.dram_bytes <= 3_531_600_000_000


@pytest.mark.parametrize("accounting", [PUBLISHED, PHYSICAL], ids=lambda a: a.name)
@pytest.mark.parametrize("length", [1024, 1048576])
@pytest.mark.parametrize("dim", [64, 128])
def test_its_own_choice_is_never_worse_than_the_published_one(length, dim, accounting):
    problem = problem_of(Shape(64, 12, dim, dim, length, length), accounting=accounting)
    own, theirs = cost_of(problem), cost_of(problem, flat)
    assert (own.latency_s, own.dram_bytes) <= (theirs.latency_s, theirs.dram_bytes)


@pytest.mark.parametrize("accounting", [PUBLISHED, PHYSICAL], ids=lambda a: a.name)
def test_padding_is_no_work(accounting):
    """197 patches: as many multiply-accumulates as there are, each input once."""
    shape = Shape(1, 12, 64, 64, 197, 197)
    problem = problem_of(shape, accounting=accounting)
    found = best(problem, flat_searched(problem))
    macs = sum(task.operations.get("mac", 0) for task in found.activity.tasks.values())
    assert macs == 12 * 197 * 197 * 128
    assert found.cost.dram_bytes == 2 * 12 * 197 * 64 * 4


@settings(max_examples=6, deadline=None)
@given(
    shape=st.builds(
        Shape,
        st.integers(1, 2),
        st.integers(1, 3),
        st.integers(1, 80),
        st.integers(1, 80),
        st.integers(1, 700),
        st.integers(1, 700),
    ),
    buffer=st.integers(13, 20),
)
def test_more_buffer_and_bandwidth_never_hurt(shape, buffer):
    """Where the ends of pipelines take time, few numbers of tiles are tried, and this does not hold."""
    accounting = PUBLISHED
    changes = ["array_2d.rows=32", "array_2d.columns=32"]
    before = machine("flat-cloud", *changes, f"global_buffer.bytes={2**buffer}")
    try:
        own = cost_of(problem_of(shape, before, accounting=accounting))
    except InputError:
        return
    larger = machine("flat-cloud", *changes, f"global_buffer.bytes={2 ** (buffer + 1)}")
    faster = machine("flat-cloud", *changes, f"global_buffer.bytes={2**buffer}", "dram.bandwidth_bytes_per_s=859e9")
    compulsory = 2 * shape.B * shape.H * ((shape.E + shape.F) * (shape.M + shape.P))
    assert own.dram_bytes >= compulsory
    assert max(own.utilization.values()) <= 1 + 1e-12
    for spatial in (larger, faster):
        found = cost_of(problem_of(shape, spatial, accounting=accounting))
        assert score(found, spatial) <= score(own, before) * (1 + 1e-9)


def score(found, spatial):
    """What FLAT's search asks to be least: seconds, and a thousandth of those that the off-chip memory works."""
    return found.latency_s + TRAFFIC * found.dram_bytes / spatial.root.shared_bytes_per_s


def test_renaming_changes_nothing():
    text = """
declaration: {X: [D, N], Y: [D, T], A: [G, T], S: [T, N], B: [N], C: [T, N], U: [N], W: [T, N], Z: [G, N]}
expressions:
  - S[t, n] = X[d, n] * Y[d, t]
  - 'B[n] = S[t, n] :: reduce(t) max'
  - C[t, n] = exp(S[t, n] - B[n])
  - U[n] = C[t, n]
  - W[t, n] = C[t, n] / U[n]
  - Z[g, n] = W[t, n] * A[g, t]
"""
    sizes = {"instances": 24, "D": 64, "G": 48, "T": 3000, "N": 2000}
    spatial = machine("flat-cloud", "global_buffer.bytes=1MiB")
    renamed = cost_of(Problem(parse_cascade(text), sizes, spatial, PHYSICAL))
    own = cost_of(problem_of(Shape(1, 24, 64, 48, 3000, 2000), spatial, accounting=PHYSICAL))
    assert (own.latency_s, own.dram_bytes, own.energy_j) == (renamed.latency_s, renamed.dram_bytes, renamed.energy_j)


def test_one_more_token_costs_little():
    before = cost_of(problem_of(Shape(64, 12, 64, 64, 16384, 16384)))
    after = cost_of(problem_of(Shape(64, 12, 64, 64, 16385, 16385)))
    assert after.latency_s <= before.latency_s * 1.02
    assert after.dram_bytes <= before.dram_bytes * 1.1


@pytest.mark.parametrize(
    "name",
    [
        "attention-2-pass",
        "attention-3-pass-deferred",
        "attention-alibi",
        "attention-causal",
        "attention-differential",
        "attention-linear",
        "attention-split-k",
        "layer-norm",
        "linear-layers",
        "softmax-matmul",
    ],
)
@pytest.mark.parametrize("accounting", [PUBLISHED, PHYSICAL], ids=lambda a: a.name)
def test_any_cascade_with_a_product(name, accounting):
    cascade = load_cascade(name)
    ranks = {cascade.whole_rank(r) for e in cascade.einsums for r in e.ranks} | {
        p for e in cascade.einsums for p in e.ranks
    }
    known = {"M": 300, "P": 200, "E": 48, "F": 40, "D": 64, "H": 3}
    sizes = {rank: known.get(rank, 20) for rank in ranks} | {"instances": 3}
    assert cost_of(Problem(cascade, sizes, machine(), accounting)).latency_s > 0


def chain(count):
    tensors = {f"X{i}": ["P", f"R{i}"] for i in range(count + 1)}
    tensors |= {f"W{i}": [f"R{i}", f"R{i + 1}"] for i in range(count)}
    steps = [f"X{i + 1}[p, r{i + 1}] = X{i}[p, r{i}] * W{i}[r{i}, r{i + 1}]" for i in range(count)]
    return parse_cascade(f"declaration: {tensors}\nexpressions: {steps}".replace("'", '"'))


@pytest.mark.parametrize("count", [6, 40])
def test_any_number_of_products(count):
    sizes = {"instances": 1, "P": 4096} | {f"R{i}": 256 + 64 * (i % 3) for i in range(count + 1)}
    found = cost_of(Problem(chain(count), sizes, machine(), PUBLISHED))
    once = 4096 * (sizes["R0"] + sizes[f"R{count}"]) + sum(sizes[f"R{i}"] * sizes[f"R{i + 1}"] for i in range(count))
    assert found.dram_bytes == 2 * once


def test_a_buffer_without_room_is_named():
    with pytest.raises(InputError, match="too small for any FLAT mapping"):
        flat(
            problem_of(
                Shape(1, 1, 64, 64, 512, 512),
                machine("flat-cloud", "global_buffer.row_values=1", "global_buffer.bytes=2"),
            )
        )


def test_a_cascade_without_a_product_is_refused():
    text = "declaration: {X: [M, P], S: [P], Y: [M, P]}\nexpressions: ['S[p] = X[m, p]', 'Y[m, p] = X[m, p] / S[p]']"
    with pytest.raises(InputError, match="no contraction"):
        flat(Problem(parse_cascade(text), {"M": 64, "P": 64, "instances": 1}, machine(), PUBLISHED))
