"""What a fused kernel computes: the normal form of everything that is like attention."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from einsum_cascades.nodes import Extent
from kernels.gpu.generator.terms import ONE, Call, Input, Position, Product, Term, nodes


class Weighing(IntEnum):
    """How weights come from scores, and what they are divided by."""

    PLAIN = 0
    """The scores are the weights."""
    MEAN = 1
    """The scores are the weights, divided by their sum."""
    SOFTMAX = 2
    """The exponentials of the scores, divided by their sum."""


@dataclass(frozen=True)
class Stream:
    """One set of weights.

    Attributes:
        product: the product of queries and keys, ``left`` the queries.
        score: elementwise on the product, positions, sizes and inputs.
        conditions: all must hold where a key is seen; a key that is not seen weighs nothing.
        weighing: what becomes of the scores.
        floor: the least value of a mean's sum, or None.
        sink: the score of a key without value, which a softmax's sum counts, or None.
        coefficient: what the result is multiplied by; the same for all keys.
    """

    product: Product
    score: Term
    conditions: tuple[Call, ...] = ()
    weighing: Weighing = Weighing.SOFTMAX
    floor: float | None = None
    sink: Term | None = None
    coefficient: Term = ONE

    @property
    def terms(self) -> Iterator[Term]:
        """All terms that a kernel computes."""
        yield from (self.score, self.coefficient, *self.conditions)
        if self.sink is not None:
            yield self.sink


@dataclass(frozen=True)
class FusedAttention:
    """``sum over streams of coefficient * (sum over keys of weight * values) / (sum over keys of weight, or 1)``.

    Attributes:
        name: of the cascade.
        streams: one, or two over the same queries, keys and values.
        values: the tensor of values.
        result: the tensor that is computed.
        query_rank, key_rank, value_rank: P, M and F.
    """

    name: str
    streams: tuple[Stream, ...]
    values: str
    result: str
    query_rank: str
    key_rank: str
    value_rank: str

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Inputs other than queries, keys and values, in the order in which they are read."""
        found = (x for stream in self.streams for term in stream.terms for x in nodes(term))
        return tuple(dict.fromkeys(x for x in found if isinstance(x, Input)))

    @property
    def tensors(self) -> dict[str, tuple[str, str]]:
        """The ranks of queries, keys and values, the length's first."""
        found = {}
        for stream in self.streams:
            found[stream.product.left.tensor] = (self.query_rank, stream.product.over)
            found[stream.product.right.tensor] = (self.key_rank, stream.product.over)
        found[self.values] = (self.key_rank, self.value_rank)
        return found


def simple(*, causal: bool) -> FusedAttention:
    """Return softmax attention, causal or not, as the recogniser finds it in the library."""
    p, m = Position("P", frozenset({"P"})), Position("M", frozenset({"M"}))
    product = Product(Input("Q", ("E", "P"), frozenset({"E", "P"})), Input("K", ("E", "M"), frozenset({"E", "M"})), "E")
    last = Call("add", (p, Call("sub", (Extent("M"), Extent("P")))))
    conditions = (Call("le", (m, last)),) if causal else ()
    return FusedAttention(
        "causal" if causal else "plain", (Stream(product, product, conditions),), "V", "AV", "P", "M", "F"
    )
