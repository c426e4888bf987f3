"""What is said of a name that is given as a rank and is none."""

from __future__ import annotations

import pytest

from einsum_cascades.errors import InputError
from einsum_cascades.load import load_cascade, parse_cascade
from einsum_cascades.not_a_rank import not_a_rank, scalar_inputs
from einsum_cascades.passes import analyse_passes
from einsum_cascades.rewrites import derive
from fusemax.analysis import analyze
from fusemax.workloads import workload_of

SCALED = """
name: scaled
declaration: {X: [M], C: [], T: [], Y: [M], M: [M]}
expressions: ['T = X[m]', 'Y[m] = X[m] * T * C']
"""


def test_scalars_of_cascades() -> None:
    assert scalar_inputs(load_cascade("attention-sliding-window")) == ("W",)
    assert scalar_inputs(load_cascade("attention-1-pass")) == ()
    assert scalar_inputs(parse_cascade(SCALED)) == ("C",)


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("C", "'C' is a scalar input of scaled, not a rank", "leave C out"),
        ("T", "'T' is a scalar of scaled, not a rank", "ranks: M"),
        ("X", r"'X' is a tensor \[M\] of scaled, not a rank", "ranks: M"),
        ("Q", "unknown rank of scaled 'Q'", "M"),
        ("m", "unknown rank of scaled 'm'", "did you mean 'M'"),
    ],
)
def test_each_kind_of_name(name: str, message: str, hint: str) -> None:
    error = not_a_rank(parse_cascade(SCALED), name, ["M"], sized=True)
    with pytest.raises(InputError, match=message):
        raise error
    assert hint in error.hint


def test_a_part_of_a_rank_that_the_mapper_sizes() -> None:
    with pytest.raises(InputError, match="'M0' is a part of M") as caught:
        workload_of(load_cascade("attention-1-pass"), sizes={"M0": 64})
    assert "give M instead" in caught.value.hint


def test_all_who_take_ranks_say_so() -> None:
    cascade = load_cascade("attention-sliding-window")
    for call in (
        lambda: analyse_passes(cascade, "W"),
        lambda: derive(cascade, "W"),
        lambda: analyze(cascade, "W"),
        lambda: analyze(cascade, sizes={"W": 8}),
        lambda: workload_of(cascade, sizes={"W": 8}),
    ):
        with pytest.raises(InputError, match="'W' is a scalar input of attention-sliding-window"):
            call()
