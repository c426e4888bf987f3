"""The preset ``unfused``: published rows, cases with values derived by hand, and laws."""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fusemax
from einsum_cascades.ir import Cascade
from einsum_cascades.load import library_names, load_cascade, parse_cascade
from einsum_cascades.loops import LoopTree, check_legal, parse_tree, to_text
from hw_models.accounting import PHYSICAL, PUBLISHED, Accounting
from hw_models.machine import Machine
from hw_models.spatial.activity import Activity, activity_of
from hw_models.spatial.cost import Cost, cost
from hw_models.spatial_machines import spatial_machine
from mappers.choose import best
from mappers.presets.axes import space_of
from mappers.presets.named import preset_named
from mappers.presets.phases import phases_of
from mappers.presets.problem import Problem
from mappers.presets.product import _Search
from mappers.presets.product_tree import nest_tree, product_tree, shape_of
from mappers.presets.unfused import unfused

ROWS = Path(fusemax.__file__).parent / "published"
MODELS = {
    "BERT": (12, 64, 768, 3072),
    "TrXL": (16, 64, 1024, 4096),
    "T5": (8, 64, 512, 2048),
    "XLM": (16, 128, 2048, 8192),
}
SPLIT = "declaration: {X: [P, D], W: [D, H, E], Q: [P, H, E]}\nexpressions: ['Q[p, h, e] = X[p, d] * W[d, h, e]']"
JOINED = "declaration: {X: [P, D], W: [D, G], Q: [P, G]}\nexpressions: ['Q[p, g] = X[p, d] * W[d, g]']"
BIAS = "declaration: {X: [P, F], B: [F], Y: [P, F]}\nexpressions: ['Y[p, f] = X[p, f] + B[f]']"
THREE = (
    "declaration: {T: [I, J, L], U: [J, R], W: [L, R], S: [I, R]}\n"
    "expressions: ['S[i, r] = T[i, j, l] * U[j, r] * W[l, r]']"
)
SCAN = """
declaration: {X: [I, D], DT: [I, D], A: [D, N], B: [I, N], C: [I, N], DA: [I, D, N], DX: [I, D], HB: [I, D, N],
  HA: [I, D, N], H: [I, D, N], Y: [I, D]}
init: ['H[0, d, n] = 0']
expressions:
  - DA[i, d, n] = exp(DT[i, d] * A[d, n])
  - DX[i, d] = DT[i, d] * X[i, d]
  - HB[i, d, n] = DX[i, d] * B[i, n]
  - HA[i, d, n] = H[i, d, n] * DA[i, d, n]
  - H[i+1, d, n] = HA[i, d, n] + HB[i, d, n]
  - Y[i, d] = H[i+1, d, n] * C[i, n]
stop: i >= I
"""
GROUPED = """
declaration: {Q: [J, E, P], K: [E, M], V: [F, M], QK: [J, M, P], GM: [J, P], SN: [J, M, P], SD: [J, P], A: [J, M, P],
  AV: [J, F, P]}
expressions:
  - QK[j, m, p] = Q[j, e, p] * K[e, m]
  - 'GM[j, p] = QK[j, m, p] :: reduce(m) max'
  - SN[j, m, p] = exp(QK[j, m, p] - GM[j, p])
  - SD[j, p] = SN[j, m, p]
  - A[j, m, p] = SN[j, m, p] / SD[j, p]
  - AV[j, f, p] = A[j, m, p] * V[f, m]
"""


def narrow(machine: str, changes: tuple[str, ...]) -> Machine:
    """A machine with changes; if there are any, with rows of one value, so that small buffers have one."""
    return spatial_machine(machine, (*changes, "global_buffer.row_values=1") if changes else ())


@lru_cache
def written(text: str) -> Cascade:
    return parse_cascade(text)


