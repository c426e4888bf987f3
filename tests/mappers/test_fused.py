"""The fused strategies against the closed forms of the published evaluation, on shapes and machines of any size."""

from dataclasses import replace

import closed_forms
import pytest
from closed_forms import Machine, Shape
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from einsum_cascades.load import load_cascade, parse_cascade
from einsum_cascades.workload import Workload
from hw_models.accounting import PHYSICAL, PUBLISHED
from hw_models.cost import Cost, cost
from hw_models.load import load_architecture
from mappers.activity import activity_of
from mappers.analysis import analyse
from mappers.capacity import fits, largest_divisor
from mappers.strategies import STRATEGIES

EXACT = 1e-9
CASCADE = load_cascade("attention-1-pass")


def machine_of(machine: Machine, name: str):
    base = load_architecture(name, [f"array_2d.rows={machine.rows}", f"array_2d.columns={machine.columns}"])
    return replace(
        base,
        global_buffer=replace(base.global_buffer, bytes=machine.buffer_bytes),
        bandwidth_bytes_per_s=machine.bandwidth_bytes_per_s,
        frequency_hz=machine.frequency_hz,
    )


def workload_of(shape: Shape) -> Workload:
    return Workload.attention(
        batch=shape.B, heads=shape.H, head_dim=shape.E, value_dim=shape.F, seq_len=shape.P, kv_len=shape.M
    )


def evaluated(mapper: str, architecture, shape: Shape, cascade=CASCADE, accounting=PUBLISHED):
    mapping = STRATEGIES[mapper](cascade, workload_of(shape), architecture, accounting)
    return mapping, cost(activity_of(mapping, accounting), architecture, accounting)


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


def check(found: Cost, expected: closed_forms.Result) -> None:
    assert found.dram_bytes == expected.dram_bytes
    assert found.latency_s == pytest.approx(expected.latency_s, rel=EXACT)
    assert found.util_2d == pytest.approx(expected.util_2d, rel=EXACT)
    assert found.util_1d == pytest.approx(expected.util_1d, rel=EXACT)


@settings(max_examples=60, deadline=None)
@given(problems())
@pytest.mark.parametrize(
    ("mapper", "form"),
    [("fusemax-interleaved", closed_forms.binding), ("fusemax-serial", closed_forms.architecture)],
)
def test_fusemax_on_its_own_array(mapper, form, problem):
    shape, machine = problem
    assume(closed_forms.queries_per_column(shape, machine))
    mapping, found = evaluated(mapper, machine_of(machine, "fusemax-cloud"), shape)
    check(found, form(shape, machine))
    assert dict(mapping.tiles)["P"] == machine.columns * closed_forms.queries_per_column(shape, machine)


@settings(max_examples=60, deadline=None)
@given(problems())
def test_fusemax_on_the_flat_array(problem):
    shape, machine = problem
    sized = replace(machine, buffer_bytes=min(machine.buffer_bytes, 16 * 2**20))
    assume(closed_forms.queries_per_column(shape, sized, scores_in_buffer=True))
    _, found = evaluated("fusemax-serial", machine_of(machine, "flat-cloud"), shape)
    check(found, closed_forms.cascade(shape, sized))


@settings(max_examples=30, deadline=None)
@given(problems())
def test_a_buffer_too_small_for_one_tile_is_named(problem):
    shape, machine = problem
    one_tile = 2 * (machine.rows * (shape.E + shape.F) + machine.columns * (shape.E + shape.F + 2))
    short = replace(machine, buffer_bytes=one_tile - 1)
    assert not closed_forms.queries_per_column(shape, short)
    with pytest.raises(InputError, match="too small for any fused mapping"):
        evaluated("fusemax-serial", machine_of(short, "fusemax-cloud"), shape)


def test_the_smallest_buffer_that_is_named_is_enough():
    shape, machine = Shape(1, 1, 64, 64, 1024, 1024), Machine(buffer_bytes=4096)
    architecture = machine_of(machine, "fusemax-cloud")
    with pytest.raises(InputError) as refused:
        evaluated("fusemax-serial", architecture, shape)
    needed = int(refused.value.hint.split(" bytes")[0].split()[-1])
    mapping, _ = evaluated("fusemax-serial", machine_of(replace(machine, buffer_bytes=needed), "fusemax-cloud"), shape)
    assert mapping.buffer_bytes == needed
    with pytest.raises(InputError):
        evaluated("fusemax-serial", machine_of(replace(machine, buffer_bytes=needed - 1), "fusemax-cloud"), shape)


@settings(max_examples=30, deadline=None)
@given(problems(), st.integers(1, 500), st.integers(1, 500))
def test_padding_shows_in_the_utilisation(problem, less_m, less_p):
    shape, machine = problem
    assume(closed_forms.queries_per_column(shape, machine))
    ragged = replace(shape, M=shape.M - less_m % machine.rows, P=shape.P - less_p % machine.columns)
    architecture = machine_of(machine, "fusemax-cloud")
    _, padded = evaluated("fusemax-interleaved", architecture, ragged)
    _, whole = evaluated("fusemax-interleaved", architecture, shape)
    assert padded.latency_s == whole.latency_s
    assert padded.dram_bytes == whole.dram_bytes
    filled = ragged.M * ragged.P / (shape.M * shape.P)
    assert padded.util_2d == pytest.approx(whole.util_2d * filled, rel=EXACT)
    assert padded.util_1d == pytest.approx(whole.util_1d * ragged.P / shape.P, rel=EXACT)


