"""What the kernels do to one tile: each function is one loop over a tile, compiled, without allocation.

Tiles have the query p of a query tile as their last axis, whose width is a multiple of the vector unit's lanes; lanes
beyond the last query hold finite values that nobody reads. Scores are natural; maxima are kept in units of log2, times
log2(e), so that ``exp(s - m)`` is ``2**(s * log2(e) - m)`` with one fused operation before the exponential.

Maxima start from `LOWEST`, not from -inf, so that a query that has seen no key yet, whose scores are all -inf, gets
exp(-inf - LOWEST) = 0 and no NaN. A score below `LOWEST` counts as hidden.
"""

from __future__ import annotations

import numpy as np
from numba import float32

from kernels.cpu.blas import sgemm
from kernels.cpu.compilation import compiled
from kernels.cpu.exponential import LOG2_E, exp2_32
from kernels.cpu.tiles import LONGEST_SUM

LOWEST = float32(-(2.0**127))
"""What maxima start from; times log2(e) it is still finite."""
_HIDDEN = float32(-np.inf)


@compiled
def fill(tile, value):  # type: ignore[no-untyped-def]
    """Set all of a tile."""
    for i in range(tile.shape[0]):
        for p in range(tile.shape[1]):
            tile[i, p] = value


@compiled
def load_queries(q, scale, qt):  # type: ignore[no-untyped-def]
    """Q[e, p] = scale * q[p, e]; zero in the lanes beyond the last query."""
    for e in range(qt.shape[0]):
        for p in range(q.shape[0]):
            qt[e, p] = scale * q[p, e]
        for p in range(q.shape[0], qt.shape[1]):
            qt[e, p] = float32(0.0)


@compiled
def score(k, qt, qk, block):  # type: ignore[no-untyped-def]
    """QK[m, p] = Q[e, p] * K[e, m], ``block`` keys per product.

    At most `LONGEST_SUM` products are added up at a time: an exponential takes an error of its argument whole, and
    that of a long sum grows with its length.
    """
    e = k.shape[1]
    pieces = (e + LONGEST_SUM - 1) // LONGEST_SUM
    for m in range(0, k.shape[0], block):
        end = min(m + block, k.shape[0])
        for i in range(pieces):
            low, high = e * i // pieces, e * (i + 1) // pieces
            sgemm(k[m:end, low:high], qt[low:high], qk[m:end], False, False, 1.0, 0.0 if i == 0 else 1.0)


@compiled
def mask(qk, start, seen):  # type: ignore[no-untyped-def]
    """QK[m, p] = -inf for keys ``start + m`` that query p does not see: it sees the first ``seen + p``."""
    for m in range(qk.shape[0]):
        for p in range(min(start + m - seen + 1, qk.shape[1])):
            qk[m, p] = _HIDDEN


@compiled
def _larger(a, b):  # type: ignore[no-untyped-def]
    return a if a > b else b


@compiled
def tile_maximum(qk, lm):  # type: ignore[no-untyped-def]
    """LM[p] = QK[m, p] :: reduce(m) max, in units of log2."""
    rows, width = qk.shape
    for p in range(width):
        lm[0, p] = LOWEST
    for m in range(0, rows - 3, 4):
        for p in range(width):
            two = _larger(qk[m, p], qk[m + 1, p])
            lm[0, p] = _larger(lm[0, p], _larger(two, _larger(qk[m + 2, p], qk[m + 3, p])))
    for m in range(rows // 4 * 4, rows):
        for p in range(width):
            lm[0, p] = _larger(lm[0, p], qk[m, p])
    for p in range(width):
        lm[0, p] *= LOG2_E


@compiled
def raise_maximum(lm, rm):  # type: ignore[no-untyped-def]
    """RM[p] = max(RM[p], LM[p])."""
    for p in range(rm.shape[1]):
        rm[0, p] = _larger(rm[0, p], lm[0, p])


@compiled
def running_maximum(lm, rm, prm):  # type: ignore[no-untyped-def]
    """RM[m1+1, p] = max(RM[m1, p], LM[m1, p]); PRM[m1, p] = exp(RM[m1, p] - RM[m1+1, p]); tell whether any rose."""
    raised = 0
    for p in range(rm.shape[1]):
        new = _larger(rm[0, p], lm[0, p])
        raised += new > rm[0, p]
        prm[0, p] = exp2_32(rm[0, p] - new)
        rm[0, p] = new
    return raised > 0


@compiled
def exponentials(qk, maximum, total):  # type: ignore[no-untyped-def]
    """SN[m, p] = exp(QK[m, p] - M[p]) in place of QK; D[p] = SN[m, p], the sum over the tile."""
    rows, width = qk.shape
    for p in range(width):
        total[0, p] = float32(0.0)
    for m in range(0, rows - 1, 2):
        for p in range(width):
            one = exp2_32(qk[m, p] * LOG2_E - maximum[0, p])
            two = exp2_32(qk[m + 1, p] * LOG2_E - maximum[0, p])
            qk[m, p] = one
            qk[m + 1, p] = two
            total[0, p] += one + two
    for m in range(rows // 2 * 2, rows):
        for p in range(width):
            qk[m, p] = exp2_32(qk[m, p] * LOG2_E - maximum[0, p])
            total[0, p] += qk[m, p]


@compiled
def correction(lm, gm, plm):  # type: ignore[no-untyped-def]
    """PLM[p] = exp(LM[p] - GM[p])."""
    for p in range(gm.shape[1]):
        plm[0, p] = exp2_32(lm[0, p] - gm[0, p])


@compiled
def add(part, total):  # type: ignore[no-untyped-def]
    """TOTAL[p] += PART[p]. Sums of tiles are added up, not single values: rounding errors grow with the tiles only."""
    for p in range(total.shape[1]):
        total[0, p] += part[0, p]


@compiled
def add_product(a, b, total):  # type: ignore[no-untyped-def]
    """TOTAL[p] += A[p] * B[p]."""
    for p in range(total.shape[1]):
        total[0, p] += a[0, p] * b[0, p]


@compiled
def multiply(tile, factor):  # type: ignore[no-untyped-def]
    """T[i, p] *= F[p]."""
    for i in range(tile.shape[0]):
        for p in range(tile.shape[1]):
            tile[i, p] *= factor[0, p]


@compiled
def divide(tile, divisor):  # type: ignore[no-untyped-def]
    """T[i, p] /= D[p], and 0 where D is 0: such a query sees no key."""
    for i in range(tile.shape[0]):
        for p in range(tile.shape[1]):
            tile[i, p] = tile[i, p] / divisor[0, p] if divisor[0, p] != float32(0.0) else float32(0.0)


@compiled
def weigh_values(sn, v, snv, block, first):  # type: ignore[no-untyped-def]
    """SNV[f, p] += SN[m, p] * V[f, m], ``block`` keys per product; the ``first`` tile of keys sets it."""
    for m in range(0, v.shape[0], block):
        end = min(m + block, v.shape[0])
        sgemm(v[m:end], sn[m:end], snv, True, False, 1.0, 0.0 if first and m == 0 else 1.0)


@compiled
def store(av, out):  # type: ignore[no-untyped-def]
    """out[p, f] = AV[f, p]."""
    for p in range(out.shape[0]):
        for f in range(out.shape[1]):
            out[p, f] = av[f, p]
