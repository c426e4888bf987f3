"""The loops that Einsums share, and what is kept: passes, footprints, allocations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from random_cascades import KINDS, random_cascade

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade
from einsum_cascades.load import library_names, load_cascade, parse_cascade
from einsum_cascades.passes import analyse_passes
from kernels import compile_cascade
from kernels.compiler import compiled
from kernels.compiler.compiled import Tiling
from kernels.compiler.plan import Nest, Step, Walk
from kernels.compiler.source import Program, program_of
from kernels.compiler.storage import Keep


def program(name: str) -> Program:
    cascade = load_cascade(name)
    return program_of(cascade, cascade.outputs)


def kept(found: Program, tensor: str) -> dict[str, Keep]:
    """What a tensor keeps along each rank of its array."""
    ranks = found.normal.ranks_of[tensor]
    return {ranks[axis.position]: axis.keep for axis in found.storage[tensor].axes}


def passes_run(found: Program, family: tuple[str, ...]) -> int:
    """How often the loops go over a whole rank family, one after another."""

    def count(steps: tuple[Step, ...], opened: frozenset[str]) -> int:
        total = 0
        for step in steps:
            if isinstance(step, Walk):
                inside = opened | {step.rank}
                whole = step.rank == family[0]
                walked = count(step.steps, inside)
                total += max(walked, int(set(family) <= inside)) if not whole else min(walked, 1)
                if whole and len(family) == 1:
                    total += 1 - min(walked, 1)
            elif isinstance(step, Nest):
                ranks = {r for i in step.einsums for r in found.normal.einsums[i].ranks}
                total += set(family) <= ranks | opened and bool(set(family) & ranks - opened)
        return total

    return sum(count(region.steps, frozenset()) for region in found.regions)


@pytest.mark.parametrize("name", [n for n in library_names() if n != "linear-layers"])
def test_the_loops_go_over_the_keys_as_often_as_the_passes_say(name: str) -> None:
    found = program(name)
    family = found.cascade.family("M")
    assert passes_run(found, family) == analyse_passes(found.cascade, "M").passes


def test_rows_are_the_independent_rank() -> None:
    softmax = [n for n in library_names() if n.startswith("attention-") and "linear" not in n and "split" not in n]
    assert {r.rows for n in softmax for r in program(n).regions if r.rows} == {"P"}
    assert [r.rows for r in program("linear-layers").regions] == ["N"]


def test_what_crosses_a_pass_is_a_fiber_per_row_and_the_rest_is_a_block() -> None:
    found = program("attention-3-pass-deferred")
    assert kept(found, "QK") == {"P": Keep.ROW, "M": Keep.FULL}
    assert kept(found, "SN") == {"P": Keep.ROW, "M": Keep.BLOCK}
    assert kept(found, "SD") == kept(found, "GM") == {"P": Keep.ROW}
    found = program("attention-3-pass")
    assert kept(found, "SN") == {"P": Keep.ROW, "M": Keep.FULL}
    assert kept(found, "A") == {"P": Keep.ROW, "M": Keep.BLOCK}


def test_one_pass_keeps_a_tile_of_scores_and_two_values_of_what_runs() -> None:
    found = program("attention-1-pass")
    assert kept(found, "BQK") == {"P": Keep.ROW, "M0": Keep.FULL}
    assert kept(found, "SLN") == {"P": Keep.ROW, "M0": Keep.BLOCK}
    assert kept(found, "RM") == {"P": Keep.ROW, "M1": Keep.RING}
    assert kept(found, "RNV") == {"P": Keep.ROW, "M1": Keep.RING, "F": Keep.FULL}
    assert {axis.depth for axis in found.storage["RNV"].axes if axis.keep is Keep.RING} == {2}


def test_values_used_where_they_are_made_are_scalars() -> None:
    assert program("attention-2-pass").storage["SN"].scalar
    assert program("cross-entropy").storage["NLP"].scalar


def test_an_operand_that_only_a_later_pass_reads_is_made_there() -> None:
    cascade = parse_cascade("""
        declaration: {A: [M], B: [M], X: [M], Y: [], Z: []}
        expressions: ["X[m] = exp(A[m] * A[m])", "Y = B[m]", "Z = X[m] * Y"]
    """)
    assert program_of(cascade, cascade.outputs).storage["X"].scalar


def test_workers_fold_parts_of_a_result_that_reduces_the_rows() -> None:
    """N is independent in the recurrence; Y, which sums over it, is fused with the iterations."""
    cascade = parse_cascade("""
        declaration: {A: [T], X: [T, N], H: [T, N], Y: [T]}
        init: ["H[0, n] = 0"]
        expressions: ["H[t+1, n] = A[t] * H[t, n] + X[t, n]", "Y[t] = H[t+1, n] * X[t, n]"]
        stop: t >= T
    """)
    found = program_of(cascade, cascade.outputs)
    assert [region.rows for region in found.regions] == ["N"]
    assert kept(found, "H") == {"N": Keep.ROW, "T": Keep.RING}
    assert list(found.folded(0)) == ["Y"]


def test_a_recurrence_is_not_parted() -> None:
    """N is independent in H, but Y needs all of it before the next iteration."""
    cascade = parse_cascade("""
        declaration: {A: [T], X: [T, N], H: [T, N], Y: [T]}
        init: ["H[0, n] = 0"]
        expressions: ["H[t+1, n] = Y[t] * X[t, n]", "Y[t] = H[t, n] * X[t, n]"]
        stop: t >= T
    """)
    found = program_of(cascade, ("Y",))
    assert [region.rows for region in found.regions] == [None]
    assert kept(found, "H") == {"T": Keep.RING, "N": Keep.FULL}


def test_what_no_output_needs_is_left_out() -> None:
    cascade = load_cascade("attention-3-pass")
    found = program_of(cascade, ("SD",))
    assert [e.name for e in found.normal.einsums] == ["QK", "GM", "SN", "SD"]
    assert found.storage["SN"].scalar


def test_batch_ranks_are_walked_with_the_rows() -> None:
    cascade = parse_cascade("""
        declaration: {Q: [B, H, P, E], K: [B, H, M, E], S: [B, H, P, M], G: [B, H, P], Y: [B, H, P, M]}
        expressions:
          - S[b, h, p, m] = Q[b, h, p, e] * K[b, h, m, e]
          - 'G[b, h, p] = S[b, h, p, m] :: reduce(m) max'
          - Y[b, h, p, m] = exp(S[b, h, p, m] - G[b, h, p])
    """)
    found = program_of(cascade, cascade.outputs)
    (region,) = found.regions
    assert (region.rows, region.batch) == ("P", ("B", "H"))
    assert kept(found, "S") == {"P": Keep.ROW, "M": Keep.FULL}


# ---------------------------------------------------------------- live values


def attention_sizes(m: int, p: int = 64) -> dict[str, int]:
    return {"E": 16, "F": 16, "M": m, "M0": 32, "M1": m // 32, "P": p}


def live(name: str, m: int, **options: int) -> int:
    cascade = load_cascade(name)
    sizes = {r: n for r, n in attention_sizes(m).items() if cascade.partitions or r not in ("M0", "M1")}
    return compile_cascade(cascade, jit=False, tiling=Tiling(rows=1)).live_values(sizes, **options)


def test_live_values_of_one_pass_do_not_grow_with_the_keys() -> None:
    assert live("attention-1-pass", 4096) == live("attention-1-pass", 2**20)
    assert live("attention-1-pass", 4096, workers=3) == 3 * live("attention-1-pass", 4096)
    # BQK and SLN 32 each; LM, SLD, PRM, SPD 1 each; RM, RD 2 each; SLNV, SPNV 16 each; RNV 2 * 16.
    assert live("attention-1-pass", 4096) == 32 + 32 + 4 + 4 + 32 + 32


def test_live_values_of_more_passes_hold_fibers() -> None:
    """QK; then QK and SN; then BQK of a tile, SLN, and LM, SLD, PLM per tile."""
    block = 128
    assert live("attention-3-pass-deferred", 4096) == 4096 + block + 2 + 16
    assert live("attention-3-pass", 4096) == 2 * 4096 + block + 2
    assert live("attention-2-pass", 4096) == 32 + 4096 + 3 * 4096 // 32 + 32 + 2


@pytest.mark.parametrize("case", [*library_names(), *KINDS])
def test_live_values_are_what_a_run_allocates(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted where the arrays are made: no buffer comes from anywhere else, and the generated code makes none."""
    cascade: Cascade = random_cascade(3, case) if case in KINDS else load_cascade(case)
    split = {p.rank for p in cascade.partitions}
    ranks = {r for d in cascade.declarations for r in d.ranks} | {r for p in cascade.partitions for r in p.parts}
    sizes = {rank: 3 + i % 3 for i, rank in enumerate(sorted(ranks - split))}
    given = [t for t in cascade.inputs if dict(cascade.views).get(t) not in cascade.ranks_of]
    draw = np.random.default_rng(0)
    inputs = {t: draw.uniform(1, 2, [sizes[r] for r in cascade.ranks_of[t]]) for t in given}
    tiling = Tiling(block=2, rows=2, workers=2)
    kernel = compile_cascade(cascade, jit=False, tiling=tiling)
    made: list[int] = []

    class Counted:
        """NumPy, with its ways to make uninitialised arrays counted."""

        def __getattr__(self, name: str) -> Any:
            return getattr(np, name)

        def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
            made.append(int(np.prod(shape)))
            return np.empty(shape, dtype)

    monkeypatch.setattr(compiled, "np", Counted())
    kernel.run(inputs)
    assert sum(made) == kernel.live_values(sizes, workers=2)
    assert not {"np.empty", "np.zeros", "np.full", "np.ones"} & set(kernel.source.replace("(", " ").split())


def test_rows_are_taken_as_the_buffers_allow() -> None:
    cascade = load_cascade("attention-3-pass")
    sizes = {"E": 2, "F": 2, "M": 1000, "P": 500}
    kernel = compile_cascade(cascade, jit=False, tiling=Tiling(values=10_000, block=10))
    (shape,) = (a.shape for a in kernel.allocations(sizes, workers=2) if a.tensor == "QK")
    assert shape == (2, 4, 1000)
    kernel = compile_cascade(cascade, jit=False, tiling=Tiling(values=10, block=10))
    (shape,) = (a.shape for a in kernel.allocations(sizes, workers=2) if a.tensor == "QK")
    assert shape == (2, 1, 1000)


def test_sizes_that_are_missing_or_too_large() -> None:
    kernel = compile_cascade(load_cascade("attention-3-pass"), jit=False)
    with pytest.raises(InputError, match="rank P of Q has no size"):
        kernel.live_values({"E": 2})
    with pytest.raises(InputError, match="choose smaller"):
        kernel.live_values({"E": 2, "F": 2, "M": 2**40, "P": 2})
