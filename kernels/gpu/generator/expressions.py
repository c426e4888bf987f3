"""Terms as text of the kernels' languages: values of a tile of scores, of its queries or keys, or of a head.

Only terms of the closed table of operators become text; names in it are those of this file. What is the same everywhere
is computed before the launch and passed as an argument; what is the same for a head, once per tile of queries.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from einsum_cascades.errors import InputError
from einsum_cascades.nodes import Extent, Number
from kernels.gpu.generator.bounds import Bound
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


@dataclass(frozen=True)
class Size:
    """An argument that is the size of a rank."""

    rank: str


Argument = Scalar | Bound | Tensor | Size


@dataclass(frozen=True)
class Piece:
    """Text of a value, and the ranks along which it is an array: some of "m" and "p"."""

    text: str
    along: str = ""

    def over(self, along: str) -> str:
        """The text of the value, broadcast to more ranks."""
        if self.along == along or len(along) < 2 or not self.along:
            return self.text
        return f"({self.text})[None, :]" if self.along == "m" else f"({self.text})[:, None]"


@dataclass
class Arguments:
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


def reads(term: Term, tensors: Iterable[str]) -> bool:
    """Return whether a term reads some tensors."""
    return any(isinstance(x, Input) and x.tensor in tensors for x in nodes(term))


class Expressions:
    """Writes the terms of one stream.

    Attributes:
        name: of the cascade, for messages.
        query_rank, key_rank: P and M.
        varying: scalar inputs with a value for every head.
        arguments: what is passed to the kernel, shared among streams.
        language: ``gl`` or ``tl``.
        logistic: name of the function ``1 / (1 + 2**x)``.
        prepared: text of what is computed once per tile of queries.
    """

    def __init__(
        self,
        name: str,
        ranks: tuple[str, str],
        varying: frozenset[str],
        arguments: Arguments,
        language: str,
        logistic: str,
    ) -> None:
        self.name, self.varying, self.arguments = name, varying, arguments
        self.query_rank, self.key_rank = ranks
        self.language, self.logistic = language, logistic
        self.prepared: list[str] = []
        self.source = "values"

    def term(self, term: Term, times: float = 1.0, *, row: bool = False) -> Piece:
        """Return a term, times a number; ``row`` says that nothing has rewritten it."""
        return self.sum(summands(replaced(term, tanh_by_sigmoid) if row else term), times)

    def sum(self, terms: Sum, times: float, *, relative: bool = False) -> Piece:
        """Return a sum, times a number; a ``relative`` one counts keys from the first query of the tile."""
        pieces: list[Piece] = []
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
                    atom = Piece(f"({atom.over('mp')} - {self._atom(other[1], False).over('mp')})", "mp")
            pieces.append(self._scaled(scalar, number * times, isinstance(x, Product), atom))
        if constants:
            pieces.append(self._constant(total(constants), times))
        if not pieces:
            return Piece("0.0")
        ordered = [[p for p in pieces if p.along == along] for along in ("mp", "m", "p", "")]
        along = (
            "mp" if ordered[0] or (ordered[1] and ordered[2]) else ("m" if ordered[1] else "p" if ordered[2] else "")
        )
        inner = [*ordered[1], *ordered[3]] if ordered[1] else []
        if inner and along == "mp":
            merged = Piece(" + ".join(p.text for p in inner), "m")
            pieces = [*ordered[0], merged, *ordered[2]]
        else:
            pieces = [p for group in ordered for p in group]
        text = " + ".join(p.over(along) for p in pieces)
        return Piece(f"({text})" if len(pieces) > 1 else text, along)

    def _scaled(self, scalar: Term, number: float, scaled: bool, atom: Piece) -> Piece:
        if scalar == ONE and not scaled and number == 1.0:
            return atom
        return Piece(f"{self._coefficient(scalar, number, scaled)} * {atom.text}", atom.along)

    def _constant(self, term: Term, times: float) -> Piece:
        return Piece(self._coefficient(term, times, False))

    def _coefficient(self, scalar: Term, number: float, scaled: bool) -> str:
        """A factor that is the same for all scores of a head."""
        if isinstance(scalar, Number) and not scaled:
            return literal(scalar.value * number)
        if not reads(scalar, self.varying):
            return f"{self.source}[{self.arguments.place(Scalar(scalar, number, scaled))}]"
        before, self.source = self.source, "args"
        text = f"{literal(number)} * {self._in_head(replaced(scalar, tanh_by_sigmoid))}"
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
        if not reads(scalar, self.varying):
            return self._coefficient(scalar, 1.0, False)
        if isinstance(scalar, Input):
            return self._load(scalar).text
        if not isinstance(scalar, Call):
            raise InputError(f"'{self.name}' has no fused GPU kernel: a fold is left in a score")
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

    def _atom(self, term: Term, relative: bool = False) -> Piece:
        """A value that is no sum."""
        gl = self.language
        if isinstance(term, Product):
            return Piece("products", "mp")
        if isinstance(term, Position):
            if term.rank == self.query_rank:
                return Piece(f"queries.to({gl}.float32)", "p")
            start = f"(start - {self._prepared('row')})" if relative else "start"
            return Piece(f"({gl}.cast({start}, {gl}.float32) + offsets.to({gl}.float32))", "m")
        if isinstance(term, Input):
            return self._load(term)
        if isinstance(term, Number | Extent):
            return Piece(self._coefficient(term, 1.0, False))
        if isinstance(term, Call):
            return self._call(term)
        raise InputError(f"'{self.name}' has no fused GPU kernel: a fold is left in a score")

    def _load(self, term: Input) -> Piece:
        """An element of an input for each score, key or query; one past the end is read as 0."""
        gl = self.language
        ranks = tuple(rank for rank in (self.query_rank, self.key_rank) if rank in term.ranks)
        place = self.arguments.place(Tensor(term.tensor, ranks))
        base = f"args[{place}] + {gl}.cast(batch, {gl}.int64) * args[{place + 1}] + head * args[{place + 2}]"
        if not ranks:
            return Piece(f"{gl}.load({base}).to({gl}.float32)")
        pointer = self._prepared(base)
        strides = {rank: f"values[{place + 3 + i}]" for i, rank in enumerate(ranks)}
        queries = Piece(f"queries.to({gl}.int64) * {strides.get(self.query_rank)}", "p")
        keys = Piece(f"(start + offsets).to({gl}.int64) * {strides.get(self.key_rank)}", "m")
        there = Piece("start + offsets < M", "m"), Piece(f"queries < {self._length()}", "p")
        used = [i for i, rank in enumerate((self.key_rank, self.query_rank)) if rank in ranks]
        along = "".join("mp"[i] for i in used)
        offsets = " + ".join((keys, queries)[i].over(along) for i in used)
        mask = " & ".join(f"({there[i].over(along)})" for i in used)
        return Piece(f"{gl}.load({pointer} + {offsets}, mask={mask}, other=0.0).to({gl}.float32)", along)

    def _length(self) -> str:
        return f"values[{self.arguments.place(Size(self.query_rank))}]"

    def _call(self, term: Call) -> Piece:
        gl, operator = self.language, term.operator
        if operator in ("add", "sub", "neg"):
            return self.sum(summands(term), 1.0)
        if operator in ("mul", "div", "exp"):
            return self._product(term)
        if operator == "sigmoid":
            return self._applied(self.logistic, [self.sum(summands(term.operands[0]), -LOG2_E)])
        if is_condition(term):
            condition = self.condition(term)
            return Piece(f"{gl}.where({condition.text}, 1.0, 0.0)", condition.along)
        if operator == "where":
            condition = self.condition(term.operands[0])
            return self._applied(f"{gl}.where", [condition, *map(self.term, term.operands[1:])])
        return self._applied(f"{gl}.{_FUNCTIONS[operator]}", [self.term(x) for x in term.operands])

    def _applied(self, function: str, pieces: list[Piece]) -> Piece:
        along = _union(pieces)
        return Piece(f"{function}({', '.join(piece.over(along) for piece in pieces)})", along)

    def _product(self, term: Call) -> Piece:
        gl, found = self.language, factors(term)
        above = [self.term(x) for x, n in found.powers.items() for _ in range(n)]
        below = [self.term(x) for x, n in found.powers.items() for _ in range(-n)]
        if found.exponent:
            inside = self.sum(found.exponent, LOG2_E)
            above.append(Piece(f"{gl}.exp2({inside.text})", inside.along))
        if found.number != 1.0 or not above:
            above.insert(0, Piece(literal(found.number)))
        along = _union([*above, *below])
        text = " * ".join(f"({piece.over(along)})" for piece in above)
        for piece in below:
            text = f"{text} / ({piece.over(along)})"
        return Piece(f"({text})", along)

    def condition(self, term: Term) -> Piece:
        """Return whether a term is not 0."""
        if not isinstance(term, Call) or not is_condition(term):
            piece = self.term(term)
            return replace(piece, text=f"({piece.text} != 0.0)")
        if term.operator in ("min", "max", "mul"):
            pieces = [self.condition(x) for x in term.operands]
            joined = " | " if term.operator == "max" else " & "
        else:
            pieces = [self.term(x) for x in term.operands]
            joined = f" {_COMPARED[term.operator]} "
        along = _union(pieces)
        return Piece("(" + joined.join(piece.over(along) for piece in pieces) + ")", along)


def literal(number: float) -> str:
    """Return a number as text of the kernels' languages."""
    return repr(number) if math.isfinite(number) else f'float("{number}")'


def _union(pieces: Iterable[Piece]) -> str:
    found = {rank for piece in pieces for rank in piece.along}
    return "".join(rank for rank in "mp" if rank in found)


def _are_opposite(x: Position, number: float, other: tuple[Term, Term], times: float, scalar: Term) -> bool:
    """Whether a position and another summand make a difference of positions, which is exact."""
    return isinstance(other[1], Position) and other[0] == scalar and times == -number and other[1].rank != x.rank


def tanh_by_sigmoid(term: Term) -> Term | None:
    """Return a hyperbolic tangent as ``1 - 2 * sigmoid(-2 * x)``, whose 1 joins other constants; None for others."""
    if isinstance(term, Call) and term.operator == "tanh":
        inside = replaced(term.operands[0], tanh_by_sigmoid)
        half = call("sigmoid", call("mul", Number(-2.0), inside))
        return call("sub", ONE, call("mul", Number(2.0), half))
    return None