def run(
    cascade: Cascade | str,
    machine: str = "flat-cloud",
    accounting: Accounting = PUBLISHED,
    changes: tuple[str, ...] = (),
    **sizes: int,
) -> tuple[Activity, Cost]:
    """Evaluate, and check that the tree is legal, fits, and is what its text says."""
    source = written(cascade) if isinstance(cascade, str) else cascade
    problem = Problem(source, {"instances": 1, **sizes}, narrow(machine, changes), accounting)
    tree = unfused(problem)
    assert parse_tree(to_text(tree)) == tree
    plan = problem.plan(tree)
    check_legal(plan)
    activity = activity_of(plan, problem.machine, accounting)
    for name, bits in activity.peak_bits.items():
        level = plan.levels[name]
        if level.capacity_bits is not None and not (level.computes and accounting.fibers_in_registers):
            assert bits <= level.capacity_bits, name
    found = cost(activity, accounting)
    assert all(share <= 1 + 1e-12 for share in found.utilization.values())
    return activity, found


def rows_of(table: str) -> list[dict[str, str]]:
    lines = [line for line in (ROWS / table).read_text().splitlines() if not line.startswith("#")]
    return list(csv.DictReader(lines))


UNFUSED = [row for row in rows_of("attention.csv") if row["config"] == "unfused"]


@pytest.mark.parametrize("row", UNFUSED, ids=lambda row: f"{row['model']}-{row['seq_len']}")
def test_published_rows(row: dict[str, str]) -> None:
    """Equal up to 64K; beyond, tiles are found that the published mapper did not try."""
    heads, width, _, _ = MODELS[row["model"]]
    length = int(row["seq_len"])
    _, found = run(load_cascade("attention-3-pass"), instances=64 * heads, E=width, F=width, M=length, P=length)
    latency, traffic = found.latency_s / float(row["latency_s"]), found.dram_bytes / float(row["dram_bytes"])
    if length <= 65536:
        assert (latency, traffic) == pytest.approx((1, 1), rel=1e-9)
        assert found.utilization["array_2d"] == pytest.approx(float(row["util_2d"]), rel=1e-9)
        assert found.utilization["array_1d"] == pytest.approx(float(row["util_1d"]), rel=1e-9)
        assert found.energy_j == pytest.approx(float(row["energy_j"]), rel=1e-5)
    assert 0.999 < latency <= 1 + 1e-9
    assert 0.999 < traffic <= 1 + 1e-9
    assert 0.97 < found.energy_j / float(row["energy_j"]) < 1.001


def test_energy_of_the_published_configuration() -> None:
    """As the counts of each tensor at each memory give it, registers included."""
    _, found = run(load_cascade("attention-3-pass"), instances=768, E=64, F=64, M=65536, P=65536)
    assert found.energy_j == pytest.approx(10574.399813233844, rel=1e-12)
    assert found.energy.parts_j["global_buffer"] == pytest.approx(2015.7891118909379, rel=1e-12)


@pytest.mark.parametrize(
    "row", rows_of("linear.csv"), ids=lambda row: f"{row['model']}-{row['seq_len']}-{row['array']}"
)
def test_linear_layers(row: dict[str, str]) -> None:
    heads, width, model, hidden = MODELS[row["model"]]
    sizes = {"N": 64 * int(row["seq_len"]), "D": model, "G": heads * width, "S": hidden}
    _, found = run(load_cascade("linear-layers"), f"{row['array']}-cloud", **sizes)
    assert found.latency_s == pytest.approx(float(row["latency_s"]), rel=1e-9)
    assert found.dram_bytes == pytest.approx(float(row["dram_bytes"]), rel=1e-9)
    assert found.energy_j == pytest.approx(float(row["energy_j"]), rel=1e-4)


def test_joined_and_split_ranks_cost_the_same() -> None:
    _, split = run(SPLIT, P=8192, D=4096, H=32, E=128)
    _, joined = run(JOINED, P=8192, D=4096, G=4096)
    assert split.dram_bytes == joined.dram_bytes <= 335_544_320
    assert (split.latency_s, split.energy_j) == (joined.latency_s, joined.energy_j)


@pytest.mark.parametrize(("rows", "expected"), [(4095, 67_100_672), (4096, 67_117_056)])
def test_a_bias_is_fetched_once(rows: int, expected: int) -> None:
    assert run(BIAS, P=rows, F=4096)[1].dram_bytes == expected


