"""Which Einsums share a pass, and the chain of dependencies that forces each next one."""

import random

import pytest
from random_cascades import KINDS, random_cascade

from einsum_cascades.chains import chain, stages
from einsum_cascades.load import library_names, load_cascade, parse_cascade
from einsum_cascades.passes import analyse_passes


def test_three_passes_in_words():
    assert [link.text for link in chain(load_cascade("attention-3-pass"))] == [
        "pass 2 over M: SN[m, p] reads GM[p], the maximum of QK[m, p] over m, complete only after pass 1",
        "pass 3 over M: A[m, p] reads SD[p], the sum of SN[m, p] over m, complete only after pass 2",
    ]


def test_a_chain_through_partial_results():
    (link,) = chain(load_cascade("attention-2-pass"))
    assert (link.number, link.reader, link.through, link.folded) == (2, "SN", ("PLM",), "GM")
    assert "PLM[m1, p], computed from GM[p], the maximum of LM[m1, p] over m1" in link.text


def test_one_pass_needs_no_reason():
    assert chain(load_cascade("attention-1-pass")) == ()


def test_the_last_value_of_a_recurrence():
    cascade = parse_cascade("""
        declaration: {A: [K], R: [K], B: [K]}
        init: ["R[0] = 0"]
        expressions: ["R[k+1] = R[k] + A[k]"]
        final: ["B[k] = A[k] * R[K]"]
        stop: k >= K
    """)
    (link,) = chain(cascade, "K")
    assert "R[K], the value after the last iteration of K, at the end of pass 1" in link.text


def test_partial_results_that_cannot_both_stream():
    cascade = parse_cascade("""
        declaration: {A: [K1, K0], R: [K1], C: [K0], Z: []}
        partition: {K: [K1, K0]}
        expressions: ["R[k1] = A[k1, k0]", "C[k0] = A[k1, k0]", "Z = A[k1, k0] * R[k1] * C[k0]"]
    """)
    (link,) = chain(cascade, "K")
    assert link.text.endswith("complete only after pass 1, whose loop order streams other partial results")


def test_stages_of_attention():
    found = [(stage.name, stage.einsums) for stage in stages(load_cascade("attention-2-pass"))]
    assert found == [
        ("pass 1", ("BQK", "LM", "GM", "SLN", "SLD")),
        ("after pass 1", ("PLM", "SPD", "SD")),
        ("pass 2", ("SN", "A", "AV")),
    ]


def check(cascade, rank):
    """The chain is a chain: each link leads to the reader of the one before; stages hold every Einsum once."""
    analysis = analyse_passes(cascade, rank)
    links = chain(cascade, rank)
    assert [link.number for link in links] == list(range(2, analysis.passes + 1))
    for link in links:
        assert analysis.einsum_pass[link.reader] == link.number
        assert analysis.einsum_pass[link.folded] == link.number - 1
    names = [name for stage in stages(cascade, rank) for name in stage.einsums]
    assert sorted(names) == sorted({e.name for e in (*cascade.body, *cascade.final)})


@pytest.mark.parametrize("name", library_names())
def test_every_family_of_the_library(name):
    cascade = load_cascade(name)
    for rank in {r for d in cascade.declarations for r in d.ranks}:
        check(cascade, rank)


@pytest.mark.parametrize("kind", KINDS)
def test_random_cascades(kind):
    generator = random.Random(kind)
    for _ in range(60):
        check(random_cascade(generator.randrange(10**6), kind, steps=6), "K")