@settings(max_examples=40, deadline=None)
@given(problems(), st.sampled_from(["attention-3-pass", "attention-3-pass-deferred", "attention-2-pass"]))
@pytest.mark.parametrize("name", ["flat-cloud", "fusemax-cloud"])
def test_every_cascade_fuses_and_fits(name, problem, cascade):
    shape, machine = problem
    machine = replace(machine, buffer_bytes=max(machine.buffer_bytes, 2**22))
    architecture = machine_of(machine, name)
    mapping, found = evaluated("fusemax-interleaved", architecture, shape, load_cascade(cascade))
    assert fits(mapping.buffer_bytes, machine.buffer_bytes)
    compulsory = 2 * (shape.size("EP") + shape.size("EM") + shape.size("FM") + shape.size("FP"))
    assert found.dram_bytes >= compulsory
    assert 0 < found.util_2d <= 1 + EXACT
    assert 0 < found.util_1d <= 1 + EXACT
    busy = {a: sum(e.cycles for e in found.per_einsum if e.array == a) for a in ("array_2d", "array_1d")}
    assert found.latency_s * machine.frequency_hz >= max(busy.values()) * (1 - EXACT)


def test_fewer_passes_move_less_when_the_fiber_does_not_fit():
    shape = Shape(1, 1, 64, 64, 2**18, 2**18)
    architecture = load_architecture("fusemax-cloud")
    moved = [
        evaluated("fusemax-interleaved", architecture, shape, load_cascade(c))[1].dram_bytes
        for c in ("attention-3-pass", "attention-2-pass", "attention-1-pass")
    ]
    assert moved[0] > moved[1] > moved[2]


def test_a_user_cascade_with_its_own_names_costs_the_same():
    text = str(CASCADE)
    for old, new in (("BQK", "Score"), ("SLNV", "Part"), ("RNV", "Run"), ("RD", "Den"), ("RM", "Top")):
        text = text.replace(old, new)
    renamed = parse_cascade(text)
    shape = Shape(2, 3, 40, 24, 2048, 1024)
    for name, mapper in (("fusemax-cloud", "fusemax-interleaved"), ("flat-cloud", "fusemax-serial")):
        architecture = load_architecture(name)
        _, ours = evaluated(mapper, architecture, shape)
        _, theirs = evaluated(mapper, architecture, shape, renamed)
        assert (ours.latency_s, ours.energy_j, ours.dram_bytes) == (
            theirs.latency_s,
            theirs.energy_j,
            theirs.dram_bytes,
        )


def test_batch_ranks_written_out_cost_the_same():
    """Heads as a rank of the cascade, or as instances of it."""
    base = load_cascade("attention-3-pass")
    text = str(base).replace("[", "[h, ").replace("[h, E", "[H, E").replace("[h, F", "[H, F")
    text = text.replace("[h, M", "[H, M").replace("[h, P", "[H, P")
    written = parse_cascade(text)
    sizes = (("E", 64), ("F", 64), ("M", 4096), ("P", 4096))
    architecture = load_architecture("fusemax-cloud")
    for mapper in ("fusemax-interleaved", "fusemax-serial", "unfused"):
        plain = STRATEGIES[mapper](base, Workload(sizes, batch=2, heads=12), architecture, PUBLISHED)
        explicit = STRATEGIES[mapper](written, Workload((*sizes, ("H", 12)), batch=2), architecture, PUBLISHED)
        a, b = (cost(activity_of(m, PUBLISHED), architecture, PUBLISHED) for m in (plain, explicit))
        assert (a.dram_bytes, a.latency_s) == (b.dram_bytes, b.latency_s)


@settings(max_examples=30, deadline=None)
@given(problems())
def test_the_compiled_nests_are_the_nests_that_are_printed(problem):
    shape, machine = problem
    assume(closed_forms.queries_per_column(shape, machine))
    mapping, _ = evaluated("fusemax-serial", machine_of(machine, "fusemax-cloud"), shape)
    for einsum in mapping.einsums:
        assert analyse(einsum.nest) == einsum.shape.compiled.counts(einsum.extents)


def test_the_exponential_of_a_tile_costs_energy_only_when_it_is_counted():
    shape = Shape(1, 12, 64, 64, 4096, 4096)
    architecture = load_architecture("flat-cloud")
    free = evaluated("fusemax-serial", architecture, shape)[1].energy_parts.exp_j
    charged = evaluated("fusemax-serial", architecture, shape, accounting=PHYSICAL)[1].energy_parts.exp_j
    assert free == 0
    assert charged == pytest.approx(94.6475e-12 * (1 + 1 / 256) * 12 * 4096**2, rel=1e-12)


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
