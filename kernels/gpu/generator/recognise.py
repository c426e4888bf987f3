"""From a cascade to what a fused kernel computes, by algebra: names and the number of passes do not matter.

The result is written out (`kernels.gpu.generator.unfold`) and must be a sum of one or two terms

    coefficient * (sum over keys of w * V) / D,      D one of:
        1                                            weights as they are
        sum over keys of w, or max of that and a number
        sum over keys of w + exp(sink)               with w = exp(score)

where w is elementwise on one matrix product of queries and keys. A softmax does not change when all its exponents are
shifted, so whether and how a maximum is subtracted is no matter: the kernel subtracts a running maximum of its own. A
sum that is floored, ``max(SD, 1)``, must be of exponents less their maximum: it is at least 1 if any key is seen.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from einsum_cascades.errors import InputError
from einsum_cascades.ir import Cascade
from einsum_cascades.nodes import Extent, Number
from kernels.gpu.generator.form import FusedAttention, Stream, Weighing
from kernels.gpu.generator.masks import without_masks
from kernels.gpu.generator.terms import (
    ONE,
    Call,
    Factors,
    Fold,
    Input,
    Position,
    Product,
    Ranks,
    State,
    Sum,
    Term,
    added,
    call,
    factors,
    free,
    is_late,
    is_positive,
    nodes,
    product,
    replaced,
    summands,
    total,
)
from kernels.gpu.generator.unfold import HINT, Unfolding

MOST_STREAMS = 2
_LEAST_FLOOR = -1e29
"""A maximum floored with a number above this may be that number although keys are seen."""


@lru_cache(maxsize=256)
def recognise(cascade: Cascade) -> FusedAttention:
    """Return what a fused kernel has to compute for a cascade.

    Raises:
        InputError: it is not like attention; the message says which Einsum does not fit, and why.
    """
    return _Recogniser(cascade).form()


class _Recogniser:
    def __init__(self, cascade: Cascade) -> None:
        self.cascade = cascade
        self.unfolding = Unfolding(cascade)
        if len(cascade.outputs) != 1:
            raise self.refusal(None, f"computes {', '.join(cascade.outputs) or 'nothing'}, not one result")
        self.output = cascade.outputs[0]

    def form(self) -> FusedAttention:
        result = self.unfolding.result(self.output)
        if len(self.cascade.ranks_of[self.output]) != 2:
            raise self.refusal(result, "is no matrix of queries by the size of a value")
        found = [part for key, number in summands(result).items() for part in self._parts(key, number)]
        if not found:
            raise self.refusal(result, "is 0")
        if len(found) > MOST_STREAMS:
            raise self.refusal(result, f"is a sum of {len(found)} attentions; at most {MOST_STREAMS} fit in a kernel")
        streams, values, ranks = zip(*(self._stream(*part) for part in found), strict=True)
        if len(set(values)) > 1 or len(set(ranks)) > 1:
            raise self.refusal(result, "is a sum of attentions to different values")
        query_rank, key_rank, value_rank = ranks[0]
        form = FusedAttention(
            self.cascade.name, tuple(streams), values[0].tensor, self.output, query_rank, key_rank, value_rank
        )
        self._check_leaves(form)
        return form

    # ------------------------------------------------------------ the result

    def _parts(self, key: tuple[Term, Term], number: float) -> list[tuple[Factors, Fold]]:
        """The numerators of a term of the result, each with the product of all else; several where products differ."""
        scalar, term = key
        found = factors(call("mul", call("mul", Number(number), scalar), term))
        sums = [x for x, n in found.powers.items() if n == 1 and isinstance(x, Fold) and x.operator == "add"]
        numerators = [x for x in sums if self._values(x)]
        if len(numerators) != 1:
            reason = "is not a sum over keys of weights times values"
            raise self.refusal(term, f"{reason}: {self._story(term)}")
        rest = Factors(found.number, {x: n for x, n in found.powers.items() if x != numerators[0]}, found.exponent)
        return [(rest, Fold("add", numerators[0].ranks, body)) for body in self._by_product(numerators[0].body)]

    def _story(self, term: Term) -> str:
        if not any(isinstance(x, Product) for x in nodes(term)):
            folded = [x for x in nodes(term) if isinstance(x, Fold)]
            if folded and any(isinstance(x, Input) and len(x.ranks) == 2 for x in nodes(term)):
                return "nothing in it is a matrix product of two inputs, queries and keys"
        return "it has no input of values over the keys and a rank of its own"

    def _by_product(self, body: Term) -> list[Term]:
        """A sum of weights times values, as one sum for each product of queries and keys."""
        groups: dict[frozenset[Term], Sum] = {}
        several = len({x for x in nodes(body) if isinstance(x, Product)}) > 1
        for key, number in (_expanded(body) if several else summands(body)).items():
            products = frozenset(x for x in nodes(key[1]) if isinstance(x, Product))
            groups[products] = added(groups.get(products, {}), {key: number})
        return [total(group) for group in groups.values()]

    def _values(self, fold: Fold) -> Input | None:
        """The input that all summands of a fold have as a factor, with the ranks that it alone has."""
        common: set[Input] | None = None
        for _, term in summands(fold.body):
            powers = factors(term).powers
            own = {
                x
                for x, n in powers.items()
                if n == 1
                and isinstance(x, Input)
                and len(x.ranks) == 2
                and fold.ranks < x.free
                and not any(free(y) & (x.free - fold.ranks) for y in powers if y != x)
            }
            common = own if common is None else common & own
        return min(common, key=lambda x: x.tensor) if common else None

    # ------------------------------------------------------------ a stream

    def _stream(self, rest: Factors, fold: Fold) -> tuple[Stream, Input, tuple[str, str, str]]:
        values = self._values(fold)
        if values is None:
            raise self.refusal(fold, "is not a sum over keys of weights times values")
        weight: Sum = {}
        for (scalar, x), number in summands(fold.body).items():
            without = factors(x)
            powers = {y: n for y, n in without.powers.items() if y != values}
            one = product(Factors(number, powers, without.exponent))
            weight = added(weight, summands(call("mul", scalar, one)))
        w = total(weight)
        self._check_weight(w, fold.ranks)
        seen, conditions = without_masks(w)
        matrix = self._product(seen, conditions, fold, values)
        weighing, floor, sink, coefficient = self._normaliser(rest, w, seen, fold)
        exponent = _exponent(seen)
        score = exponent if weighing is Weighing.SOFTMAX and exponent is not None else seen
        stream = Stream(matrix, score, conditions, weighing, floor, sink, coefficient)
        stream = _with_product(stream, matrix)
        return stream, values, self._ranks(matrix, values, fold)

    def _check_weight(self, weight: Term, ranks: Ranks) -> None:
        for node in nodes(weight):
            if isinstance(node, Fold | State):
                what = "a sum" if isinstance(node, Fold) and node.operator == "add" else "what is folded"
                raise self.refusal(node, f"is {what} that the weights of the keys are computed with elementwise")

    def _product(self, seen: Term, conditions: tuple[Call, ...], fold: Fold, values: Input) -> Product:
        """The one product of queries and keys in a weight, with the queries on the left."""
        found = {x for term in (seen, *conditions) for x in nodes(term) if isinstance(x, Product)}
        if not found:
            raise self.refusal(fold, "weighs values with no matrix product of queries and keys")
        if len(found) > 1:
            names = " and ".join(sorted(f"{x.left.tensor}*{x.right.tensor}" for x in found))
            raise self.refusal(fold, f"computes one weight from several matrix products, {names}")
        matrix = found.pop()
        if matrix.left.free & fold.ranks:
            matrix = Product(matrix.right, matrix.left, matrix.over)
        keys = matrix.right.free & fold.ranks == fold.ranks and len(matrix.right.ranks) == 2
        if not keys or matrix.left.free & fold.ranks or len(matrix.left.ranks) != 2:
            raise self.refusal(matrix, "is not a product of queries and keys: it has other ranks than a score")
        return matrix

    def _normaliser(
        self, rest: Factors, w: Term, seen: Term, fold: Fold
    ) -> tuple[Weighing, float | None, Term | None, Term]:
        """What a sum of weighted values is divided by: weighing, floor, sink, and the factor that is left."""
        below = [x for x, n in rest.powers.items() if n == -1 and is_late(x)]
        shift = rest.exponent if any(is_late(x) for _, x in rest.exponent) else {}
        powers = {x: n for x, n in rest.powers.items() if x not in below}
        coefficient = product(Factors(rest.number, powers, {} if shift else rest.exponent))
        if is_late(coefficient) or len(below) > 1 or (shift and not below):
            raise self.refusal(self.unfolding.result(self.output), "has a factor that is folded over the keys")
        if not below:
            return Weighing.PLAIN, None, None, coefficient
        return self._divided(below[0], shift, w, seen, fold, coefficient)

    def _divided(
        self, below: Term, shift: Sum, w: Term, seen: Term, fold: Fold, coefficient: Term
    ) -> tuple[Weighing, float | None, Term | None, Term]:
        softmax = _exponent(seen) is not None
        inside, floor = _without_floor(below)
        unshifted = call("mul", inside, call("exp", call("sub", Number(0.0), total(shift)))) if shift else inside
        terms = dict(_expanded(unshifted))
        own = next((key for key in terms if key[1] == Fold("add", fold.ranks, w)), None)
        if own is None:
            raise self.refusal(below, "is no sum of the weights that it divides")
        times, scalar = terms.pop(own), own[0]
        if not softmax and (shift or self._subtracts_a_maximum(seen)):
            raise self.refusal(below, "sums weights that are more than exponentials, which the kernel does not shift")
        if floor is not None:
            if scalar != ONE or times != 1.0 or terms or (softmax and not _is_maximum(shift, w, fold)):
                raise self.refusal(below, "floors a sum that may be smaller although keys are seen")
            if softmax and not 0.0 < floor <= 1.0:
                raise self.refusal(below, f"floors a softmax's sum at {floor:g}; a sum of 1 or more is left alone")
        sink = None
        if terms:
            if not softmax or len(terms) > 1 or any(is_late(x) or free(x) & fold.ranks for _, x in terms):
                raise self.refusal(below, "is more than the sum of the weights that it divides")
            ((factor, x), number) = next(iter(terms.items()))
            extra = call("div", call("mul", call("mul", Number(number / times), factor), x), scalar)
            if not is_positive(extra):
                raise self.refusal(below, "adds what may be negative to a softmax's sum: no exponential of a sink")
            sink = _exponent(extra) or call("log", extra)
        coefficient = call("div", coefficient, call("mul", Number(times), scalar))
        weighing = Weighing.SOFTMAX if softmax else Weighing.MEAN
        return weighing, None if softmax else floor, sink, coefficient

    def _subtracts_a_maximum(self, weight: Term) -> bool:
        """Whether a weight holds exponentials of scores which the cascade, by all signs, keeps from overflowing."""
        exponentials = [x for x in nodes(weight) if isinstance(x, Call) and x.operator == "exp"]
        reductions = (reduction for einsum in self.cascade.einsums for reduction in einsum.reductions)
        large = any(isinstance(x, Product) for exponential in exponentials for x in nodes(exponential))
        return large and any(reduction.operator == "max" for reduction in reductions)

    # ------------------------------------------------------------ ranks and messages

    def _ranks(self, matrix: Product, values: Input, fold: Fold) -> tuple[str, str, str]:
        queries = next(rank for rank in matrix.left.ranks if rank != matrix.over)
        keys = next(rank for rank in matrix.right.ranks if rank != matrix.over)
        value = next((rank for rank in values.ranks if not self.unfolding.parts((rank,)) <= fold.ranks), "")
        declared = {self.cascade.whole_rank(rank) for rank in self.cascade.ranks_of[self.output]}
        if keys not in values.ranks or declared != {queries, value}:
            raise self.refusal(fold, f"has ranks {', '.join(sorted(declared))}, not those of queries and of values")
        return queries, keys, value

    def _check_leaves(self, form: FusedAttention) -> None:
        """Refuse what depends on anything but positions, sizes and inputs over queries and keys."""
        sizes = {form.query_rank, form.key_rank, form.value_rank, *(s.product.over for s in form.streams)}
        for stream in form.streams:
            for term in stream.terms:
                for node in nodes(term):
                    if isinstance(node, Extent) and node.rank not in sizes:
                        raise self.refusal(term, f"depends on {node.rank}, and so on how the kernel cuts its tiles")
                    ranks = {node.rank} if isinstance(node, Position) else set()
                    ranks |= set(node.ranks) if isinstance(node, Input) else set()
                    if ranks - {form.query_rank, form.key_rank}:
                        raise self.refusal(term, f"changes along {', '.join(sorted(ranks))}, unlike a score")

    def refusal(self, term: Term | None, reason: str) -> InputError:
        """Return the error for a cascade that is not like attention; ``term`` is what does not fit."""
        einsum = self.unfolding.writers.get(term) if term is not None else None
        if term is not None and einsum is None:
            known = [e for written, e in self.unfolding.writers.items() if any(x == term for x in nodes(written))]
            einsum = known[0] if known else None
        name = einsum.name if einsum is not None else self.output_name
        return InputError(
            f"'{self.cascade.name}' has no fused GPU kernel: {name} {reason}",
            location=einsum.location if einsum is not None else None,
            hint=HINT,
        )

    @property
    def output_name(self) -> str:
        """What the cascade is for."""
        return getattr(self, "output", self.cascade.name)


def _exponent(weight: Term) -> Term | None:
    """The score of a weight that is an exponential and no more, or None."""
    found = factors(weight)
    number = call("log", Number(found.number)) if found.number > 0.0 and found.number != 1.0 else Number(0.0)
    if found.powers or not found.exponent or found.number <= 0.0:
        return None
    return call("add", total(found.exponent), number)


def _without_floor(term: Term) -> tuple[Term, float | None]:
    """A term, and the number that it is floored at, or None."""
    if isinstance(term, Call) and term.operator == "max":
        for floor, inside in (term.operands, term.operands[::-1]):
            if isinstance(floor, Number):
                return inside, floor.value
    return term, None


def _expanded(term: Term) -> Sum:
    """A product of a sum as a sum of products."""
    found = factors(term)
    inner = next((x for x, n in found.powers.items() if n == 1 and isinstance(x, Call) and x.operator == "add"), None)
    if inner is None:
        return summands(term)
    rest = product(Factors(found.number, {x: n for x, n in found.powers.items() if x != inner}, found.exponent))
    expanded: Sum = {}
    for (scalar, x), number in summands(inner).items():
        expanded = added(expanded, _expanded(call("mul", call("mul", Number(number), scalar), call("mul", x, rest))))
    return expanded


def _is_maximum(shift: Sum, weight: Term, fold: Fold) -> bool:
    """Whether exponents are shifted by their maximum over the keys, or that floored far below."""
    late = [key for key, value in shift.items() if is_late(key[1]) and value == -1.0 and key[0] == ONE]
    exponent = _exponent(weight)
    if len(late) != 1 or exponent is None:
        return False
    inside, floor = _without_floor(late[0][1])
    if floor is not None and floor > _LEAST_FLOOR:
        return False
    rest = {key: value for key, value in shift.items() if key != late[0]}
    return inside == Fold("max", fold.ranks, total(added(summands(exponent), rest)))


def _with_product(stream: Stream, matrix: Product) -> Stream:
    """A stream whose terms all name its product the same way."""

    def oriented(term: Term) -> Term:
        return replaced(term, lambda x: matrix if isinstance(x, Product) else None)

    conditions = tuple(x for c in stream.conditions if isinstance(x := oriented(c), Call))
    return replace(stream, score=oriented(stream.score), conditions=conditions)
