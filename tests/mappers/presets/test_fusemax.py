"""FuseMax's presets against the closed forms of the published evaluation, on shapes and machines of any size."""

from dataclasses import replace

import closed_forms
import pytest
from closed_forms import Machine, Shape
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from spatial import evaluated, machine_of, sizes_of

from einsum_cascades.errors import InputError
from einsum_cascades.load import load_cascade, parse_cascade
from hw_models.accounting import PHYSICAL, PUBLISHED
from mappers.capacity import largest_divisor

EXACT = 1e-9
ONE_PASS = "attention-1-pass"


@st.composite
def problems(draw):
    side = draw(st.sampled_from([16, 32, 64, 96, 128, 256, 512]))
    rows = draw(st.sampled_from([side, side, 16, 128]))
    machine = Machine(
        rows=rows,
        columns=side,
        buffer_bytes=draw(st.integers(2**17, 2**26)),
        bandwidth_bytes_per_s=draw(st.floats(1e8, 1e13)),
        frequency_hz=draw(st.floats(1e8, 4e9)),
    )
    shape = Shape(
        B=draw(st.integers(1, 128)),
        H=draw(st.integers(1, 96)),
        E=draw(st.integers(1, 300)),
        F=draw(st.integers(1, 300)),
        M=rows * draw(st.integers(1, 300)),
        P=side * draw(st.integers(1, 300)),
    )
    return shape, machine


