"""The text of the functions that complete a kernel skeleton (`kernels.gpu.code`), from the normal form.

Only terms of the closed table of operators become text; names in it are those of this file. What is the same everywhere
is computed before the launch and passed as an argument, factors such as log2(e) included: a score of a softmax costs
what it costs in powers of two. What shifts all scores of a query alike is left out where a softmax cancels it, and then
keys are counted from the first query of the tile, so that a bias that grows with the distance keeps its digits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from einsum_cascades.errors import InputError
from einsum_cascades.nodes import Extent, Number
from kernels.gpu.generator.bounds import Bound, bounds_of
from kernels.gpu.generator.form import FusedAttention, Stream, Weighing
from kernels.gpu.generator.masks import is_condition
from kernels.gpu.generator.terms import (
    ONE,
    Call,
    Input,
    Position,
    Product,
    Sum,
    Term,
    call,
    factors,
    free,
    is_scalar,
    nodes,
    replaced,
    summands,
    total,
)

LOG2_E: Final = math.log2(math.e)
_COMPARED: Final = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "=="}
_SIGNS: Final = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_FUNCTIONS: Final = {"log": "log", "sqrt": "sqrt", "abs": "abs", "max": "maximum", "min": "minimum"}


@dataclass(frozen=True)
class Scalar:
    """An argument computed before the launch: ``number * term``, times the scale of the scores if ``scaled``."""

    term: Term
    number: float
    scaled: bool


@dataclass(frozen=True)
class Tensor:
    """Arguments of an input tensor: its start, and strides of batch, head and the ranks, queries first."""

    tensor: str
    ranks: tuple[str, ...]


Argument = Scalar | Bound | Tensor


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


@dataclass(frozen=True)
class _Piece:
    """Text of a value, and the ranks along which it is an array: some of "m" and "p"."""

    text: str
    along: str = ""

    def over(self, along: str) -> str:
        """The text of the value, broadcast to more ranks."""
        if self.along == along or len(along) < 2 or not self.along:
            return self.text
        return f"({self.text})[None, :]" if self.along == "m" else f"({self.text})[:, None]"


@dataclass
class _Arguments:
    """The arguments so far, and lines and values that are computed from them once per tile of queries."""

    listed: list[Argument] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    entries: int = 0

    def place(self, argument: Argument) -> int:
        """Return where the entries of an argument start among the values."""
        if argument not in self.listed:
            self.listed.append(argument)
            self.starts.append(self.entries)
            self.entries += 3 + len(argument.ranks) if isinstance(argument, Tensor) else 1
        return self.starts[self.listed.index(argument)]


def emitted(form: FusedAttention, dialect: str, varying: frozenset[str] = frozenset()) -> Text:
    """Return the functions of a form.

    Args:
        form: what is computed.
        dialect: ``gluon`` or ``triton``.
        varying: scalar inputs that are given as tensors, with a value for every head.
    """
    arguments = _Arguments()
    common = {_factor(stream, varying) for stream in form.streams}
    factor = common.pop() if len(common) == 1 else None
    writers = [_Writer(form, stream, dialect, varying, arguments, factor is not None) for stream in form.streams]
    bodies = [writer.functions(number) for number, writer in enumerate(writers)]
    bounds = [bound for writer in writers for bound in writer.bounds]
    longest_last = any(b.upper and b.slope > 0 for b in bounds) and not any(not b.upper for b in bounds)
    source = _HEADS[dialect] + "\n\n".join(text for body in bodies for text in body) + "\n"
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
    if not isinstance(x, Product) or _reads(scalar, varying):
        return None
    return Scalar(scalar, number * LOG2_E, scaled=True)


def _shifts_alike(term: Term, stream: Stream) -> bool:
    """Whether a term is the same for all keys of a query."""
    return not free(term) & stream.product.right.free and not any(isinstance(x, Product) for x in nodes(term))


def _reads(term: Term, tensors: Iterable[str]) -> bool:
    return any(isinstance(x, Input) and x.tensor in tensors for x in nodes(term))


class _Writer:
    """Writes the functions of one stream."""

    def __init__(
        self,
        form: FusedAttention,
        stream: Stream,
        dialect: str,
        varying: frozenset[str],
        arguments: _Arguments,
        factored: bool,
    ) -> None:
        self.form, self.stream, self.varying, self.arguments = form, stream, varying, arguments
        self.factored = factored
        self.language = {"gluon": "gl", "triton": "tl"}[dialect]
        self.decorator = {"gluon": "@gluon.jit", "triton": "@triton.jit"}[dialect]
        self.softmax = stream.weighing is Weighing.SOFTMAX
        self.relative = self.softmax and stream.sink is None
        self.prepared: list[str] = []
        self.source = "values"
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
        values = [f"args[{i}]" for i in range(count)] + self.prepared
        listed = f"({', '.join(values)},)" if values else "args"
        text = self._function(f"prepare_{number}(args, batch, head, row)", listed)
        return text

    def _score(self) -> str:
        if self.factored:
            return "products"
        score = replaced(self.stream.score, _tanh_by_sigmoid)
        terms = summands(score)
        if self.relative:
            terms = {key: value for key, value in terms.items() if not _shifts_alike(key[1], self.stream)}
        return self._sum(terms, LOG2_E if self.softmax else 1.0, relative=self.relative).over("mp")

    def _visible(self) -> str:
        conditions = [self._bound(bound) for bound in self.bounds]
        conditions += [self._condition(condition).over("mp") for condition in self.others]
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
        coefficient = self._term(self.stream.coefficient, row=True).text
        times = "" if self.stream.coefficient == ONE else f" * ({coefficient})"
        if weighing is Weighing.PLAIN:
            return f"rd + ({coefficient})"
        total_ = "rd"
        if weighing is Weighing.MEAN:
            total_ = f"{gl}.maximum(rd, {self.stream.floor!r})" if self.stream.floor is not None else "rd"
            return f"{gl}.where(rd != 0.0, 1.0 / {total_}, 0.0){times}"
        if self.stream.sink is not None:
            total_ = f"(rd + {gl}.exp2({self._term(self.stream.sink, LOG2_E, row=True).text} - rm))"
        return f"{gl}.where(rd > 0.0, 1.0 / {total_}, 0.0){times}"

    # ------------------------------------------------------------ values

    def _term(self, term: Term, times: float = 1.0, *, row: bool = False) -> _Piece:
        return self._sum(summands(replaced(term, _tanh_by_sigmoid) if row else term), times)

    def _sum(self, terms: Sum, times: float, *, relative: bool = False) -> _Piece:
        """A sum; a ``relative`` one counts keys from the first query of the tile."""
        pieces: list[_Piece] = []
        constants: Sum = {}
        left = dict(terms)
        for (scalar, x), number in terms.items():
            if (scalar, x) not in left:
                continue
            del left[scalar, x]
            if x == ONE:
                constants[scalar, x] = number
                continue
            atom = self._atom(x, relative)
            if isinstance(x, Position) and not relative:
                other = next((k for k, n in left.items() if _are_opposite(x, number, k, n, scalar)), None)
                if other is not None:
                    del left[other]
                    atom = _Piece(f"({atom.over('mp')} - {self._atom(other[1], False).over('mp')})", "mp")
            pieces.append(self._scaled(scalar, number * times, isinstance(x, Product), atom))
        if constants:
            pieces.append(self._constant(total(constants), times))
        if not pieces:
            return _Piece("0.0")
        ordered = [[p for p in pieces if p.along == along] for along in ("mp", "m", "p", "")]
        along = (
            "mp" if ordered[0] or (ordered[1] and ordered[2]) else ("m" if ordered[1] else "p" if ordered[2] else "")
        )
        inner = [*ordered[1], *ordered[3]] if ordered[1] else []
        if inner and along == "mp":
            merged = _Piece(" + ".join(p.text for p in inner), "m")
            pieces = [*ordered[0], merged, *ordered[2]]
        else:
            pieces = [p for group in ordered for p in group]
        text = " + ".join(p.over(along) for p in pieces)
        return _Piece(f"({text})" if len(pieces) > 1 else text, along)

    def _scaled(self, scalar: Term, number: float, scaled: bool, atom: _Piece) -> _Piece:
        if scalar == ONE and not scaled and number == 1.0:
            return atom
        return _Piece(f"{self._coefficient(scalar, number, scaled)} * {atom.text}", atom.along)

    def _constant(self, term: Term, times: float) -> _Piece:
        return _Piece(self._coefficient(term, times, False))

    def _coefficient(self, scalar: Term, number: float, scaled: bool) -> str:
        """A factor that is the same for all scores of a head."""
        if isinstance(scalar, Number) and not scaled:
            return repr(scalar.value * number)
        if not _reads(scalar, self.varying):
            return f"{self.source}[{self.arguments.place(Scalar(scalar, number, scaled))}]"
        before, self.source = self.source, "args"
        text = f"{number!r} * {self._in_head(replaced(scalar, _tanh_by_sigmoid))}"
        if scaled:
            text += f" * args[{self.arguments.place(Scalar(ONE, 1.0, True))}]"
        self.source = before
        return self._prepared(text)

    def _prepared(self, text: str) -> str:
        if text not in self.prepared:
            self.prepared.append(text)
        return f"values[PREPARED + {self.prepared.index(text)}]"

    def _in_head(self, scalar: Term) -> str:
        """A scalar that varies among heads, computed in the kernel."""
        gl = self.language
        if not _reads(scalar, self.varying):
            return self._coefficient(scalar, 1.0, False)
        if isinstance(scalar, Input):
            return self._load(scalar).text
        if not isinstance(scalar, Call):
            raise InputError(f"'{self.form.name}' has no fused GPU kernel: a fold is left in a score")
        texts = [self._in_head(x) for x in scalar.operands]
        operator = scalar.operator
        if operator in _SIGNS or operator in _COMPARED:
            text = f"({f' {_SIGNS.get(operator) or _COMPARED[operator]} '.join(texts)})"
            return text if operator in _SIGNS else f"{gl}.where({text}, 1.0, 0.0)"
        if operator == "neg":
            return f"(0.0 - {texts[0]})"
        if operator == "where":
            return f"{gl}.where({texts[0]} != 0.0, {texts[1]}, {texts[2]})"
        if operator in ("exp", "sigmoid"):
            power = f"{LOG2_E if operator == 'exp' else -LOG2_E!r} * {texts[0]}"
            return f"{gl}.exp2({power})" if operator == "exp" else f"(1.0 / (1.0 + {gl}.exp2({power})))"
        return f"{gl}.{_FUNCTIONS[operator]}({', '.join(texts)})"

    def _atom(self, term: Term, relative: bool = False) -> _Piece:
        """A value that is no sum."""
        gl = self.language
        if isinstance(term, Product):
            return _Piece("products", "mp")
        if isinstance(term, Position):
            if term.rank == self.form.query_rank:
                return _Piece(f"queries.to({gl}.float32)", "p")
            start = f"(start - {self._prepared('row')})" if relative else "start"
            return _Piece(f"({gl}.cast({start}, {gl}.float32) + offsets.to({gl}.float32))", "m")
        if isinstance(term, Input):
            return self._load(term)
        if isinstance(term, Number | Extent):
            return _Piece(self._coefficient(term, 1.0, False))
        if isinstance(term, Call):
            return self._call(term)
        raise InputError(f"'{self.form.name}' has no fused GPU kernel: a fold is left in a score")

    def _load(self, term: Input) -> _Piece:
        """An element of an input for each score, key or query; one past the end is read as 0."""
        gl = self.language
        ranks = tuple(rank for rank in (self.form.query_rank, self.form.key_rank) if rank in term.ranks)
        place = self.arguments.place(Tensor(term.tensor, ranks))
        base = f"args[{place}] + {gl}.cast(batch, {gl}.int64) * args[{place + 1}] + head * args[{place + 2}]"
        if not ranks:
            return _Piece(f"{gl}.load({base}).to({gl}.float32)")
        pointer = self._prepared(base)
        strides = {rank: f"values[{place + 3 + i}]" for i, rank in enumerate(ranks)}
        queries = _Piece(f"queries.to({gl}.int64) * {strides.get(self.form.query_rank)}", "p")
        keys = _Piece(f"(start + offsets).to({gl}.int64) * {strides.get(self.form.key_rank)}", "m")
        there = _Piece("start + offsets < M", "m"), _Piece(f"queries < {self._length()}", "p")
        used = [i for i, rank in enumerate((self.form.key_rank, self.form.query_rank)) if rank in ranks]
        along = "".join("mp"[i] for i in used)
        offsets = " + ".join((keys, queries)[i].over(along) for i in used)
        mask = " & ".join(f"({there[i].over(along)})" for i in used)
        return _Piece(f"{gl}.load({pointer} + {offsets}, mask={mask}, other=0.0).to({gl}.float32)", along)

    def _length(self) -> str:
        return f"values[{self.arguments.place(Bound(True, 0, Extent(self.form.query_rank), False))}]"

    def _call(self, term: Call) -> _Piece:
        gl, operator = self.language, term.operator
        if operator in ("add", "sub", "neg"):
            return self._sum(summands(term), 1.0)
        if operator in ("mul", "div", "exp"):
            return self._product(term)
        if operator == "sigmoid":
            return self._applied(
                "paired_logistic" if self.softmax else "logistic", [self._sum(summands(term.operands[0]), -LOG2_E)]
            )
        if is_condition(term):
            condition = self._condition(term)
            return _Piece(f"{gl}.where({condition.text}, 1.0, 0.0)", condition.along)
        if operator == "where":
            condition = self._condition(term.operands[0])
            return self._applied(f"{gl}.where", [condition, *map(self._term, term.operands[1:])])
        return self._applied(f"{gl}.{_FUNCTIONS[operator]}", [self._term(x) for x in term.operands])

    def _applied(self, function: str, pieces: list[_Piece]) -> _Piece:
        along = _union(pieces)
        return _Piece(f"{function}({', '.join(piece.over(along) for piece in pieces)})", along)

    def _product(self, term: Call) -> _Piece:
        gl, found = self.language, factors(term)
        above = [self._term(x) for x, n in found.powers.items() for _ in range(n)]
        below = [self._term(x) for x, n in found.powers.items() for _ in range(-n)]
        if found.exponent:
            inside = self._sum(found.exponent, LOG2_E)
            above.append(_Piece(f"{gl}.exp2({inside.text})", inside.along))
        if found.number != 1.0 or not above:
            above.insert(0, _Piece(repr(found.number)))
        along = _union([*above, *below])
        text = " * ".join(f"({piece.over(along)})" for piece in above)
        for piece in below:
            text = f"{text} / ({piece.over(along)})"
        return _Piece(f"({text})", along)

    def _condition(self, term: Term) -> _Piece:
        if not isinstance(term, Call) or not is_condition(term):
            piece = self._term(term)
            return replace(piece, text=f"({piece.text} != 0.0)")
        if term.operator in ("min", "max", "mul"):
            pieces = [self._condition(x) for x in term.operands]
            joined = " | " if term.operator == "max" else " & "
        else:
            pieces = [self._term(x) for x in term.operands]
            joined = f" {_COMPARED[term.operator]} "
        along = _union(pieces)
        return _Piece("(" + joined.join(piece.over(along) for piece in pieces) + ")", along)


def _union(pieces: Iterable[_Piece]) -> str:
    found = {rank for piece in pieces for rank in piece.along}
    return "".join(rank for rank in "mp" if rank in found)


def _are_opposite(x: Position, number: float, other: tuple[Term, Term], times: float, scalar: Term) -> bool:
    """Whether a position and another summand make a difference of positions, which is exact."""
    return isinstance(other[1], Position) and other[0] == scalar and times == -number and other[1].rank != x.rank


def _tanh_by_sigmoid(term: Term) -> Term | None:
    """A hyperbolic tangent as ``1 - 2 * sigmoid(-2 * x)``: its constant then joins other constants."""
    if isinstance(term, Call) and term.operator == "tanh":
        inside = replaced(term.operands[0], _tanh_by_sigmoid)
        half = call("sigmoid", call("mul", Number(-2.0), inside))
        return call("sub", ONE, call("mul", Number(2.0), half))
    return None


_GLUON = '''from triton.experimental import gluon
from triton.experimental.gluon import language as gl


@gluon.jit
def logistic(x):
    """Return 1 / (1 + 2**x)."""
    return gl.inline_asm_elementwise(
        """
        {
        .reg .f32 a;
        ex2.approx.ftz.f32 a, $1;
        add.f32 a, a, 0f3F800000;
        rcp.approx.ftz.f32 $0, a;
        }
        """,
        "=f,f",
        [x],
        dtype=gl.float32,
        is_pure=True,
        pack=1,
    )


@gluon.jit
def paired_logistic(x):
    """Return 1 / (1 + 2**x), two values with one reciprocal: 1 / a is b * (1 / (a * b))."""
    return gl.inline_asm_elementwise(
        """
        {
        .reg .f32 a, b, r;
        min.f32 a, $2, 0f42700000;
        min.f32 b, $3, 0f42700000;
        ex2.approx.ftz.f32 a, a;
        ex2.approx.ftz.f32 b, b;
        add.f32 a, a, 0f3F800000;
        add.f32 b, b, 0f3F800000;
        mul.f32 r, a, b;
        rcp.approx.ftz.f32 r, r;
        mul.f32 $0, r, b;
        mul.f32 $1, r, a;
        }
        """,
        "=f,=f,f,f",
        [x],
        dtype=gl.float32,
        is_pure=True,
        pack=2,
    )


'''
_TRITON = '''import triton
import triton.language as tl


@triton.jit
def logistic(x):
    """Return 1 / (1 + 2**x)."""
    return 1.0 / (1.0 + tl.exp2(x))


@triton.jit
def paired_logistic(x):
    """Return 1 / (1 + 2**x)."""
    return logistic(x)


'''
_HEADS: Final = {"gluon": _GLUON, "triton": _TRITON}
