"""Small inputs of kinds that other tools get wrong, each with the value that follows from its sizes."""

from __future__ import annotations

import pytest

import fusemax
from fusemax import InputError
from fusemax.evaluated import SpatialEvaluation

PRESETS = ("unfused", "flat", "flat-searched", "fusemax-serial", "fusemax-interleaved")
MACHINES = ("flat-cloud", "flat-edge", "fusemax-cloud", "tpu-v4i", "phone-npu", "flat-attention-mesh", "fsa")
HEADS = 12
PROJECTED = """
name: attention-with-projections
declaration: {X: [P, D], Y: [M, D], WQ: [H, E, D], WK: [H, E, D], WV: [H, F, D], WZ: [H, F, G], Q: [P, H, E],
  K: [M, H, E], V: [M, H, F], S: [H, M, P], T: [H, P], U: [H, M, P], R: [H, P], O: [P, H, F], C: [P, H, F], Z: [P, G]}
expressions:
  - Q[p, h, e] = X[p, d] * WQ[h, e, d]
  - K[m, h, e] = Y[m, d] * WK[h, e, d]
  - V[m, h, f] = Y[m, d] * WV[h, f, d]
  - S[h, m, p] = Q[p, h, e] * K[m, h, e]
  - 'T[h, p] = S[h, m, p] :: reduce(m) max'
  - U[h, m, p] = exp(S[h, m, p] - T[h, p])
  - R[h, p] = U[h, m, p]
  - O[p, h, f] = U[h, m, p] * V[m, h, f]
  - C[p, h, f] = O[p, h, f] / R[h, p]
  - Z[p, g] = C[p, h, f] * WZ[h, f, g]
"""
CHAIN = """
name: three-products
declaration: {A: [M, K], B: [K, L], C: [L, N], D: [N, O], X: [M, L], Y: [M, N], Z: [M, O]}
expressions: ['X[m, l] = A[m, k] * B[k, l]', 'Y[m, n] = X[m, l] * C[l, n]', 'Z[m, o] = Y[m, n] * D[n, o]']
"""
GRAMS = """
name: grams
declaration: {T: [I, J, K], U: [L, J, K], V: [I, N, K], W: [I, J, O], GI: [I, L], GJ: [J, N], GK: [K, O]}
expressions: ['GI[i, l] = T[i, j, k] * U[l, j, k]', 'GJ[j, n] = T[i, j, k] * V[i, n, k]',
  'GK[k, o] = T[i, j, k] * W[i, j, o]']
"""
NORM = """
name: layer-norm
declaration: {X: [P, D], S: [P], C: [P, D], W: [P], R: [P], Y: [P, D], G: [D], B: [D]}
expressions: ['S[p] = X[p, d]', 'C[p, d] = X[p, d] - S[p] / 1024', 'W[p] = C[p, d] * C[p, d]',
  'R[p] = sqrt(W[p] / 1024 + 0.00001)', 'Y[p, d] = C[p, d] / R[p] * G[d] + B[d]']
"""


def evaluate(cascade: str, machine: str, mapper: str, **sizes: int) -> SpatialEvaluation:
    source = fusemax.parse_cascade(cascade) if "\n" in cascade else cascade
    found = fusemax.evaluate(source, machine, mapper, sizes=sizes, accounting="physical")
    assert isinstance(found, SpatialEvaluation)
    return found


def macs(found: SpatialEvaluation) -> int:
    return sum(int(task.operations.get("mac", 0)) for task in found.activity.tasks.values())


@pytest.mark.parametrize("mapper", PRESETS)
@pytest.mark.parametrize("machine", MACHINES)
def test_patches_of_a_picture(machine: str, mapper: str) -> None:
    """197 queries and keys fill no array: the multiply-accumulates are those that there are."""
    found = fusemax.evaluate(
        "attention-3-pass", machine, mapper, heads=HEADS, head_dim=64, seq_len=197, accounting="physical"
    )
    assert isinstance(found, SpatialEvaluation)
    assert macs(found) == HEADS * 197 * 197 * (64 + 64)
    assert found.cost.dram_bytes >= HEADS * 197 * 64 * (4 if machine == "phone-npu" else 8)


