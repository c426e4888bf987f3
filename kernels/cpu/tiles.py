"""How large the kernels' tiles are: a pure function of the kernel, the shape, the caches and the threads.

- Queries per tile, P0: 64, four vectors of 16 lanes, as many as a register tile of the products is wide.
- Keys per product: two thirds of L1 hold their scores; a multiple of 12, which the rows of the register tiles divide.
- Keys per tile, M0: the tile of scores, ``[M0, P0]``, takes a quarter of L2, in whole products. Larger tiles rescale
  the numerator less often, but leave less room for the K and V that stream past.
- Kernels that keep the scores of all keys, ``[M, P0]``, take fewer queries if these exceed a thread's share of the
  last cache, though not fewer than 32.
- P0 is a multiple of 16 lanes, and smaller where that leaves threads idle for a shorter time: of the numbers of tiles
  from the fewest to four times as many, the smallest within 5 % of the shortest schedule.

Few queries, as in decoding, are one tile, in which the keys and not the queries lie along the vector unit: no lane is
idle, and K and V stream past once, M0 keys at a time. A sum of an exponential per row stays short so: M0 is 2048. With
fewer tiles of queries than threads, the 1-pass kernel splits the keys into parts (`split_keys`), from one to as many
as threads: the fewest within 5 % of the shortest schedule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from kernels.cpu.caches import Caches

LANES = 16
"""Values of float32 in the widest vector of today's CPUs; query tiles are padded to a multiple of it."""
LONGEST_SUM = 64
"""Terms of a score that one product adds up; longer sums are cut, since their rounding error grows with the length."""
FEW_QUERIES = 8
"""Queries of a head up to which the keys lie along the vector unit: to compute more so takes longer than to pad."""
SPLIT = "attention-1-pass"
"""The kernel whose keys may be split into parts."""
_FEWEST_QUERIES, _MOST_QUERIES = 32, 64
_PRODUCT_UNIT = 12
_STREAMED_KEYS = 2048
_ENOUGH = 20
"""Tasks of each thread that leave it idle for less than 5 % of the time."""
_VALUE_BYTES = 4


@dataclass(frozen=True)
class AttentionShape:
    """Sizes of one attention.

    Attributes:
        heads: independent attentions: batch times heads.
        queries: P.
        keys: M.
        head_dim: E, of Q and K.
        value_dim: F, of V and the result.
    """

    heads: int
    queries: int
    keys: int
    head_dim: int
    value_dim: int


@dataclass(frozen=True)
class Tiles:
    """Tile sizes of a kernel.

    Attributes:
        queries: P0, queries per tile: a multiple of `LANES`, or all where they are few.
        keys: M0, keys per tile.
        product_keys: keys per matrix product.
        keys_per_row: keys of a row of a tile: 1, or `LANES` for few queries.
        parts: into how many parts the keys are split, each a task of its own.
    """

    queries: int
    keys: int
    product_keys: int
    keys_per_row: int = 1
    parts: int = 1

    @property
    def width(self) -> int:
        """Values of a row of a tile."""
        return self.queries * self.keys_per_row


def tiles_for(kernel: str, shape: AttentionShape, caches: Caches, *, threads: int = 1) -> Tiles:
    """Return the tiles that a kernel takes for a shape on a machine.

    Args:
        kernel: name of its cascade.
        shape: the sizes of the attention.
        caches: the caches of one core.
        threads: threads that share the query tiles.
    """
    if shape.queries <= FEW_QUERIES:
        keys = min(_STREAMED_KEYS, shape.keys)
        return Tiles(shape.queries, keys, keys, LANES, _parts(kernel, shape, 1, threads))
    most = _MOST_QUERIES
    if kernel != "attention-1-pass":
        share = max(caches.l2_bytes, caches.l3_bytes // threads)
        most = min(most, max(share // (_VALUE_BYTES * shape.keys), _FEWEST_QUERIES))
    queries = _balanced(shape, max(most // LANES, 1) * LANES, threads)
    product = caches.l1_bytes * 2 // 3 // _VALUE_BYTES // queries
    product = max(product // _PRODUCT_UNIT * _PRODUCT_UNIT, 1)
    keys = max(caches.l2_bytes // 4 // (_VALUE_BYTES * queries) // product, 1) * product
    parts = _parts(kernel, shape, math.ceil(shape.queries / queries), threads)
    return Tiles(queries, min(keys, shape.keys), min(product, shape.keys), 1, parts)


def _parts(kernel: str, shape: AttentionShape, query_tiles: int, threads: int) -> int:
    """Parts of the keys that leave threads idle for a short time; one if there are tiles of queries enough."""
    tasks = shape.heads * query_tiles
    if kernel != SPLIT or tasks >= threads * _ENOUGH:
        return 1
    candidates = range(1, min(threads, -(-shape.keys // _STREAMED_KEYS)) + 1)
    schedule = {parts: math.ceil(tasks * parts / threads) / parts for parts in candidates}
    return next(parts for parts in candidates if schedule[parts] <= 1.05 * min(schedule.values()))


def _balanced(shape: AttentionShape, most: int, threads: int) -> int:
    """Queries per tile, at most ``most``, that leave threads idle for a short time."""

    def queries(tiles: int) -> int:
        return math.ceil(math.ceil(shape.queries / tiles) / LANES) * LANES

    def schedule(tiles: int) -> int:
        used = math.ceil(shape.queries / queries(tiles))
        return math.ceil(shape.heads * used / threads) * queries(tiles)

    fewest = math.ceil(shape.queries / most)
    candidates = range(fewest, 4 * fewest + 1)
    enough = 1.05 * min(schedule(tiles) for tiles in candidates)
    return next(queries(tiles) for tiles in candidates if schedule(tiles) <= enough)
