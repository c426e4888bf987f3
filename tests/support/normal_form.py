"""The meaning of a fused attention's normal form in NumPy: no tiles, no running maxima, no generated text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from einsum_cascades.nodes import Extent, Number
from einsum_cascades.operators import OPERATORS
from kernels.gpu.generator.form import FusedAttention, Stream, Weighing
from kernels.gpu.generator.terms import Call, Input, Position, Product, Term


def computed(form: FusedAttention, inputs: Mapping[str, Any]) -> Any:
    """Return the result [P, F] of one head; inputs have lengths before sizes and queries before keys."""
    with np.errstate(all="ignore"):
        return sum(_stream(form, stream, inputs) for stream in form.streams)


def _stream(form: FusedAttention, stream: Stream, inputs: Mapping[str, Any]) -> Any:
    q, k = inputs[stream.product.left.tensor], inputs[stream.product.right.tensor]
    values = inputs[form.values]
    sizes = {form.query_rank: len(q), form.key_rank: len(k), form.value_rank: values.shape[1]}
    sizes[stream.product.over] = q.shape[1]

    def value(term: Term) -> Any:
        """A term over queries and keys, [P or 1, M or 1]."""
        if isinstance(term, Number):
            return np.full((1, 1), term.value)
        if isinstance(term, Extent):
            return np.full((1, 1), float(sizes[term.rank]))
        if isinstance(term, Position):
            place = np.arange(float(sizes[term.rank]))
            return place[:, None] if term.rank == form.query_rank else place[None, :]
        if isinstance(term, Product):
            return q @ k.T
        if isinstance(term, Input):
            x = np.asarray(inputs[term.tensor], dtype=np.float64)
            along = [rank in term.ranks for rank in (form.query_rank, form.key_rank)]
            return x if all(along) else x[:, None] if along[0] else x[None, :] if along[1] else x.reshape(1, 1)
        assert isinstance(term, Call)
        return OPERATORS[term.operator].numpy(*map(value, term.operands))

    seen = np.ones((len(q), len(k)), dtype=bool)
    for condition in stream.conditions:
        seen &= value(condition) != 0
    score = np.broadcast_to(value(stream.score), seen.shape)
    if stream.weighing is not Weighing.SOFTMAX:
        weights = np.where(seen, score, 0.0)
        below = np.ones((len(q), 1))
        if stream.weighing is Weighing.MEAN:
            below = weights.sum(1, keepdims=True)
            below = below if stream.floor is None else np.maximum(below, stream.floor)
        return value(stream.coefficient) * (weights @ values) / np.where(below == 0, np.inf, below)
    greatest = np.maximum(np.where(seen, score, -np.inf).max(1, keepdims=True), -1e30)
    weights = np.where(seen, np.exp(score - greatest), 0.0)
    below = weights.sum(1, keepdims=True)
    if stream.sink is not None:
        below = below + np.exp(value(stream.sink) - greatest)
    return value(stream.coefficient) * (weights @ values) / np.where(below == 0, np.inf, below)