@pytest.mark.parametrize("mapper", PRESETS)
@pytest.mark.parametrize("machine", ["simba", "eyeriss"])
def test_a_machine_without_the_operators_is_unfit(machine: str, mapper: str) -> None:
    with pytest.raises(InputError, match="needs") as refused:
        fusemax.evaluate("attention-3-pass", machine, mapper, heads=HEADS, head_dim=64, seq_len=197)
    assert refused.value.hint


@pytest.mark.parametrize("mapper", PRESETS)
def test_products_beside_a_tile_fill_the_array(mapper: str) -> None:
    """Three products in a row: each where its cycles are fewest, each input and the result once."""
    found = evaluate(CHAIN, "fusemax-cloud", mapper, M=1024, K=1024, L=1024, N=1024, O=1024)
    least = 3 * 1024**3 / 256**2 / 940e6
    assert least <= found.cost.latency_s <= 1.2 * least
    assert found.cost.dram_bytes >= 2 * 5 * 1024**2
    assert mapper == "unfused" or found.cost.dram_bytes == 2 * 5 * 1024**2


@pytest.mark.parametrize("mapper", ["fusemax-serial", "fusemax-interleaved"])
def test_what_lacks_the_columns_is_made_once(mapper: str) -> None:
    """Keys and values are projected once, however many tiles of queries there are; all products fill the array."""
    sizes = {"P": 1024, "M": 512, "D": 256, "H": 4, "E": 64, "F": 64, "G": 256}
    found = evaluate(PROJECTED, "fusemax-cloud", mapper, **sizes)
    width = 4 * 64
    products = width * (256 * 1024 + 2 * 256 * 512 + 1024 * 256 + 2 * 512 * 1024)
    assert macs(found) == products
    for task in found.activity.tasks.values():
        if task.name in ("Q", "K", "V", "Z"):
            assert task.cycles <= 1.1 * task.points / 256**2, task.name


@pytest.mark.parametrize("machine", ["fusemax-cloud", "tpu-v4i", "phone-npu", "simba"])
@pytest.mark.parametrize("mapper", PRESETS)
def test_products_that_share_an_input(machine: str, mapper: str) -> None:
    sizes = {"I": 40, "J": 30, "K": 20, "L": 17, "N": 18, "O": 19}
    found = evaluate(GRAMS, machine, mapper, **sizes)
    assert macs(found) == 40 * 30 * 20 * (17 + 18 + 19)


@pytest.mark.parametrize("mapper", ["unfused", "fusemax-serial", "fusemax-interleaved"])
def test_rows_that_fit_are_fetched_once(mapper: str) -> None:
    """A normalisation reads its rows in three passes, once each from off chip."""
    found = evaluate(NORM, "fusemax-cloud", mapper, P=256, D=1024)
    assert found.cost.dram_bytes == 2 * (2 * 256 * 1024 + 2 * 1024)


@pytest.mark.parametrize("machine", ["tpu-v4i", "fsa"])
@pytest.mark.parametrize("mapper", PRESETS)
def test_a_systolic_array_is_filled_once_a_tile(machine: str, mapper: str) -> None:
    product = "declaration: {X: [P, D], W: [D, G], Q: [P, G]}\nexpressions: ['Q[p, g] = X[p, d] * W[d, g]']"
    found = evaluate(product, machine, mapper, P=197, D=196, G=198)
    spatial = found.architecture
    filled = max(spatial.array(task.array).fill_cycles for task in found.activity.tasks.values())
    cycles = sum(task.cycles for task in found.activity.tasks.values())
    assert found.cost.latency_s * spatial.frequency_hz <= 2 * (cycles + 4 * filled)
