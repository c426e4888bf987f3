"""Any cascade that the notation reads gets a cost and an analysis, or is refused: no other error, in bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from random_einsums import random_einsums

import fusemax
from fusemax import InputError

MACHINES = {
    "unfused": "flat-cloud",
    "flat": "flat-cloud",
    "flat-searched": "flat-cloud",
    "fusemax-serial": "fusemax-cloud",
    "fusemax-interleaved": "fusemax-cloud",
    "cpu-tiles": "cpu",
    "gpu-tiles": "h100",
}
SIZES = (1, 2, 3, 8, 33, 256, 1000)


def outcomes(seed: int) -> list[str]:
    """Ask everything of one cascade; what is answered, by name."""
    try:
        cascade = fusemax.parse_cascade(random_einsums(seed))
    except InputError:
        return []
    parts = {part for p in cascade.partitions for part in p.parts}
    ranks = {r for d in cascade.declarations for r in d.ranks if r not in parts} | {p.rank for p in cascade.partitions}
    sizes = {rank: SIZES[(seed + 3 * i) % len(SIZES)] for i, rank in enumerate(sorted(ranks))}
    tiles = {p.parts[-1]: min(4, sizes[p.rank]) for p in cascade.partitions}
    asked: dict[str, Callable[[], object]] = {
        **{m: lambda m=m: fusemax.evaluate(cascade, MACHINES[m], m, sizes=sizes) for m in MACHINES},
        "analyze": lambda: fusemax.analyze(cascade),
        "traffic": lambda: fusemax.analyze(cascade, sizes=sizes | tiles, buffer_bytes=4096),
        "print": lambda: fusemax.parse_cascade(str(cascade)),
    }
    answered = []
    for name, ask in asked.items():
        try:
            ask()
            answered.append(name)
        except InputError:
            pass
    return answered


def test_random_cascades() -> None:
    answered = [name for seed in range(16) for name in outcomes(seed)]
    assert answered.count("print") > 12
    assert {name for name in (*MACHINES, "analyze", "traffic") if answered.count(name) < 2} == set()


@pytest.mark.parametrize("mapper", ["fusemax-serial", "fusemax-interleaved"])
def test_a_rank_whose_parts_are_ranks_of_their_own(mapper: str) -> None:
    """The views make two ranks of M's parts, so no loop of a preset can cut M."""
    with pytest.raises(InputError, match="unknown rank 'M'"):
        fusemax.evaluate(fusemax.parse_cascade(random_einsums(1125)), "fusemax-cloud", mapper, sizes={"E": 256, "M": 2})


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 2000, 125))
def test_many_random_cascades(start: int) -> None:
    assert sum(len(outcomes(seed)) for seed in range(start, start + 80)) > 80


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("declaration: {A: [E], B: [F, K], Z: [F, K]}\nexpressions: ['Z[f, k] = A[e] * B[f, k]']", "EFK"),
        (
            "declaration: {A: [P], B: [PA, PB], Z: [P]}\npartition: {P: [PA, PB]}\nviews: {B: A}\n"
            "expressions: ['Z[p] = A[p] * B[pa, pb]']",
            "P",
        ),
    ],
)
def test_sums_that_no_array_shares_cost_what_they_read(text: str, sizes: str) -> None:
    """A sum over a rank that only one operand has is no matrix product; it reads its operands once all the same."""
    cascade = fusemax.parse_cascade(text)
    found = fusemax.evaluate(cascade, "flat-cloud", "unfused", sizes=dict.fromkeys(sizes, 4))
    values = 4 + 16 + 16 if sizes == "EFK" else 4 + 4 + 4
    assert found.cost.dram_bytes == 2 * values


def chain(kind: str, length: int) -> fusemax.Cascade:
    """A cascade of ``length`` Einsums, each reading the one before it."""
    steps = {
        "elementwise": ("T{n}: [M, P]", "T{n}[m, p] = tanh(T{b}[m, p])"),
        "folds": ("T{n}: [M, P], G{n}: [P]", "G{n}[p] = T{b}[m, p] :: reduce(m) max|T{n}[m, p] = T{b}[m, p] - G{n}[p]"),
        "products": ("W{n}: [A{b}, A{n}], T{n}: [A{n}, P]", "T{n}[a{n}, p] = W{n}[a{b}, a{n}] * T{b}[a{b}, p]"),
    }[kind]
    each = steps[1].count("|") + 1
    names = range(1, length // each + 1)
    first = "T0: [A0, P]" if kind == "products" else "T0: [M, P]"
    declared = ", ".join([first, *(steps[0].format(n=n, b=n - 1) for n in names)])
    written = [text.format(n=n, b=n - 1) for n in names for text in steps[1].split("|")]
    expressions = "".join(f"  - '{text}'\n" for text in written)
    return fusemax.parse_cascade(f"declaration: {{{declared}}}\nexpressions:\n{expressions}")


@pytest.mark.parametrize(
    ("kind", "length"),
    [
        ("elementwise", 120),
        ("folds", 40),
        ("products", 40),
        *(pytest.param(k, 120, marks=pytest.mark.slow) for k in ("folds", "products")),
    ],
)
def test_a_chain_of_many_einsums(kind: str, length: int) -> None:
    cascade = chain(kind, length)
    assert len(cascade.body) == length
    sizes = {r: 64 if r in "MP" else 16 for d in cascade.declarations for r in d.ranks}
    start = time.process_time()
    fusemax.analyze(cascade, rank="P", sizes=sizes, buffer_bytes=4096)
    for mapper, machine in MACHINES.items():
        try:
            fusemax.evaluate(cascade, machine, mapper, sizes=sizes)
        except InputError:
            assert mapper not in ("unfused", "gpu-tiles") or kind == "elementwise"
    fusemax.compile_cascade(cascade, jit=False)
    assert time.process_time() - start < 60, "exponential, or a high power of the length"
