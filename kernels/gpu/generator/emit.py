"""The text of the functions that complete a kernel skeleton (`kernels.gpu.code`), from the normal form.

Factors such as log2(e) join those that a score has anyway: a score of a softmax costs what it costs in powers of two.
What shifts all scores of a query alike is left out where a softmax cancels it, and then keys are counted from the first
query of the tile, so that a bias that grows with the distance keeps its digits.
"""

from __future__ import annotations

from dataclasses import dataclass

from einsum_cascades.nodes import Number
from kernels.gpu.generator.bounds import Bound, bounds_of
from kernels.gpu.generator.expressions import (
    LOG2_E,
    Argument,
    Arguments,
    Expressions,
    Scalar,
    literal,
    reads,
    tanh_by_sigmoid,
)
from kernels.gpu.generator.form import FusedAttention, Stream, Weighing
from kernels.gpu.generator.prelude import HEADS
from kernels.gpu.generator.terms import ONE, Call, Product, Term, free, nodes, replaced, summands


@dataclass(frozen=True)
class StreamText:
    """What the text does for one stream, besides the functions: see `kernels.gpu.code.StreamCode`."""

    softmax: bool
    divides: bool
    hides: bool
    lower: bool


@dataclass(frozen=True)
class Text:
    """A module of functions ``prepare_i``, ``score_i``, ``visible_i``, ``span_i``, ``factor_i`` of streams i.

    Attributes:
        source: the text.
        arguments: what is passed as ``args``, in order.
        streams: the rest of what is known of each stream.
        factor: the factor c of the scores, applied by the skeleton; None if it is 1.
        longest_last: whether later queries see more keys.
    """

    source: str
    arguments: tuple[Argument, ...]
    streams: tuple[StreamText, ...]
    factor: Scalar | None
    longest_last: bool


def emitted(form: FusedAttention, dialect: str, varying: frozenset[str] = frozenset()) -> Text:
    """Return the functions of a form.

    Args:
        form: what is computed.
        dialect: ``gluon`` or ``triton``.
        varying: scalar inputs that are given as tensors, with a value for every head.
    """
    arguments = Arguments()
    common = {_factor(stream, varying) for stream in form.streams}
    factor = common.pop() if len(common) == 1 else None
    writers = [_Writer(form, stream, dialect, varying, arguments, factor is not None) for stream in form.streams]
    bodies = [writer.functions(number) for number, writer in enumerate(writers)]
    bounds = [bound for writer in writers for bound in writer.bounds]
    longest_last = any(b.upper and b.slope > 0 for b in bounds) and not any(not b.upper for b in bounds)
    source = HEADS[dialect] + "\n\n".join(text for body in bodies for text in body) + "\n"
    return Text(source, tuple(arguments.listed), tuple(w.facts for w in writers), factor, longest_last)


def _factor(stream: Stream, varying: frozenset[str]) -> Scalar | None:
    """The factor of a softmax's scores that are a product and no more."""
    terms = {
        key: number
        for key, number in summands(stream.score).items()
        if not isinstance(key[1], Number) and not _shifts_alike(key[1], stream)
    }
    if stream.weighing is not Weighing.SOFTMAX or stream.sink is not None or len(terms) != 1:
        return None
    (((scalar, x), number),) = terms.items()
    if not isinstance(x, Product) or reads(scalar, varying):
        return None
    return Scalar(scalar, number * LOG2_E, scaled=True)


def _shifts_alike(term: Term, stream: Stream) -> bool:
    """Whether a term is the same for all keys of a query."""
    return not free(term) & stream.product.right.free and not any(isinstance(x, Product) for x in nodes(term))