def test_a_product_of_three_tensors_is_a_product() -> None:
    _, found = run(THREE, I=256, J=256, L=256, R=32)
    assert found.dram_bytes == 33_603_584
    assert found.utilization["array_2d"] > 0.2


def test_the_state_of_a_recurrence_stays_on_chip() -> None:
    activity, found = run(SCAN, I=8192, D=4096, N=128)
    assert found.dram_bytes == 206_569_472
    assert "keep H (state) in global_buffer" in to_text(activity.plan.tree).replace(
        "A, H (state)", "H (state)"
    ).replace("H (state), A", "H (state)")


def test_a_decode_step_lays_keys_along_the_array() -> None:
    activity, _ = run(GROUPED, J=4, E=128, F=128, P=1, M=8192)
    product = next(task for task in activity.tasks.values() if task.name == "QK")
    assert product.cycles <= 4 * 128 * 8192 // (256 * 256)
    softmax = [task.cycles for task in activity.tasks.values() if task.array == "array_1d"]
    assert max(softmax) <= 4 * 8192 // 256


@pytest.mark.parametrize(
    ("text", "sizes", "least"),
    [
        ("declaration: {A: [E], B: [F, K], Z: [F, K]}\nexpressions: ['Z[f, k] = A[e] * B[f, k]']", "E F K", 72),
        ("declaration: {A: [E], Z: []}\nexpressions: ['Z = A[e]']", "E", 10),
        ("declaration: {A: [], B: [], Z: []}\nexpressions: ['Z = A + B']", "", 6),
    ],
)
@pytest.mark.parametrize("accounting", [PUBLISHED, PHYSICAL], ids=lambda a: a.name)
def test_small_cascades(text: str, sizes: str, least: int, accounting: Accounting) -> None:
    assert run(text, accounting=accounting, **dict.fromkeys(sizes.split(), 4))[1].dram_bytes == least


def test_a_rank_beside_its_own_parts() -> None:
    text = """
declaration: {A: [P], B: [PA, PB], Z: [P]}
partition: {P: [PA, PB]}
views: {B: A}
expressions: ['Z[p] = A[p] * B[pa, pb]']
"""
    activity, _ = run(text, P=64)
    assert sum(task.points for task in activity.tasks.values()) == 64 * 64


@pytest.mark.parametrize("accounting", [PUBLISHED, PHYSICAL], ids=lambda a: a.name)
@pytest.mark.parametrize("machine", ["flat-cloud", "fusemax-cloud"])
@pytest.mark.parametrize("name", library_names())
def test_the_library(name: str, machine: str, accounting: Accounting) -> None:
    """Each phase fetches what it needs once and writes what others need once, where all fits."""
    cascade = load_cascade(name)
    ranks = [*(r for e in cascade.einsums for r in e.ranks), *(p.rank for p in cascade.partitions)]
    activity, found = run(cascade, machine, accounting, **dict.fromkeys(ranks, 37))
    space = activity.plan.space
    used = activity.plan.users.keys()
    outside = sum(space.values(cascade.ranks_of[t]) for t in (*cascade.inputs, *cascade.outputs) if t in used)
    assert found.dram_bytes >= 2 * outside
    moved = dict.fromkeys(range(activity.phases), 0)
    for row in activity.rows:
        if row.node == "dram" and row.action in ("read", "update"):
            moved[activity.phase_of(row.site)] += row.count
    phases = phases_of(cascade)
    for number, phase in enumerate(phases):
        made = {step.output.tensor for step in phase.steps}
        later = {o.tensor for other in phases if other is not phase for s in other.steps for o in s.inputs}
        operands = {o.tensor: o.ranks for s in phase.steps for o in (s.output, *s.inputs) if not o.carried}
        needed = [t for t in operands if t not in made or t in later or t in cascade.outputs]
        assert moved[number] == sum(space.values(operands[t]) for t in needed), phase.steps[-1].name


SIZES = st.integers(1, 40)
BUFFER = st.sampled_from([2, 6, 40, 200, 1000, 8000])


