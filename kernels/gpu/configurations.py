"""Which kernel runs an attention, on tiles of which sizes: by head size, mask, lengths and what the GPU has.

The tiles were tuned on Hopper and are looked up, not searched for, when a kernel runs. Of each list the first that
fits in the shared memory of the GPU is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from einsum_cascades.errors import InputError, unknown

MOST_HEAD_DIM = 256
"""The largest head size of the portable kernels."""
FEW_QUERIES = 64
"""Up to so many queries a kernel waits for memory, not for products: small tiles, and keys split over blocks."""
_LEAST_PART = 512
"""Keys that a part has at least when keys are split."""
_WARPS_PER_UNIT = 8
"""Warps of a portable kernel that are counted on to run on a multiprocessor at once."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """What of a GPU the choice depends on.

    Attributes:
        capability: compute capability times ten, such as 90.
        multiprocessors: their number.
        shared_bytes: shared memory that one block can have.
        l2_bytes: size of the L2 cache.
        bulk_copies: whether kernels of the Hopper kind can be compiled for it.
    """

    capability: int
    multiprocessors: int
    shared_bytes: int
    l2_bytes: int
    bulk_copies: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of one call: B, H, P, M, E, F, and whether masked."""

    batch: int
    heads: int
    q_len: int
    kv_len: int
    head_dim: int
    value_dim: int
    causal: bool = False

    @property
    def all_heads(self) -> int:
        """B * H."""
        return self.batch * self.heads


@dataclass(frozen=True, slots=True)
class Configuration:
    """How a kernel runs.

    Attributes:
        kernel: name of the module.
        queries, keys: sizes of a tile.
        warps: per block, or per consumer of the Hopper kernel.
        stages: tiles of keys and values that are copied ahead.
        splits: parts of the keys.
    """

    kernel: str
    queries: int
    keys: int
    warps: int
    stages: int
    splits: int = 1

    def shared_bytes(self, head_width: int, value_width: int, score_bytes: int = 0) -> int:
        """Return what tiles of 16-bit values take of the shared memory, and those read with bytes for every score."""
        tiles = 2 * (self.queries * head_width + self.stages * self.keys * (head_width + value_width))
        return tiles + self.stages * self.queries * self.keys * score_bytes


MODULES = {
    "attention-2-pass": "two_pass",
    "attention-3-pass": "three_pass",
    "attention-3-pass-deferred": "three_pass_deferred",
}
"""Kernels of the cascades that have one; the 1-pass cascade has several. Tiles for others go by the cascade's name."""
_HOPPER = {64: (128, 128, 4), 128: (128, 128, 2)}
"""Queries, keys and stages of the Hopper kernel, by the padded head size."""
_TILES: dict[int, tuple[tuple[int, int, int, int], ...]] = {
    64: ((128, 64, 4, 3), (64, 64, 4, 2), (64, 32, 4, 2)),
    128: ((128, 128, 8, 3), (128, 64, 8, 3), (64, 64, 4, 2), (64, 32, 4, 2)),
    256: ((128, 64, 8, 2), (64, 32, 4, 2), (32, 32, 4, 1)),
}
"""Queries, keys, warps and stages of the portable kernels, by the padded head size, in order of preference."""
_FEW = ((128, 4, 3), (64, 4, 3), (64, 4, 2), (32, 4, 1))
"""Keys, warps and stages for few queries, in order of preference."""


def check_kernel(configuration: Configuration, kernels: Sequence[str]) -> None:
    """Check that a configuration is of a kernel that computes what is asked for.

    Raises:
        InputError: it is of another one.
    """
    if configuration.kernel not in kernels:
        raise unknown("kernel of the configuration", configuration.kernel, kernels)


def width(size: int) -> int:
    """Return a head size padded to what a tile has: a power of two, 16 or more."""
    return max(16, 1 << (size - 1).bit_length())


@lru_cache(maxsize=1024)
def choose(
    cascade: str, shape: Shape, gpu: Gpu, *, aligned: bool = True, streams: int = 1, score_bytes: int = 0
) -> Configuration:
    """Return how a cascade runs on a shape.

    Args:
        cascade: its name.
        shape: the sizes.
        gpu: where.
        aligned: whether bulk copies can read the tensors: no row lies on another.
        streams: sets of weights that the 1-pass cascade runs one after another; keys are split for one only.
        score_bytes: bytes read for every score, such as of biases; the portable kernels do that faster.

    Raises:
        InputError: the head size is too large for the kernels or for the GPU.
    """
    largest = max(shape.head_dim, shape.value_dim)
    if largest > MOST_HEAD_DIM:
        raise InputError(f"head size {largest} is too large", hint=f"the kernels take up to {MOST_HEAD_DIM}")
    if cascade != "attention-1-pass":
        return _fitting(MODULES.get(cascade, cascade), shape, gpu, score_bytes)
    few = shape.q_len <= FEW_QUERIES
    if few or shape.all_heads * ceil(shape.q_len / 128) <= gpu.multiprocessors // 2:
        chosen = _few_queries(shape, gpu, score_bytes) if few else _fitting("one_pass", shape, gpu, score_bytes)
        splits = _splits(shape, gpu, chosen) if streams == 1 else 1
        if splits > 1:
            return Configuration("split_keys", chosen.queries, chosen.keys, chosen.warps, chosen.stages, splits)
        if few:
            return chosen
    if gpu.capability == 90 and gpu.bulk_copies and aligned and not score_bytes and largest <= 128:
        queries, keys, stages = _HOPPER[64 if largest <= 64 else 128]
        return Configuration("one_pass_hopper", queries, keys, 4, stages)
    return _fitting("one_pass", shape, gpu, score_bytes)


def _fitting(kernel: str, shape: Shape, gpu: Gpu, score_bytes: int) -> Configuration:
    """The first configuration of a portable kernel that fits."""
    widths = width(shape.head_dim), width(shape.value_dim)
    listed = _TILES[max(64, *widths)]
    return _first([Configuration(kernel, *tiles) for tiles in listed], shape, gpu, score_bytes)


def _few_queries(shape: Shape, gpu: Gpu, score_bytes: int) -> Configuration:
    """The first configuration of the portable kernel for few queries that fits."""
    queries = min(64, width(shape.q_len))
    return _first([Configuration("one_pass", queries, *tiles) for tiles in _FEW], shape, gpu, score_bytes)


def _first(listed: Sequence[Configuration], shape: Shape, gpu: Gpu, score_bytes: int) -> Configuration:
    widths = width(shape.head_dim), width(shape.value_dim)
    for configuration in listed:
        if configuration.shared_bytes(*widths, score_bytes) <= gpu.shared_bytes:
            return configuration
    raise InputError(
        f"tiles of head size {max(shape.head_dim, shape.value_dim)} do not fit in shared memory",
        hint=f"this GPU gives a block {gpu.shared_bytes} bytes",
    )


def _splits(shape: Shape, gpu: Gpu, chosen: Configuration) -> int:
    """Parts of the keys that fill the GPU with blocks that all run at once, none shorter than is worth it."""
    blocks = shape.all_heads * ceil(shape.q_len / chosen.queries)
    together = gpu.multiprocessors * max(1, _WARPS_PER_UNIT // chosen.warps)
    return max(1, min(together // blocks, shape.kv_len // _LEAST_PART, 128))
