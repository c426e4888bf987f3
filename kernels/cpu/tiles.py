"""How large the kernels' tiles are: a pure function of the kernel, the shape, the caches, the threads and the BLAS.

Where BLAS multiplies small operands as they lie (`blas.unpacked_multiplications`):

- queries per tile, P0: 64, four vectors of 16 lanes, the rows of the register tile of such products;
- keys per product: as many as BLAS still multiplies without packing and as two thirds of L1 hold of their scores, a
  multiple of 12, which the columns of the register tile divide;
- keys per tile, M0: the tile of scores, ``[M0, P0]``, takes a quarter of L2, in whole products. Larger tiles rescale
  the numerator less often, but leave less room for the K and V that stream past.

Where BLAS packs its operands at every call, P0 = M0 and the tile of scores takes half of L2: a square tile packs the
fewest values per multiplication. A product takes all keys of a tile.

In both cases:

- kernels that keep the scores of all keys, ``[M, P0]``, take fewer queries if these exceed a thread's share of the
  last cache, though not fewer than 32;
- P0 is a multiple of 16 lanes, and smaller where that leaves threads idle for a shorter time: of the numbers of tiles
  from the fewest to four times as many, the smallest within 5 % of the shortest schedule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from kernels.cpu.caches import Caches

LANES = 16
"""Values of float32 in the widest vector of today's CPUs; query tiles are padded to a multiple of it."""
LONGEST_SUM = 64
"""Terms of a score that one product adds up; longer sums are cut, since their rounding error grows with the length."""
_FEWEST_QUERIES, _REGISTER_QUERIES = 32, 64
_PRODUCT_UNIT = 12
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
        queries: P0, queries per tile, a multiple of `LANES`.
        keys: M0, keys per tile.
        product_keys: keys per matrix product.
    """

    queries: int
    keys: int
    product_keys: int


def tiles_for(
    kernel: str, shape: AttentionShape, caches: Caches, *, threads: int = 1, unpacked_multiplications: int = 0
) -> Tiles:
    """Return the tiles that a kernel takes for a shape on a machine.

    Args:
        kernel: name of its cascade.
        shape: the sizes of the attention.
        caches: the caches of one core.
        threads: threads that share the query tiles.
        unpacked_multiplications: as `blas.unpacked_multiplications` tells it.
    """
    packs = unpacked_multiplications == 0
    most = math.isqrt(caches.l2_bytes // 2 // _VALUE_BYTES) if packs else _REGISTER_QUERIES
    if kernel != "attention-1-pass":
        share = max(caches.l2_bytes, caches.l3_bytes // threads)
        most = min(most, max(share // (_VALUE_BYTES * shape.keys), _FEWEST_QUERIES))
    queries = _balanced(shape, max(most // LANES, 1) * LANES, threads)
    if packs:
        keys = min(shape.keys, most)
        return Tiles(queries, keys, keys)
    longest = max(min(shape.head_dim, LONGEST_SUM), shape.value_dim)
    product = min(unpacked_multiplications // longest, caches.l1_bytes * 2 // 3 // _VALUE_BYTES) // queries
    product = max(product // _PRODUCT_UNIT * _PRODUCT_UNIT, 1)
    keys = max(caches.l2_bytes // 4 // (_VALUE_BYTES * queries) // product, 1) * product
    return Tiles(queries, min(keys, shape.keys), min(product, shape.keys))


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
