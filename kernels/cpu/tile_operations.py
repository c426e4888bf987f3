"""What the kernels do to one tile: each function is one loop over a tile, compiled, without allocation.

A tile lies along the vector unit in one of two ways, told by ``group``, the keys of a row:

- 1: a row is one key, and the query p of a query tile is the last axis, whose width is a multiple of the lanes; lanes
  beyond the last query hold values that nobody reads;
- `LANES`, for few queries: a row is as many keys for each query in turn, ``[m // 16, 16 * p + m % 16]``, and likewise
  16 of the E values of a query, or of the F of its result; keys beyond the last are hidden. A value per query fills
  16 lanes.

Scores and maxima are natural. Maxima start from `LOWEST`, the least finite score, and not from -inf, so that a tile
whose keys are all hidden, whose scores are -inf, gets exp(-inf - LOWEST) = 0 and no NaN.
"""

from __future__ import annotations

import numpy as np
from numba import float32

from kernels.cpu.compilation import compiled
from kernels.cpu.exponential import exp_difference
from kernels.cpu.lanes import (
    divided,
    fused,
    larger,
    load,
    load_part,
    plus,
    prefetch,
    splat,
    spread,
    store,
    times,
    total,
    transpose_block,
)
from kernels.cpu.products import product
from kernels.cpu.tiles import LANES, LONGEST_SUM

LOWEST = float32(np.finfo(np.float32).min)
"""What maxima start from."""
_HIDDEN = float32(-np.inf)
_ZERO = float32(0.0)
_LANE_BITS, _LAST_LANE = LANES.bit_length() - 1, LANES - 1
_CHUNK_KEYS = 64
"""Keys whose values are added up in registers before they are added to what was there."""
_AHEAD = 32
"""How many keys before they are needed K and V are asked for, so that few queries need not wait for them."""


@compiled
def rows_of(size, group):  # type: ignore[no-untyped-def]
    """Rows that hold a number of keys, or of other values of a query."""
    return (size + group - 1) // group


@compiled
def fill(tile, value):  # type: ignore[no-untyped-def]
    """Set all of a tile."""
    for i in range(tile.shape[0]):
        for p in range(tile.shape[1]):
            tile[i, p] = value


