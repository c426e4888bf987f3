"""What a kernel skeleton is completed with: functions on a tile of scores, of one or two streams of queries and keys.

A skeleton knows how tiles of queries, keys and values come and go, and how running maxima, sums and numerators are
kept; what a score is, which keys a query sees and how a result is scaled comes from here. The functions are Gluon's for
the Hopper kernel and Triton's for the portable ones, and are compiled inside the skeleton.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from hashlib import sha256
from typing import Any


@dataclass(frozen=True, eq=False)
class StreamCode:
    """Functions of one stream, and what the skeleton leaves out.

    A tile has queries [BLOCK_M] (their positions) and keys ``start + offsets`` [BLOCK_N]; P and M are the lengths.

    Attributes:
        prepare: ``(args, batch, head, row)`` to the values that the others read, once per tile of queries from ``row``.
        score: ``(products, queries, start, offsets, values, M)`` to scores, before their factor c, or to weights where
            there is no softmax, [BLOCK_M, BLOCK_N].
        visible: ``(queries, start, offsets, values, M)`` to whether a key is seen, broadcast to [BLOCK_M, BLOCK_N].
        span: ``(first, last, P, M, args)``: of queries first to last, the key from which on, and below which, any of
            them sees keys, and the same of keys that all of them see.
        factor: ``(rm, rd, queries, values, M)``: what numerators are multiplied by, [BLOCK_M]; rm in powers of two.
        softmax: whether weights are powers of two of scores, kept below 1 by a running maximum.
        divides: whether weights are summed.
        hides: whether ``visible`` says more than that a key is there.
        lower: whether keys below some are seen by no query of a tile.
        key: what tells it from others.
    """

    prepare: Any
    score: Any
    visible: Any
    span: Any
    factor: Any
    softmax: bool
    divides: bool
    hides: bool
    lower: bool
    key: str

    @cached_property
    def cache_key(self) -> str:
        """What Triton tells compiled kernels apart by, besides the skeleton."""
        found = [getattr(self, field.name) for field in fields(self)]
        return sha256("-".join(getattr(value, "cache_key", str(value)) for value in found).encode()).hexdigest()

    def __repr__(self) -> str:
        return f"stream_{self.key}"


@dataclass(frozen=True, eq=False)
class Code:
    """What a skeleton is completed with.

    Attributes:
        streams: one or two `StreamCode`, wrapped as compile-time constants where kernels are compiled.
        longest_last: whether later queries see more keys.
        key: what tells it from others.
    """

    streams: tuple[Any, ...]
    longest_last: bool
    key: str

    @property
    def count(self) -> int:
        """Number of streams."""
        return len(self.streams)

    @property
    def only(self) -> StreamCode:
        """The stream of a kernel for one."""
        (stream,) = self.streams
        found: StreamCode = getattr(stream, "value", stream)
        return found

    @cached_property
    def cache_key(self) -> str:
        """What Triton tells compiled kernels apart by, besides the skeleton."""
        return "-".join([*(stream.value.cache_key for stream in self.streams), str(self.longest_last)])

    def __repr__(self) -> str:
        return f"code_{self.key}"
