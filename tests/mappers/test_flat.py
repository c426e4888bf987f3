"""FLAT's nests against the closed forms, with choices of every kind; its own choice against all choices."""

from dataclasses import replace
from fractions import Fraction
from itertools import product

import closed_forms
import pytest
from closed_forms import FlatMapping, Machine, Shape
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from einsum_cascades.load import load_cascade, parse_cascade
from einsum_cascades.workload import Workload
from hw_models.accounting import PUBLISHED
from hw_models.cost import cost
from hw_models.load import load_architecture
from mappers.activity import activity_of
from mappers.flat import flat, flat_searched, published_choices, tabulated
from mappers.flat_nest import STATIONARY, FlatChoice, FlatProblem
from mappers.flat_search import search

CASCADE = load_cascade("attention-3-pass")
NAMES = dict(zip(STATIONARY, ("input", "weight", "output"), strict=True))


def machine_of(machine: Machine):
    base = load_architecture("flat-cloud", [f"array_2d.rows={machine.rows}", f"array_2d.columns={machine.columns}"])
    return replace(base, global_buffer=replace(base.global_buffer, bytes=machine.buffer_bytes))


def problem_of(shape: Shape, machine: Machine, cascade=CASCADE) -> FlatProblem:
    workload = Workload.attention(
        batch=shape.B, heads=shape.H, head_dim=shape.E, value_dim=shape.F, seq_len=shape.P, kv_len=shape.M
    )
    return FlatProblem.of(cascade, workload, machine_of(machine), PUBLISHED)


def cost_of(problem: FlatProblem, choice: FlatChoice):
    mapping = problem.mapping("flat", choice)
    return cost(activity_of(mapping, PUBLISHED), problem.architecture, PUBLISHED)


@settings(max_examples=80, deadline=None)
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
    machine = Machine(rows=side, columns=side)
    on_chip = held | {"QK", "A"} if scores else held
    problem = problem_of(shape, machine)
    found = cost_of(problem, FlatChoice(fused * side, (stationary,) * 2, on_chip, spilled))
    form = closed_forms.flat(shape, machine, FlatMapping(on_chip, NAMES[stationary], fused * side, spilled))
    assert abs(found.dram_bytes - form.dram_bytes) <= 40  # a spilled part is rounded to whole values
    assert found.util_1d * found.latency_s == pytest.approx(form.util_1d * form.latency_s, rel=1e-9)
    assert found.util_2d * found.latency_s == pytest.approx(form.util_2d * form.latency_s, rel=1e-9)
    assert found.latency_s == pytest.approx(form.latency_s, rel=1e-6 if spilled else 1e-9)


@pytest.mark.parametrize("key", [k for k in published_choices() if k[0] == 256 and k[3] >= 512], ids=str)
def test_the_published_spills_follow_from_the_capacity(key):
    """What overflows is what is live beyond the buffer: f = 1 - capacity / live."""
    side, buffer, head_dim, seq_len = key
    shape = Shape(64, 12, head_dim, head_dim, seq_len, seq_len)
    problem = problem_of(shape, Machine(rows=side, columns=side, buffer_bytes=buffer))
    choice = tabulated(problem)
    assert choice is not None
    live = problem.live_bytes(choice)
    assert choice.spilled == max(Fraction(0), 1 - Fraction(buffer, live))


def test_the_table_is_for_its_machine_and_shape_only():
    shape = Shape(64, 12, 64, 64, 4096, 4096)
    assert tabulated(problem_of(shape, Machine(buffer_bytes=2**25)))
    assert tabulated(problem_of(replace(shape, M=2048), Machine(buffer_bytes=2**25))) is None
    assert tabulated(problem_of(replace(shape, F=128), Machine(buffer_bytes=2**25))) is None
    assert tabulated(problem_of(shape, Machine(buffer_bytes=2**24))) is None
    deferred = load_cascade("attention-3-pass-deferred")
    assert tabulated(problem_of(shape, Machine(buffer_bytes=2**25), deferred)) is None


@pytest.mark.parametrize("buffer", [2**13, 2**15, 2**17, 2**20])
@pytest.mark.parametrize("shape", [Shape(1, 2, 16, 16, 256, 256), Shape(1, 1, 8, 48, 128, 512)], ids=str)
def test_its_own_choice_is_the_best_of_all(buffer, shape):
    """Against every stationary operand, placement and number of fused queries, each evaluated in full."""
    machine = Machine(rows=16, columns=16, buffer_bytes=buffer)
    problem = problem_of(shape, machine)
    choices = []
    for groups in range(1, shape.P // 16 + 1):
        if (shape.P // 16) % groups:
            continue
        for still in product(STATIONARY, repeat=2):
            for flags in product((False, True), repeat=5):
                held = [t for t, on in zip(("Q", "K", "V", "AV"), flags, strict=False) if on]
                between = ("QK", "A") if flags[4] else ()
                choices.append(FlatChoice(shape.P // groups, still, frozenset((*held, *between))))
    fitting = [c for c in choices if problem.live_bytes(c) <= buffer]
    best = min((k.latency_s, k.dram_bytes) for k in (cost_of(problem, c) for c in fitting))
    found = cost_of(problem, search(problem))
    assert (found.latency_s, found.dram_bytes) == best


def test_what_it_searches_by_is_what_it_costs():
    shape = Shape(2, 3, 64, 64, 8192, 8192)
    problem = problem_of(shape, Machine(buffer_bytes=2**22))
    choice = search(problem)
    assert problem.live_bytes(choice) <= 2**22
    mapping = flat_searched(
        CASCADE,
        Workload.attention(batch=2, heads=3, head_dim=64, seq_len=8192),
        problem.architecture,
        PUBLISHED,
    )
    assert mapping == problem.mapping("flat-searched", choice)


def test_a_buffer_without_room_for_an_array_tile_is_named():
    with pytest.raises(InputError, match="too small for any FLAT mapping"):
        flat(
            CASCADE,
            Workload.attention(batch=1, heads=1, head_dim=64, seq_len=512),
            machine_of(Machine(buffer_bytes=2048)),
            PUBLISHED,
        )


def test_a_cascade_without_a_product_is_refused():
    text = "declaration: {X: [M, P], S: [P], Y: [M, P]}\nexpressions: ['S[p] = X[m, p]', 'Y[m, p] = X[m, p] / S[p]']"
    with pytest.raises(InputError, match="no contraction"):
        flat(parse_cascade(text), Workload((("M", 64), ("P", 64))), load_architecture("flat-cloud"), PUBLISHED)