class _Writer:
    """Writes the functions of one stream; ``factored`` scores are products, scaled by the skeleton."""

    def __init__(
        self,
        form: FusedAttention,
        stream: Stream,
        dialect: str,
        varying: frozenset[str],
        arguments: Arguments,
        factored: bool,
    ) -> None:
        self.stream, self.arguments, self.factored = stream, arguments, factored
        self.language = {"gluon": "gl", "triton": "tl"}[dialect]
        self.decorator = {"gluon": "@gluon.jit", "triton": "@triton.jit"}[dialect]
        self.softmax = stream.weighing is Weighing.SOFTMAX
        self.relative = self.softmax and stream.sink is None
        ranks = form.query_rank, form.key_rank
        logistic = "paired_logistic" if self.softmax else "logistic"
        self.write = Expressions(form.name, ranks, varying, arguments, self.language, logistic)
        self.bounds: list[Bound] = []
        self.others: list[Call] = []
        for condition in stream.conditions:
            found = bounds_of(condition, form.key_rank, form.query_rank, varying)
            self.bounds += found
            self.others += [] if found else [condition]

    @property
    def facts(self) -> StreamText:
        """What the skeleton leaves out."""
        return StreamText(
            softmax=self.softmax,
            divides=self.stream.weighing is not Weighing.PLAIN,
            hides=bool(self.stream.conditions),
            lower=any(not bound.upper for bound in self.bounds) or bool(self.others),
        )

    # ------------------------------------------------------------ functions

    def functions(self, number: int) -> list[str]:
        """Return the text of the stream's functions."""
        tile = "queries, start, offsets, values, M"
        score = self._function(f"score_{number}(products, {tile})", self._score())
        visible = self._function(f"visible_{number}({tile})", self._visible())
        factor = self._function(f"factor_{number}(rm, rd, queries, values, M)", self._factor_text())
        span = self._span(number)
        found = [self._prepare(number), score, visible, span, factor]
        count = self.arguments.entries
        return [text.replace("values[PREPARED + ", f"values[{count} + ") for text in found]

    def _function(self, head: str, value: str) -> str:
        return f"{self.decorator}\ndef {head}:\n    return {value}\n"

    def _prepare(self, number: int) -> str:
        count = self.arguments.entries
        values = [f"args[{i}]" for i in range(count)] + self.write.prepared
        listed = f"({', '.join(values)},)" if values else "args"
        text = self._function(f"prepare_{number}(args, batch, head, row)", listed)
        return text

    def _score(self) -> str:
        if self.factored:
            return "products"
        score = replaced(self.stream.score, tanh_by_sigmoid)
        terms = summands(score)
        if self.relative:
            terms = {key: value for key, value in terms.items() if not _shifts_alike(key[1], self.stream)}
        return self.write.sum(terms, LOG2_E if self.softmax else 1.0, relative=self.relative).over("mp")

    def _visible(self) -> str:
        conditions = [self._bound(bound) for bound in self.bounds]
        others = (replaced(condition, tanh_by_sigmoid) for condition in self.others)
        conditions += [self.write.condition(condition).over("mp") for condition in others]
        return " & ".join(f"({text})" for text in conditions) or "(start + offsets < M)[None, :]"

    def _bound(self, bound: Bound) -> str:
        constant = f"values[{self.arguments.place(bound)}]"
        query = f"queries * {bound.slope} + {constant}" if bound.slope not in (0, 1) else f"queries + {constant}"
        keys = "(start + offsets)[None, :]"
        compared = "<=" if bound.upper else ">="
        return f"{keys} {compared} {constant if bound.slope == 0 else f'({query})[:, None]'}"

    def _span(self, number: int) -> str:
        """The keys that any, and that all, of some queries see."""
        gl = self.language
        lows, highs, every_lows, every_highs = [], ["M"], [], ["M"]
        for bound in self.bounds:
            constant = f"args[{self.arguments.place(bound)}]"
            least, most = ("first", "last") if bound.slope >= 0 else ("last", "first")
            smallest, largest = (
                f"{bound.slope} * {q} + {constant}" if bound.slope else constant for q in (least, most)
            )
            if bound.upper:
                highs.append(f"{gl}.maximum({largest} + 1, 0)")
                every_highs.append(f"{gl}.maximum({smallest} + 1, 0)")
            else:
                lows.append(f"{gl}.maximum({smallest}, 0)")
                every_lows.append(f"{gl}.maximum({largest}, 0)")
        low, every_low = (self._nested(f"{gl}.maximum", texts) if texts else "0" for texts in (lows, every_lows))
        high, every_high = (self._nested(f"{gl}.minimum", texts) for texts in (highs, every_highs))
        if self.others:
            every_low, every_high = "M", "0"
        return self._function(f"span_{number}(first, last, P, M, args)", f"{low}, {high}, {every_low}, {every_high}")

    @staticmethod
    def _nested(function: str, texts: list[str]) -> str:
        found = texts[0]
        for text in texts[1:]:
            found = f"{function}({found}, {text})"
        return found

    def _factor_text(self) -> str:
        gl, weighing = self.language, self.stream.weighing
        coefficient = self.write.term(self.stream.coefficient, row=True).text
        times = "" if self.stream.coefficient == ONE else f" * ({coefficient})"
        if weighing is Weighing.PLAIN:
            return f"rd + ({coefficient})"
        total_ = "rd"
        if weighing is Weighing.MEAN:
            floor = self.stream.floor
            total_ = f"{gl}.maximum(rd, {literal(floor)})" if floor is not None else "rd"
            if floor is not None and floor > 0.0:
                return f"1.0 / {total_}{times}"
            return f"{gl}.where(rd != 0.0, 1.0 / {total_}, 0.0){times}"
        if self.stream.sink is not None:
            total_ = f"(rd + {gl}.exp2({self.write.term(self.stream.sink, LOG2_E, row=True).text} - rm))"
        return f"{gl}.where(rd > 0.0, 1.0 / {total_}, 0.0){times}"