@settings(max_examples=8, deadline=None)
@given(rows=SIZES, summed=SIZES, heads=st.integers(1, 7), width=SIZES, buffer=BUFFER, lanes=st.integers(1, 8))
def test_any_split_costs_what_the_joined_rank_does(
    rows: int, summed: int, heads: int, width: int, buffer: int, lanes: int
) -> None:
    changes = (f"global_buffer.bytes={buffer}", f"array_2d.rows={lanes}", "array_2d.columns=4")
    _, split = run(SPLIT, "flat-cloud", PHYSICAL, changes, P=rows, D=summed, H=heads, E=width)
    _, joined = run(JOINED, "flat-cloud", PHYSICAL, changes, P=rows, D=summed, G=heads * width)
    assert (split.dram_bytes, split.latency_s, split.energy_j) == (joined.dram_bytes, joined.latency_s, joined.energy_j)


@settings(max_examples=8, deadline=None)
@given(sizes=st.tuples(SIZES, SIZES, SIZES), buffer=BUFFER, more=st.integers(0, 3000))
@pytest.mark.parametrize("accounting", [PUBLISHED, PHYSICAL], ids=lambda a: a.name)
def test_a_larger_buffer_never_hurts(
    accounting: Accounting, sizes: tuple[int, int, int], buffer: int, more: int
) -> None:
    named = dict(zip("PDG", sizes, strict=True))
    arrays = ("array_2d.rows=3", "array_2d.columns=4")
    costs = [
        run(JOINED, "flat-cloud", accounting, (f"global_buffer.bytes={size}", *arrays), **named)[1]
        for size in (buffer, buffer + more)
    ]
    assert costs[1].latency_s <= costs[0].latency_s
    assert costs[1].dram_bytes <= costs[0].dram_bytes


@settings(max_examples=6, deadline=None)
@given(sizes=st.tuples(SIZES, SIZES, SIZES), buffer=BUFFER, faster=st.integers(1, 64))
def test_more_bandwidth_never_hurts(sizes: tuple[int, int, int], buffer: int, faster: int) -> None:
    cascade = load_cascade("attention-3-pass")
    named = dict(zip("EMP", sizes, strict=True)) | {"F": 5}
    costs = []
    for rate in (10**9, 10**9 * faster):
        changes = (
            f"dram.bandwidth_bytes_per_s={rate}",
            f"global_buffer.bytes={buffer}",
            "array_2d.rows=3",
            "array_2d.columns=4",
        )
        costs.append(run(cascade, "flat-cloud", PHYSICAL, changes, **named)[1])
    assert costs[1].latency_s <= costs[0].latency_s


@settings(max_examples=6, deadline=None)
@given(sizes=st.tuples(SIZES, SIZES, SIZES), copies=st.integers(1, 5))
def test_twice_the_copies_cost_twice(sizes: tuple[int, int, int], copies: int) -> None:
    cascade = load_cascade("attention-3-pass")
    named = dict(zip("EMP", sizes, strict=True)) | {"F": 5}
    once, twice = (run(cascade, instances=n * copies, **named)[1] for n in (1, 2))
    assert twice.dram_bytes == 2 * once.dram_bytes
    assert twice.latency_s == pytest.approx(2 * once.latency_s, rel=1e-12)
    assert twice.energy_j == pytest.approx(2 * once.energy_j, rel=1e-12)


@settings(max_examples=8, deadline=None)
@given(sizes=st.tuples(SIZES, SIZES, SIZES), buffer=BUFFER)
def test_names_and_the_order_of_independent_einsums_change_nothing(sizes: tuple[int, int, int], buffer: int) -> None:
    plain = GROUPED
    renamed = plain.replace("QK", "Z").replace("SN", "B").replace("GM", "T").replace("SD", "C")
    named = dict(zip("EMP", sizes, strict=True)) | {"F": 5, "J": 3}
    changes = (f"global_buffer.bytes={buffer}", "array_2d.rows=3", "array_2d.columns=4")
    two = (
        "declaration: {{A: [M, P], S: [P], T: [P], U: [M, P]}}\n"
        "expressions: [{}, {}, 'U[m, p] = A[m, p] / (S[p] + T[p])']"
    )
    sums = ("'S[p] = A[m, p]'", "'T[p] = A[m, p] * A[m, p]'")
    pairs = [
        (
            run(plain, "flat-cloud", PHYSICAL, changes, **named)[1],
            run(renamed, "flat-cloud", PHYSICAL, changes, **named)[1],
        ),
        tuple(
            run(two.format(*order), "flat-cloud", PHYSICAL, changes, M=sizes[1], P=sizes[2])[1]
            for order in (sums, sums[::-1])
        ),
    ]
    for one, other in pairs:
        assert (one.latency_s, one.dram_bytes) == (other.latency_s, other.dram_bytes)
        assert one.energy_j == pytest.approx(other.energy_j, rel=1e-12)


