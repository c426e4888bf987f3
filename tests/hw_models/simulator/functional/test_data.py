"""What a simulation is given and what it gives: instances, views, ragged parts, first values, indices, counts."""

import ast
from pathlib import Path

import numpy as np
import pytest
from single_trees import MACHINE, drawn
from tree_differences import EXACT, inputs_of

from einsum_cascades.errors import InputError
from einsum_cascades.interpreter import run
from einsum_cascades.load import load_cascade, parse_cascade
from einsum_cascades.loops import Level, Levels, Space, parse_tree
from hw_models.simulator.functional import interpreted, max_error, reference, schedule, simulate
from hw_models.spatial_machines import spatial_machine

PRODUCT = drawn(
    "product", {"M": 3, "N": 2, "K": 4, "instances": 2}, "for M step 2\n  keep A in buffer\n    compute Z on array\n"
)
ONE_PASS = """
split M0 4
seq
  for P step 1
    for M step 4
      seq
        compute BQK on array
        compute LM on array
        compute RM on array
        compute SLN on array
        compute SLD on array
        compute SLNV on array
        compute PRM on array
        compute SPD on array
        compute RD on array
        compute SPNV on array
        compute RNV on array
  compute AV on array
"""


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def test_each_instance_has_its_own_inputs() -> None:
    inputs = {"A": random(2, 3, 4), "B": random(2, 4, 2)}
    done = simulate(PRODUCT.tree, PRODUCT.space, PRODUCT.levels, inputs)
    assert done.results["Z"].shape == (2, 3, 2)
    np.testing.assert_allclose(done.results["Z"], inputs["A"] @ inputs["B"], rtol=1e-12)


def test_an_array_without_instances_is_that_of_all() -> None:
    inputs = {"A": random(2, 3, 4), "B": random(4, 2)}
    done = simulate(PRODUCT.tree, PRODUCT.space, PRODUCT.levels, inputs)
    np.testing.assert_allclose(done.results["Z"], inputs["A"] @ inputs["B"], rtol=1e-12)
    expected = reference(PRODUCT.space, inputs)
    assert max_error(done.results, expected) < 1e-12


def test_what_happened_is_counted() -> None:
    """A of 2 x 3 x 4 comes to the buffer once; values of A and B are read at each point."""
    done = simulate(PRODUCT.tree, PRODUCT.space, PRODUCT.levels, inputs_of(PRODUCT.space), bits=lambda _: 16)
    points = 2 * 3 * 2 * 4
    assert done.points == {1: points}
    assert done.steps == {1: points}
    assert done.cycles == points
    assert done.rows["dram", "A", "read"] == done.rows["buffer", "A", "fill"] == 2 * 3 * 4
    assert done.rows["dram", "B", "read"] == done.rows["buffer", "A", "read"] == points
    assert done.rows["dram", "Z", "update"] == points
    assert done.rows["dram", "Z", "read"] == points - 2 * 3 * 2
    assert done.checked_reads == 2 * points + 2 * 3 * 4
    assert done.peaks == {"buffer": 2 * 2 * 4 * 16}
    assert not done.short


@pytest.mark.parametrize(
    "inputs", [{"K": random(3, 8), "V": random(2, 8)}, {"BK": random(3, 2, 4), "BV": random(2, 2, 4)}]
)
def test_a_view_is_given_as_itself_or_as_what_it_views(inputs: dict[str, np.ndarray]) -> None:
    cascade, tree = load_cascade("attention-1-pass"), parse_tree(ONE_PASS)
    space = Space.of(cascade, {"E": 3, "F": 2, "M": 8, "P": 2}, tree.split)
    inputs = {"Q": random(3, 2), **inputs}
    done = simulate(tree, space, MACHINE, inputs)
    expected = run(cascade, inputs, sizes={"M0": 4})
    np.testing.assert_allclose(done.results["AV"][0], expected["AV"], rtol=1e-12)


@pytest.mark.parametrize("keys", [1, 3, 5, 10])
def test_the_last_part_may_be_ragged(keys: int) -> None:
    """Attention in parts of 4 keys is that of the cascade without parts."""
    tree = parse_tree(ONE_PASS)
    space = Space.of(load_cascade("attention-1-pass"), {"E": 3, "F": 2, "M": keys, "P": 2, "instances": 2}, tree.split)
    inputs = {"Q": random(2, 3, 2), "K": random(2, 3, keys), "V": random(2, keys)}
    done = simulate(tree, space, MACHINE, inputs)
    for i in range(2):
        expected = run(load_cascade("attention-3-pass"), {"Q": inputs["Q"][i], "K": inputs["K"][i], "V": inputs["V"]})
        np.testing.assert_allclose(done.results["AV"][i], expected["AV"], rtol=1e-12)
    assert max_error(done.results, reference(space, inputs)) < EXACT


def test_where_parts_are_whole_both_references_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    space = Space.of(load_cascade("attention-1-pass"), {"E": 3, "F": 2, "M": 12, "P": 3, "instances": 2}, [("M0", 4)])
    inputs = {"Q": random(2, 3, 3), "K": random(2, 3, 12), "V": random(2, 12)}
    by_interpreter = reference(space, inputs)
    monkeypatch.setattr(interpreted, "_is_ragged", lambda _: True)
    evaluated = reference(space, inputs)
    assert evaluated.keys() == by_interpreter.keys() == {"AV"}
    assert max_error(evaluated, by_interpreter) < 1e-12


CAUSAL = "declaration: {A: [M, P], Z: [P]}\nexpressions: ['Z[p] = where(m <= p + (M - P), A[m, p], 0)']"