def groups(shape: Shape, machine: Machine, *, scores_in_buffer: bool = False) -> int:
    """Column tiles to a group: what divides their number, if that is half of what fits or more, else what fits."""
    per_query = shape.E + 1 + 1 + shape.F + (2 * machine.rows if scores_in_buffer else 0)
    key_tile = machine.rows * (shape.E + shape.F)
    tiles = shape.P // machine.columns
    fit = (machine.buffer_bytes // 2 - key_tile) // (machine.columns * per_query)
    even = max((d for d in range(1, min(fit, tiles) + 1) if tiles % d == 0), default=0)
    return even if 2 * even >= min(fit, tiles) else min(fit, tiles)


def check(found, expected, shape, machine, **kind):
    again = -(-(shape.P // machine.columns) // groups(shape, machine, **kind))
    moved = 2 * (shape.size("EP") + shape.size("FP") + again * (shape.size("EM") + shape.size("FM")))
    cost = found.cost
    assert cost.dram_bytes == moved
    compute = max(expected.latency_s * (cost.dram_bytes == expected.dram_bytes), moved / machine.bandwidth_bytes_per_s)
    if cost.dram_bytes == expected.dram_bytes:
        assert cost.latency_s == pytest.approx(compute, rel=EXACT)
        assert cost.utilization["array_2d"] == pytest.approx(expected.util_2d, rel=EXACT)
        assert cost.utilization["array_1d"] == pytest.approx(expected.util_1d, rel=EXACT)


@settings(max_examples=12, deadline=None)
@given(problems())
@pytest.mark.parametrize(
    ("preset", "form"),
    [("fusemax-interleaved", closed_forms.binding), ("fusemax-serial", closed_forms.architecture)],
)
def test_on_its_own_array(preset, form, problem):
    shape, machine = problem
    assume(groups(shape, machine) > 0 and closed_forms.queries_per_column(shape, machine))
    found = evaluated(preset, ONE_PASS, sizes_of(shape), machine_of(machine, "fusemax-cloud"))
    check(found, form(shape, machine), shape, machine)


@settings(max_examples=12, deadline=None)
@given(problems())
def test_on_the_flat_array(problem):
    shape, machine = problem
    sized = replace(machine, buffer_bytes=min(machine.buffer_bytes, 16 * 2**20))
    assume(closed_forms.queries_per_column(shape, sized, scores_in_buffer=True))
    found = evaluated("fusemax-serial", ONE_PASS, sizes_of(shape), machine_of(machine, "flat-cloud"))
    check(found, closed_forms.cascade(shape, sized), shape, sized, scores_in_buffer=True)


@settings(max_examples=10, deadline=None)
@given(problems())
def test_a_buffer_too_small_for_one_tile_is_named(problem):
    shape, machine = problem
    one_tile = 2 * (machine.rows * (shape.E + shape.F) + machine.columns * (shape.E + shape.F + 2))
    assume(one_tile - 1 >= 2 * machine.columns)
    short = replace(machine, buffer_bytes=one_tile - 1)
    with pytest.raises(InputError, match="too small for any fused mapping"):
        evaluated("fusemax-serial", ONE_PASS, sizes_of(shape), machine_of(short, "fusemax-cloud"))
    enough = replace(machine, buffer_bytes=one_tile)
    found = evaluated("fusemax-serial", ONE_PASS, sizes_of(shape), machine_of(enough, "fusemax-cloud"))
    assert found.cost.peak_bytes["global_buffer"] == one_tile


@settings(max_examples=8, deadline=None)
@given(problems(), st.integers(1, 500), st.integers(1, 500))
def test_what_is_not_there_is_idle(problem, less_m, less_p):
    """A ragged shape takes the cycles of the whole one, and does the work of its own."""
    shape, machine = problem
    assume(closed_forms.queries_per_column(shape, machine))
    ragged = replace(shape, M=shape.M - less_m % machine.rows, P=shape.P - less_p % machine.columns)
    assume(machine.columns < 2 * ragged.P)
    architecture = machine_of(machine, "fusemax-cloud")
    few = evaluated("fusemax-interleaved", ONE_PASS, sizes_of(ragged), architecture, PHYSICAL)
    all_ = evaluated("fusemax-interleaved", ONE_PASS, sizes_of(shape), architecture, PHYSICAL)
    work = {task.name: task for task in few.activity.tasks.values()}
    for task in all_.activity.tasks.values():
        assert work[task.name].cycles == task.cycles
        assert work[task.name].points <= task.points
    assert work["BQK"].points == ragged.size("EM") * ragged.P
    assert work["AV"].points == ragged.size("FP")
    assert few.cost.dram_bytes <= all_.cost.dram_bytes


@settings(max_examples=8, deadline=None)
@given(problems(), st.sampled_from(["attention-3-pass", "attention-3-pass-deferred", "attention-2-pass"]))
@pytest.mark.parametrize("name", ["flat-cloud", "fusemax-cloud"])
def test_every_cascade_fuses_and_fits(name, problem, cascade):
    shape, machine = problem
    machine = replace(machine, buffer_bytes=max(machine.buffer_bytes, 2**22))
    found = evaluated("fusemax-interleaved", cascade, sizes_of(shape), machine_of(machine, name)).cost
    assert found.peak_bytes["global_buffer"] <= machine.buffer_bytes
    compulsory = 2 * (shape.size("EP") + shape.size("EM") + shape.size("FM") + shape.size("FP"))
    assert found.dram_bytes >= compulsory
    for name in ("array_2d", "array_1d"):
        assert 0 < found.utilization[name] <= 1 + EXACT
        busy = sum(task.cycles for task in found.tasks if task.array == name)
        assert found.latency_s * machine.frequency_hz >= busy * (1 - EXACT)


def test_fewer_passes_move_less_when_the_fiber_does_not_fit():
    sizes = sizes_of(Shape(1, 1, 64, 64, 2**18, 2**18))
    moved = [
        evaluated("fusemax-interleaved", f"attention-{k}-pass", sizes, "fusemax-cloud").cost.dram_bytes
        for k in (3, 2, 1)
    ]
    assert moved[0] > moved[1] > moved[2]


def test_a_cascade_with_names_of_its_own_costs_the_same():
    text = str(load_cascade(ONE_PASS))
    for old, new in (("BQK", "Score"), ("SLNV", "Part"), ("RNV", "Run"), ("RD", "Den"), ("RM", "Top"), ("Q:", "A:")):
        text = text.replace(old, new)
    text = text.replace("Q[", "A[")
    renamed = parse_cascade(text)
    sizes = sizes_of(Shape(2, 3, 40, 24, 2048, 1024))
    for machine, preset in (("fusemax-cloud", "fusemax-interleaved"), ("flat-cloud", "fusemax-serial")):
        ours, theirs = (evaluated(preset, cascade, sizes, machine).cost for cascade in (ONE_PASS, renamed))
        assert (ours.latency_s, ours.energy_j, ours.dram_bytes) == (
            theirs.latency_s,
            theirs.energy_j,
            theirs.dram_bytes,
        )


def test_batch_ranks_written_out_cost_the_same():
    """Heads as a rank of the cascade, or as instances of it."""
    base = load_cascade("attention-3-pass")
    text = str(base).replace("[", "[h, ").replace("[h, E", "[H, E").replace("[h, F", "[H, F")
    written = parse_cascade(text.replace("[h, M", "[H, M").replace("[h, P", "[H, P"))
    sizes = {"E": 64, "F": 64, "M": 4096, "P": 4096}
    for preset in ("fusemax-interleaved", "fusemax-serial"):
        plain = evaluated(preset, base, {**sizes, "instances": 24}, "fusemax-cloud").cost
        explicit = evaluated(preset, written, {**sizes, "instances": 2, "H": 12}, "fusemax-cloud").cost
        assert (plain.dram_bytes, plain.latency_s) == (explicit.dram_bytes, explicit.latency_s)


def test_the_exponential_of_a_tile_costs_energy_only_when_it_is_counted():
    sizes = sizes_of(Shape(1, 12, 64, 64, 4096, 4096))
    free = evaluated("fusemax-serial", ONE_PASS, sizes, "flat-cloud").cost.energy.parts_j["exp"]
    charged = evaluated("fusemax-serial", ONE_PASS, sizes, "flat-cloud", PHYSICAL).cost.energy.parts_j["exp"]
    assert free == 0
    assert charged == pytest.approx(94.6475e-12 * (1 + 1 / 256) * 12 * 4096**2, rel=1e-12)


@pytest.mark.parametrize(
    ("cascade", "sizes", "accounting", "dram_bytes"),
    [
        (ONE_PASS, Shape(64, 12, 64, 64, 65537, 65537), PUBLISHED, 38_655_295_488),
        (ONE_PASS, Shape(1, 32, 128, 128, 8192, 1), PHYSICAL, 134_234_112),
        ("attention-3-pass", Shape(1, 32, 128, 128, 131072, 1), PUBLISHED, 2_147_500_032),
    ],
    ids=["65,537 keys", "decode", "decode over several passes"],
)
def test_imperfect_factors_and_decoding(cascade, sizes, accounting, dram_bytes):
    """Two groups of query tiles where 252 of 257 fit; a step of decoding reads keys and values once."""
    found = evaluated("fusemax-interleaved", cascade, sizes_of(sizes), "fusemax-cloud", accounting)
    assert found.cost.dram_bytes == dram_bytes


def test_multiplications_of_a_decoding_step():
    found = evaluated(
        "fusemax-interleaved", ONE_PASS, sizes_of(Shape(1, 32, 128, 128, 8192, 1)), "fusemax-cloud", PHYSICAL
    )
    work = {task.name: task.operations for task in found.activity.tasks.values()}
    assert work["BQK"]["mac"] + work["SLNV"]["mac"] == 2 * 32 * 8192 * 128


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(1, 5000))
def test_largest_divisor(number, bound):
    assert largest_divisor(number, bound) == max(d for d in range(1, bound + 1) if number % d == 0)


@pytest.mark.parametrize("number", [2**31 - 1, 720720 * 2**20, 3 * (2**31 - 1)])
def test_largest_divisor_of_a_large_number(number):
    found = largest_divisor(number, number // 2)
    assert number % found == 0
    smallest_cofactor = next((d for d in range(2, 10**6) if number % d == 0), number)
    assert found == number // smallest_cofactor
