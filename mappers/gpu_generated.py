"""Cascades that a generated kernel fuses: what it runs, as a cascade of one pass, and which keys its queries see.

The generator (`kernels.gpu.generator`) brings a cascade to a normal form; its kernel makes one pass over the keys, with
a running maximum where there is a softmax, whatever the passes of the cascade as it is written:

    softmax:  RM, SLN = exp(S - RM), RD, RNV as in attention-1-pass, with S the score of a product of queries and keys
    mean:     SD = sum(S), SNV = sum(S · V), SNV / SD         plain:  SNV

Conditions ``m <= a · p + c`` and ``m >= a · p + c`` bound the keys that a query sees: tiles of keys beyond them are
left out, and those that a bound crosses are masked. A bound that depends on a scalar input, such as the width of a
window, bounds nothing unless the input's value is given; under any other condition all tiles are masked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, reduce
from typing import NamedTuple

from einsum_cascades.errors import InputError
from einsum_cascades.ir import (
    Access,
    Apply,
    Cascade,
    Const,
    Declaration,
    Einsum,
    Expression,
    Extent,
    Index,
    Number,
    Partition,
    Reduction,
    Size,
    Stop,
    Subscript,
    Var,
)
from einsum_cascades.load import load_cascade
from kernels.gpu.attention import CASCADES
from kernels.gpu.generator.bounds import bounds_of
from kernels.gpu.generator.form import FusedAttention, Stream, Weighing
from kernels.gpu.generator.fused import evaluated
from kernels.gpu.generator.recognise import recognise
from kernels.gpu.generator.terms import ONE, Call, Input, Position, Product, Term, nodes


class Affine(NamedTuple):
    """A key's number against a query's: ``m <= slope * p + constant``, or ``>=``."""

    upper: bool
    slope: int
    constant: int


@dataclass(frozen=True)
class Visible:
    """Which of some keys the queries see.

    Attributes:
        bounds: all must hold.
        masked: whether other conditions are looked at for every key.
    """

    bounds: tuple[Affine, ...] = ()
    masked: bool = False

    @classmethod
    def causal(cls, queries: int, keys: int) -> Visible:
        """Query p sees the keys m <= p + (M - P)."""
        return cls((Affine(True, 1, keys - queries),))

    def also(self, other: Visible) -> Visible:
        """What both let see."""
        return Visible(tuple(dict.fromkeys((*self.bounds, *other.bounds))), self.masked or other.masked)

    def span(self, first: int, last: int, keys: int) -> tuple[int, int, int, int]:
        """Return the key from which on, and below which, any of some queries see keys, and the same of all of them.

        As the kernels find them: bound by bound, each at the first or the last query.
        """
        ends = [(b.upper, sorted(b.slope * query + b.constant for query in (first, last))) for b in self.bounds]
        low, every_low = (max([0, *(pair[n] for upper, pair in ends if not upper)]) for n in (0, 1))
        high, every_high = (min([keys, *(max(0, pair[n] + 1) for upper, pair in ends if upper)]) for n in (1, 0))
        return min(low, high), high, every_low, every_high


@dataclass(frozen=True)
class Generated:
    """What a generated kernel runs.

    Attributes:
        cascade: in one pass, with the ranks of the original.
        streams: the same for each set of weights alone: the kernel runs them one after another.
        form: the normal form.
    """

    cascade: Cascade
    streams: tuple[Cascade, ...]
    form: FusedAttention = field(repr=False)

    def visible(self, sizes: Mapping[str, int], scalars: Mapping[str, float]) -> Visible:
        """Return which keys queries see, as far as sizes and the scalar inputs that are known tell."""
        found = [_visible(stream, self.form, sizes, scalars) for stream in self.form.streams]
        return found[0] if all(one == found[0] for one in found) else Visible(masked=True)


@lru_cache(maxsize=256)
def generated_of(cascade: Cascade) -> Generated | None:
    """Return what a generated kernel runs for a cascade, or None where it has one by hand or is not like attention."""
    if cascade.name in CASCADES and cascade == load_cascade(cascade.name):
        return None
    try:
        form = recognise(cascade)
    except InputError:
        return None
    alone = (replace(form, streams=(stream,)) for stream in form.streams)
    return Generated(_Writer(form).cascade(), tuple(_Writer(one).cascade() for one in alone), form)


def _visible(stream: Stream, form: FusedAttention, sizes: Mapping[str, int], scalars: Mapping[str, float]) -> Visible:
    found: list[Affine] = []
    masked = False
    for condition in stream.conditions:
        bounds = bounds_of(condition, form.key_rank, form.query_rank, frozenset())
        masked |= not bounds
        for bound in bounds:
            if all(x.tensor in scalars for x in nodes(bound.constant) if isinstance(x, Input)):
                constant = bound.rounded(evaluated(bound.constant, sizes, scalars))
                found.append(Affine(bound.upper, bound.slope, constant))
    return Visible(tuple(found), masked)


class _Writer:
    """A normal form as a cascade of one pass, masks left out."""

    def __init__(self, form: FusedAttention) -> None:
        self.form = form
        self.tiled = any(stream.weighing is Weighing.SOFTMAX for stream in form.streams)
        self.names = {*form.tensors, *(x.tensor for x in form.inputs), form.result}
        self.ranks = {form.query_rank, form.key_rank, form.value_rank, *(s.product.over for s in form.streams)}
        self.outer, self.inner = (self._fresh(form.key_rank + part, self.ranks) for part in ("1", "0"))
        self.keys = (self.outer, self.inner) if self.tiled else (form.key_rank,)
        self.declared: dict[str, tuple[str, ...]] = {}
        self.views: dict[str, str] = {}
        self.init: list[Einsum] = []
        self.body: list[Einsum] = []

    def cascade(self) -> Cascade:
        """Return the cascade."""
        form = self.form
        for tensor, (length, size) in form.tensors.items():
            self._declare(tensor, (size, length))
        for x in form.inputs:
            self._declare(x.tensor, x.ranks)
        parts = [self._stream(stream) for stream in form.streams]
        self.declared[form.result] = ranks = (form.value_rank, form.query_rank)
        last = Einsum(_access(form.result, ranks), _chain("add", parts))
        return Cascade(
            form.name,
            tuple(Declaration(tensor, own) for tensor, own in self.declared.items()),
            tuple(self.body) if self.tiled else (*self.body, last),
            tuple(self.init),
            (last,) if self.tiled else (),
            (Stop(self.outer, Size(self.outer)),) if self.tiled else (),
            (Partition(form.key_rank, self.keys),) if self.tiled else (),
            tuple(self.views.items()),
        )

    def _fresh(self, name: str, used: set[str]) -> str:
        while name in used:
            name += "_"
        used.add(name)
        return name

    def _own(self, ranks: tuple[str, ...]) -> tuple[str, ...]:
        """Ranks as the cascade has them: that of keys as its parts."""
        return tuple(part for rank in ranks for part in (self.keys if rank == self.form.key_rank else (rank,)))

    def _declare(self, tensor: str, ranks: tuple[str, ...]) -> None:
        if self.tiled and self.form.key_rank in ranks:
            view = self._fresh("B" + tensor, self.names)
            self.views[view] = tensor
            tensor = view
        self.declared[tensor] = self._own(ranks)

    def _read(self, tensor: str) -> Access:
        name = next((view for view, viewed in self.views.items() if viewed == tensor), tensor)
        return _access(name, self.declared[name])

    def _compute(self, name: str, ranks: tuple[str, ...], expression: Expression, **reduced: str) -> Access:
        """Add an Einsum; return its output."""
        name = self._fresh(name, self.names)
        self.declared[name] = ranks
        output = _access(name, ranks)
        self.body.append(Einsum(output, expression, tuple(Reduction(rank, by) for rank, by in reduced.items())))
        return output

    def _stream(self, stream: Stream) -> Expression:
        """Add the Einsums of one set of weights; return its part of the result."""
        queries = self.form.query_rank
        over = stream.product.over
        operands = tuple(self._read(x.tensor) for x in (stream.product.left, stream.product.right))
        scores = (*self.keys, queries)
        product = self._compute("QK", scores, Apply("mul", operands), **{over: "add"})
        score: Expression = product
        if stream.score != stream.product:
            score = self._compute("S", scores, self._expression(stream.score, product))
        part = self._softmax(score) if stream.weighing is Weighing.SOFTMAX else self._sums(stream, score)
        if stream.coefficient == ONE:
            return part
        return Apply("mul", (self._expression(stream.coefficient, product), part))

    def _sums(self, stream: Stream, weights: Expression) -> Expression:
        """Weights as they are."""
        ranks = (self.form.value_rank, self.form.query_rank)
        folded = dict.fromkeys(self.keys, "add")
        weighed = self._compute("SNV", ranks, Apply("mul", (weights, self._read(self.form.values))), **folded)
        if stream.weighing is Weighing.PLAIN:
            return weighed
        return Apply("div", (weighed, self._compute("SD", ranks[1:], weights, **folded)))

    def _softmax(self, score: Expression) -> Expression:
        """Weights that are exponentials of scores less their maximum so far; attention-1-pass from LM to RNV."""
        p, f, outer, inner = self.form.query_rank, self.form.value_rank, self.outer, self.inner
        rm, rd, rnv = (self._state(name, ranks, first) for name, ranks, first in (
            ("RM", (outer, p), float("-inf")), ("RD", (outer, p), 0.0), ("RNV", (outer, f, p), 0.0)))  # fmt: skip
        lm = self._compute("LM", (outer, p), score, **{inner: "max"})
        self._step(rm, Apply("max", (self._read(rm), lm)))
        sln = self._compute("SLN", (outer, inner, p), Apply("exp", (Apply("sub", (score, self._next(rm))),)))
        sld = self._compute("SLD", (outer, p), sln, **{inner: "add"})
        values = self._read(self.form.values)
        slnv = self._compute("SLNV", (outer, f, p), Apply("mul", (sln, values)), **{inner: "add"})
        prm = self._compute("PRM", (outer, p), Apply("exp", (Apply("sub", (self._read(rm), self._next(rm))),)))
        spd = self._compute("SPD", (outer, p), Apply("mul", (self._read(rd), prm)))
        self._step(rd, Apply("add", (sld, spd)))
        spnv = self._compute("SPNV", (outer, f, p), Apply("mul", (self._read(rnv), prm)))
        self._step(rnv, Apply("add", (slnv, spnv)))
        return Apply("div", tuple(self._at(x, Size(outer)) for x in (rnv, rd)))

    def _state(self, name: str, ranks: tuple[str, ...], first: float) -> str:
        name = self._fresh(name, self.names)
        self.declared[name] = ranks
        self.init.append(Einsum(self._at(name, Const(0)), Number(first)))
        return name

    def _step(self, state: str, expression: Expression) -> None:
        self.body.append(Einsum(self._next(state), expression))

    def _next(self, state: str) -> Access:
        return self._at(state, Var(self.outer, 1))

    def _at(self, state: str, place: Subscript) -> Access:
        return Access(state, (place, *map(Var, self.declared[state][1:])))

    def _expression(self, term: Term, product: Access) -> Expression:
        """A term over the values of a tile; the number of a key counts as that in its tile."""
        if isinstance(term, Product):
            return product
        if isinstance(term, Input):
            return self._read(term.tensor)
        if isinstance(term, Position):
            return Index(self.keys[-1] if term.rank == self.form.key_rank else term.rank)
        if isinstance(term, Call):
            return Apply(term.operator, tuple(self._expression(operand, product) for operand in term.operands))
        if isinstance(term, Number | Extent):
            return term
        raise TypeError(f"{term} is not elementwise")


def _access(tensor: str, ranks: tuple[str, ...]) -> Access:
    return Access(tensor, tuple(map(Var, ranks)))


def _chain(operator: str, operands: Sequence[Expression]) -> Expression:
    return reduce(lambda left, right: Apply(operator, (left, right)), operands)