def test_indices_and_sizes_are_those_of_the_points() -> None:
    cascade = parse_cascade(CAUSAL)
    tree = parse_tree("for M step 2\n  for P*instances step 4 over array.rows\n    compute Z on array\n")
    space = Space.of(cascade, {"M": 5, "P": 3, "instances": 2}, ())
    inputs = {"A": random(2, 5, 3)}
    done = simulate(tree, space, MACHINE, inputs)
    for i in range(2):
        np.testing.assert_allclose(done.results["Z"][i], run(cascade, {"A": inputs["A"][i]})["Z"], rtol=1e-12)


FIRST = """
declaration: {X: [I, P], S: [P], R: [I, P]}
init: ['R[0, p] = S[p] * 2']
expressions: ['R[i+1, p] = R[i, p] + X[i, p]']
stop: i >= I
"""


@pytest.mark.parametrize(
    "text",
    [
        "seq\n  compute R@init on array\n  for I step 1\n    compute R on array\n",
        "seq\n  compute R@init on array\n  keep R (state) in buffer\n    for I step 1\n      compute R on array\n",
        "keep R (state) in buffer\n  seq\n    compute R@init on array\n    for I step 1\n      compute R on array\n",
        "keep R in buffer\n  seq\n    compute R@init on array\n    for I step 1\n      compute R on array\n",
    ],
)
def test_first_values_may_be_computed(text: str) -> None:
    """A result has them too: its first entry along the iterative rank."""
    space = Space.of(parse_cascade(FIRST), {"I": 4, "P": 3}, ())
    inputs = {"X": random(4, 3), "S": random(3)}
    done = simulate(parse_tree(text), space, MACHINE, inputs)
    assert done.results["R"].shape == (1, 5, 3)
    np.testing.assert_allclose(done.results["R"][0], run(space.cascade, inputs)["R"], rtol=1e-12)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"A": random(3, 4)}, "input B is missing"),
        ({"A": random(3, 4), "B": random(4, 3)}, r"input B has the shape \(4, 3\)"),
        ({"A": random(3, 3, 4), "B": random(4, 2)}, r"input A has the shape \(3, 3, 4\)"),
        ({"A": [[1, 2], [3]], "B": random(4, 2)}, "input A is no array of numbers"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulate(PRODUCT.tree, PRODUCT.space, PRODUCT.levels, inputs)


def test_a_plain_input_that_does_not_fit_is_refused() -> None:
    tree = parse_tree(ONE_PASS)
    space = Space.of(load_cascade("attention-1-pass"), {"E": 3, "F": 2, "M": 8, "P": 2}, tree.split)
    with pytest.raises(InputError, match=r"input K has the shape \(3, 9\)"):
        simulate(tree, space, MACHINE, {"Q": random(3, 2), "K": random(3, 9), "V": random(2, 8)})


def test_errors_are_told_relative_to_what_is_expected() -> None:
    nothing = np.array([np.nan, np.inf, 1.0])
    assert max_error({"Z": nothing}, {"Z": nothing}) == 0
    assert max_error({"Z": np.array([202.0])}, {"Z": np.array([200.0])}) == pytest.approx(0.01)
    assert max_error({"Z": np.array([0.25])}, {"Z": np.array([0.0])}) == pytest.approx(0.25)
    assert max_error({"Z": np.array([np.nan])}, {"Z": np.array([0.0])}) == np.inf


def test_bits_are_the_machines() -> None:
    machine = spatial_machine("fusemax-cloud", ["value_bits=32"])
    case = drawn(
        "product", {"M": 3, "N": 2, "K": 4}, "keep A in global_buffer\n  compute Z on array_2d\n", machine.levels
    )
    assert simulate(case.tree, case.space, machine, inputs_of(case.space)).peaks == {"global_buffer": 3 * 4 * 32}
    assert simulate(case.tree, case.space, machine.levels, inputs_of(case.space)).peaks == {"global_buffer": 3 * 4}


def test_progress_goes_from_nothing_to_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "_OFTEN", 0.0)
    told: list[float] = []
    text = "seq\n  for M step 1\n    for K step 1\n      compute Z on array\n"
    case = drawn("product", {"M": 4, "N": 2, "K": 3}, text)
    simulate(case.tree, case.space, case.levels, inputs_of(case.space), progress=told.append)
    assert told == [pytest.approx(i / 12) for i in range(12)]


@pytest.mark.parametrize(
    ("size", "message"), [(0, "rank M has the size 0"), (np.array([3, 4]), "rank M has the size array")]
)
def test_one_size_of_each_rank_is_run(size: object, message: str) -> None:
    levels = Levels((Level("dram"), Level("array", "dram", computes=True)))
    space = Space.of(PRODUCT.space.cascade, {"M": size, "N": 2, "K": 2}, ())
    with pytest.raises(InputError, match=message):
        simulate(parse_tree("compute Z on array"), space, levels, {})


LOOPS = {"levels", "space", "text", "tree"}


def test_no_counting_code_is_shared() -> None:
    """Nothing of the engine is imported but what a tree, a space and a machine are."""
    imported: set[str] = set()
    for file in Path(schedule.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                imported.add(node.module or "")
            elif isinstance(node, ast.Import):
                imported |= {name.name for name in node.names}
    parts = [name.removeprefix("fusemax.").split(".") for name in imported]
    assert {name[-1] for name in parts if name[:2] == ["einsum_cascades", "loops"]} == LOOPS
    assert {name[-1] for name in parts if name[0] == "hw_models" and name[1] != "simulator"} == {"machine"}