@compiled
def load_queries(q, scale, qt, group):  # type: ignore[no-untyped-def]
    """Q[e, p] = scale * q[p, e]; zero in the lanes beyond the last query or value."""
    if group == 1:
        transpose(q, qt)
        for e in range(qt.shape[0]):
            for p in range(q.shape[0]):
                qt[e, p] *= scale
            for p in range(q.shape[0], qt.shape[1]):
                qt[e, p] = _ZERO
    else:
        fill(qt, _ZERO)
        for p in range(q.shape[0]):
            for e in range(q.shape[1]):
                qt[e // LANES, LANES * p + e % LANES] = scale * q[p, e]


@compiled
def transpose(source, target):  # type: ignore[no-untyped-def]
    """TARGET[j, i] = SOURCE[i, j], as far as both reach."""
    rows, columns = min(source.shape[0], target.shape[1]), min(source.shape[1], target.shape[0])
    for i in range(0, rows, LANES):
        for j in range(0, columns, LANES):
            if i + LANES <= rows and j + LANES <= columns:
                transpose_block(source, i, j, target, j, i)
            else:
                for x in range(i, min(i + LANES, rows)):
                    for y in range(j, min(j + LANES, columns)):
                        target[y, x] = source[x, y]


@compiled
def score(k, qt, qk, block, group):  # type: ignore[no-untyped-def]
    """QK[m, p] = Q[e, p] * K[e, m], ``block`` keys per product.

    At most `LONGEST_SUM` products are added up at a time: an exponential takes an error of its argument whole, and
    that of a long sum grows with its length.
    """
    if group > 1:
        _score_across(k, qt, qk)
        return
    e = k.shape[1]
    pieces = (e + LONGEST_SUM - 1) // LONGEST_SUM
    for m in range(0, k.shape[0], block):
        end = min(m + block, k.shape[0])
        for i in range(pieces):
            low, high = e * i // pieces, e * (i + 1) // pieces
            product(qt[low:high], k[m:end, low:high], qk[m:end], True, i > 0)


@compiled
def _score_across(k, qt, qk):  # type: ignore[no-untyped-def]
    """`score` for few queries: the products of a key and a query are added up across the lanes, of four keys at once.

    The last query asks for the keys to come. Calls of functions that take arrays would count references here.
    """
    keys, width, whole, rest = k.shape[0], qk.shape[1], k.shape[1] // LANES, k.shape[1] % LANES
    tail = whole * LANES
    for m in range(0, keys - 3, 4):
        for p in range(0, width, LANES):
            a, b, c, d = splat(_ZERO), splat(_ZERO), splat(_ZERO), splat(_ZERO)
            for i in range(whole):
                x, e = load(qt, i, p), i * LANES
                a = fused(load(k, m, e), x, a)
                b = fused(load(k, m + 1, e), x, b)
                c = fused(load(k, m + 2, e), x, c)
                d = fused(load(k, m + 3, e), x, d)
            if rest > 0:
                x = load(qt, whole, p)
                a = fused(load_part(k, m, tail, rest), x, a)
                b = fused(load_part(k, m + 1, tail, rest), x, b)
                c = fused(load_part(k, m + 2, tail, rest), x, c)
                d = fused(load_part(k, m + 3, tail, rest), x, d)
            row, lane = m // LANES, p + m % LANES
            qk[row, lane], qk[row, lane + 1], qk[row, lane + 2], qk[row, lane + 3] = (
                total(a),
                total(b),
                total(c),
                total(d),
            )
        for n in range(m + _AHEAD, m + _AHEAD + 4):
            for e in range(0, k.shape[1], LANES):
                prefetch(k, n, e)
    for m in range(keys // 4 * 4, keys):
        for p in range(0, width, LANES):
            a = splat(_ZERO)
            for i in range(whole):
                a = fused(load(k, m, i * LANES), load(qt, i, p), a)
            if rest > 0:
                a = fused(load_part(k, m, tail, rest), load(qt, whole, p), a)
            qk[m // LANES, p + m % LANES] = total(a)
    for m in range(keys, qk.shape[0] * LANES):
        for p in range(0, width, LANES):
            qk[m // LANES, p + m % LANES] = _HIDDEN


@compiled
def mask(qk, start, seen, group):  # type: ignore[no-untyped-def]
    """QK[m, p] = -inf for keys ``start + m`` that query p does not see: it sees the first ``seen + p``."""
    if group == 1:
        for m in range(qk.shape[0]):
            for p in range(min(start + m - seen + 1, qk.shape[1])):
                qk[m, p] = _HIDDEN
    else:
        for p in range(qk.shape[1] // LANES):
            for m in range(max(seen + p - start, 0), qk.shape[0] * LANES):
                qk[m // LANES, LANES * p + m % LANES] = _HIDDEN


@compiled
def tile_maximum(qk, lm, group):  # type: ignore[no-untyped-def]
    """LM[p] = QK[m, p] :: reduce(m) max."""
    rows, width = qk.shape
    for p in range(0, width, LANES):
        top = splat(LOWEST)
        for m in range(0, rows - 3, 4):
            two = larger(load(qk, m, p), load(qk, m + 1, p))
            top = larger(top, larger(two, larger(load(qk, m + 2, p), load(qk, m + 3, p))))
        for m in range(rows // 4 * 4, rows):
            top = larger(top, load(qk, m, p))
        store(lm, 0, p, top)
    if group > 1:
        for p in range(0, width, LANES):
            highest = lm[0, p]
            for lane in range(p + 1, p + LANES):
                highest = max(highest, lm[0, lane])
            store(lm, 0, p, splat(highest))


@compiled
def raise_maximum(lm, rm):  # type: ignore[no-untyped-def]
    """RM[p] = max(RM[p], LM[p])."""
    for p in range(0, rm.shape[1], LANES):
        store(rm, 0, p, larger(load(rm, 0, p), load(lm, 0, p)))


@compiled
def running_maximum(lm, rm, prm):  # type: ignore[no-untyped-def]
    """RM[m1+1, p] = max(RM[m1, p], LM[m1, p]); PRM[m1, p] = exp(RM[m1, p] - RM[m1+1, p]); tell whether any rose."""
    raised = 0
    for p in range(rm.shape[1]):
        raised += lm[0, p] > rm[0, p]
    for p in range(0, rm.shape[1], LANES):
        new = larger(load(rm, 0, p), load(lm, 0, p))
        store(prm, 0, p, exp_difference(load(rm, 0, p), new))
        store(rm, 0, p, new)
    return raised > 0


@compiled
def exponentials(qk, maximum, sums):  # type: ignore[no-untyped-def]
    """SN[m, p] = exp(QK[m, p] - M[p]) in place of QK; D[p] = SN[m, p], the sum over the tile, lane by lane."""
    for p in range(0, qk.shape[1], LANES):
        highest, found = load(maximum, 0, p), splat(_ZERO)
        for m in range(qk.shape[0]):
            one = exp_difference(load(qk, m, p), highest)
            store(qk, m, p, one)
            found = plus(found, one)
        store(sums, 0, p, found)


@compiled
def correction(lm, gm, plm):  # type: ignore[no-untyped-def]
    """PLM[p] = exp(LM[p] - GM[p])."""
    for p in range(0, gm.shape[1], LANES):
        store(plm, 0, p, exp_difference(load(lm, 0, p), load(gm, 0, p)))


@compiled
def add(part, sums):  # type: ignore[no-untyped-def]
    """SUM[p] += PART[p]. Sums of tiles are added up, not single values: rounding errors grow with the tiles only."""
    for i in range(sums.shape[0]):
        for p in range(0, sums.shape[1], LANES):
            store(sums, i, p, plus(load(sums, i, p), load(part, i, p)))


@compiled
def add_product(a, b, sums):  # type: ignore[no-untyped-def]
    """SUM[p] += A[p] * B[p]."""
    for p in range(0, sums.shape[1], LANES):
        store(sums, 0, p, fused(load(a, 0, p), load(b, 0, p), load(sums, 0, p)))


@compiled
def gather(sums, group):  # type: ignore[no-untyped-def]
    """Where the keys lie across the lanes: put the sum of the lanes of a query in place of each."""
    if group > 1:
        for p in range(0, sums.shape[1], LANES):
            store(sums, 0, p, splat(total(load(sums, 0, p))))


@compiled
def multiply(tile, factor):  # type: ignore[no-untyped-def]
    """T[i, p] *= F[p]."""
    for i in range(tile.shape[0]):
        for p in range(0, tile.shape[1], LANES):
            store(tile, i, p, times(load(tile, i, p), load(factor, 0, p)))


@compiled
def divide(tile, divisor):  # type: ignore[no-untyped-def]
    """T[i, p] /= D[p]."""
    for i in range(tile.shape[0]):
        for p in range(0, tile.shape[1], LANES):
            store(tile, i, p, divided(load(tile, i, p), load(divisor, 0, p)))


@compiled
def weigh_values(sn, v, snv, block, first, group):  # type: ignore[no-untyped-def]
    """SNV[f, p] += SN[m, p] * V[f, m], ``block`` keys per product; the ``first`` tile of keys sets it."""
    if group > 1:
        _weigh_across(sn, v, snv, first)
        return
    for m in range(0, v.shape[0], block):
        end = min(m + block, v.shape[0])
        product(sn[m:end], v[m:end], snv, False, m > 0 or not first)


@compiled
def _weigh_across(sn, v, snv, first):  # type: ignore[no-untyped-def]
    """`weigh_values` for few queries: a value of a query is multiplied by vectors of V, by four at once."""
    if first:
        fill(snv, _ZERO)
    keys, width, whole = v.shape[0], sn.shape[1], v.shape[1] // LANES
    for start in range(0, keys, _CHUNK_KEYS):
        end = min(start + _CHUNK_KEYS, keys)
        for p in range(0, width, LANES):
            for i in range(0, whole - 3, 4):
                a, b, c, d, f = splat(_ZERO), splat(_ZERO), splat(_ZERO), splat(_ZERO), i * LANES
                for m in range(start, end):
                    weight = spread(sn, m >> _LANE_BITS, p + (m & _LAST_LANE))
                    a = fused(weight, load(v, m, f), a)
                    b = fused(weight, load(v, m, f + LANES), b)
                    c = fused(weight, load(v, m, f + 2 * LANES), c)
                    d = fused(weight, load(v, m, f + 3 * LANES), d)
                    if p + LANES == width:
                        for line in range(f, f + 4 * LANES, LANES):
                            prefetch(v, m + _AHEAD, line)
                store(snv, i, p, plus(load(snv, i, p), a))
                store(snv, i + 1, p, plus(load(snv, i + 1, p), b))
                store(snv, i + 2, p, plus(load(snv, i + 2, p), c))
                store(snv, i + 3, p, plus(load(snv, i + 3, p), d))
            for i in range(whole // 4 * 4, snv.shape[0]):
                a, f, count = splat(_ZERO), i * LANES, min(LANES, v.shape[1] - i * LANES)
                for m in range(start, end):
                    a = fused(spread(sn, m >> _LANE_BITS, p + (m & _LAST_LANE)), load_part(v, m, f, count), a)
                store(snv, i, p, plus(load(snv, i, p), a))


@compiled
def put(av, out, seen, group):  # type: ignore[no-untyped-def]
    """out[p, f] = AV[f, p]; zeros for a query that sees no key: it sees the first ``seen + p``."""
    if group == 1:
        transpose(av, out)
    else:
        for p in range(out.shape[0]):
            for f in range(out.shape[1]):
                out[p, f] = av[f // LANES, LANES * p + f % LANES]
    fill(out[: max(1 - seen, 0)], _ZERO)