@settings(max_examples=8, deadline=None)
@given(sizes=st.tuples(SIZES, SIZES, SIZES), buffer=BUFFER)
def test_one_more_takes_at_most_one_more_tile(sizes: tuple[int, int, int], buffer: int) -> None:
    rows, summed, width = sizes
    changes = (f"global_buffer.bytes={buffer}", "array_2d.rows=3", "array_2d.columns=4")
    one, more = (run(JOINED, "flat-cloud", PHYSICAL, changes, P=rows + extra, D=summed, G=width)[1] for extra in (0, 1))
    tiles = max(1, rows // 12)
    assert more.latency_s <= (tiles + 1) / tiles * one.latency_s * (1 + 1e-12)


@pytest.mark.parametrize("rows", [4096, 8192, 65536])
@pytest.mark.parametrize("machine", ["flat-cloud", "fusemax-cloud"])
def test_one_more_moves_at_most_one_more_tile(machine: str, rows: int) -> None:
    one, more = (run(JOINED, machine, P=rows + extra, D=4096, G=4096)[1] for extra in (0, 1))
    tiles = rows // 256
    assert more.dram_bytes <= (tiles + 1) / tiles * one.dram_bytes
    assert more.latency_s <= (tiles + 1) / tiles * one.latency_s * (1 + 1e-12)


@settings(max_examples=8, deadline=None)
@given(sizes=st.tuples(SIZES, SIZES, SIZES), buffer=BUFFER)
def test_the_search_counts_what_the_engine_counts(sizes: tuple[int, int, int], buffer: int) -> None:
    """The tree that is found has the traffic that the closed form promised: no other tree of the search has less."""
    changes = (f"global_buffer.bytes={buffer}", "array_2d.rows=3", "array_2d.columns=4")
    problem = Problem(written(JOINED), dict(zip("PDG", sizes, strict=True)), narrow("flat-cloud", changes), PHYSICAL)
    space = space_of(problem)
    step = next(iter(space.steps.values()))
    shape = shape_of(problem, step, space)
    search = _Search(shape, problem.machine, PHYSICAL)
    for way, cycles in search.ways():
        found = search.of(way, cycles, None)
        assert found is not None
        plan = problem.plan(LoopTree(nest_tree(problem, step, space, found.nest)))
        check_legal(plan)
        activity = activity_of(plan, problem.machine, PHYSICAL)
        assert 8 * activity.dram_bytes <= found.key[2]
        assert sum(task.cycles for task in activity.tasks.values()) == found.key[3]
    assert product_tree(problem, step, space) is not None


def test_it_has_its_name() -> None:
    assert preset_named("unfused") is unfused


@pytest.mark.parametrize(("preset", "cycles"), [("unfused", 1), ("flat", 1), ("fusemax-serial", 2)])
@pytest.mark.parametrize("name", ["attention-2-pass", "attention-3-pass-deferred"])
def test_the_subtraction_in_an_exponential_is_free_in_phases_and_not_in_tiles(
    preset: str, cycles: int, name: str
) -> None:
    """Published: whatever the cascade. A tile is what a product's loop over keys goes around too."""
    machine = spatial_machine("flat-cloud", ())
    problem = Problem(load_cascade(name), {"instances": 4, "E": 64, "F": 64, "M": 2048, "P": 1024}, machine, PUBLISHED)
    found = best(problem, preset_named(preset)(problem))
    (task,) = [t for t in found.activity.tasks.values() if t.name in ("SLN", "SN") and "exp" in t.operations]
    assert task.pe_cycles == cycles * task.points
