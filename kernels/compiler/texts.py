"""The text of accesses and expressions.

Two types of values meet in an expression, as in the interpreter (`einsum_cascades.value_types`): tensors have the
kernel's type, ``real``; what is computed from indices and sizes is float64. Only where two such values are compared
are they integers, which vectorise better, if it can be proved that nothing exceeds 2**53, so that the outcome is the
same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from einsum_cascades.ir import Access, Apply, Cascade, Const, Einsum, Expression, Extent, Index, Number, Size, Var
from einsum_cascades.operators import COMPARISONS, OPERATORS
from einsum_cascades.value_types import is_literal, is_wide
from kernels.compiler import names
from kernels.compiler.storage import Keep, Storage

MOST_INTEGER = 2**31
"""Sizes below this are compared as integers."""
_EXACT = 2**53
_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "=="}
_FUNCTIONS = {"abs": "abs", "exp": "exp", "log": "np.log", "sqrt": "np.sqrt", "tanh": "np.tanh"}
_FUNCTIONS |= {"sigmoid": "sigmoid", "max": "maximum", "min": "minimum"}
_WIDE = {"exp": "np.exp", "sigmoid": "wide_sigmoid"}
"""Functions that are others for float64 than for ``real``."""
FOLDS = {"add": "add({}, {})", "mul": "{} * {}", "max": "maximum({}, {})", "min": "minimum({}, {})"}
_JOINED = {"min": " & ", "mul": " & ", "max": " | "}
"""What operators of comparisons say of their outcomes."""


@dataclass(frozen=True)
class Scope:
    """The loops around a nest.

    Attributes:
        cascade: the normalised cascade.
        storage: the storage of its tensors.
        rows: the rank of the rows in hand, if any.
        blocks: ranks walked by blocks.
        values: ranks walked value by value.
        wide: tensors that are float64 whatever the kernel's type.
        integers: whether all sizes are below `MOST_INTEGER`.
    """

    cascade: Cascade
    storage: Mapping[str, Storage]
    rows: str | None
    blocks: frozenset[str] = frozenset()
    values: frozenset[str] = frozenset()
    wide: frozenset[str] = frozenset()
    integers: bool = True

    def begins(self, rank: str) -> bool:
        """Whether the loop of a nest over a rank begins at a value of its own, ``lo_``."""
        return rank == self.rows or rank in self.blocks

    def extent(self, rank: str) -> str:
        """How many values a loop of a nest over a rank takes."""
        return names.length(rank) if self.begins(rank) else names.size(rank)

    def loops(self, einsum: Einsum) -> tuple[str, ...]:
        """The ranks of an Einsum that a nest loops over."""
        return tuple(rank for rank in einsum.ranks if rank not in self.values)

    def fresh(self, einsum: Einsum) -> bool:
        """Whether a fold starts inside the nest."""
        return not set(einsum.reduced_ranks) & (self.blocks | self.values | {self.rows})


# ---------------------------------------------------------------- accesses


def _shifted(text: str, shift: int) -> str:
    return f"{text} {'-' if shift < 0 else '+'} {abs(shift)}" if shift else text


def index(scope: Scope, access: Access, steps: Mapping[str, int] | None = None) -> str:
    """Return the text of an access; ``steps`` says how far ahead of the loop variable a rank is read."""
    steps = steps or {}
    views = dict(scope.cascade.views)
    if access.tensor not in scope.storage:
        return _untiled(scope, access, views[access.tensor], steps)
    found = []
    for axis in scope.storage[access.tensor].axes:
        subscript = access.subscripts[axis.position]
        if axis.keep in (Keep.ROW, Keep.BLOCK):
            assert isinstance(subscript, Var)
            found.append(_shifted(names.place(subscript.rank), steps.get(subscript.rank, 0)))
        elif axis.keep is Keep.RING:
            entry = _entry(scope, subscript, steps)
            found.append(f"({entry}) % {axis.depth}" if axis.depth > 1 else "0")
        else:
            found.append(_entry(scope, subscript, steps))
    return f"{names.array(access.tensor)}[{', '.join(found) or '0'}]"


def _entry(scope: Scope, subscript: Var | Const | Size, steps: Mapping[str, int]) -> str:
    """The entry of a whole axis that a subscript touches."""
    if isinstance(subscript, Const):
        return str(subscript.value)
    if isinstance(subscript, Size):
        return names.size(subscript.rank)
    at = names.place(subscript.rank)
    if scope.begins(subscript.rank):
        at = f"{names.start(subscript.rank)} + {at}"
    return _shifted(at, subscript.shift + steps.get(subscript.rank, 0))


def _untiled(scope: Scope, access: Access, plain: str, steps: Mapping[str, int]) -> str:
    """A tiled view of a tensor that is kept plain: ``m1*M0 + m0``."""
    tiles = scope.cascade.ranks_of[access.tensor]
    at = {r: _entry(scope, s, steps) for r, s in zip(tiles, access.subscripts, strict=True)}
    found = []
    for rank in scope.cascade.ranks_of[plain]:
        text = ""
        for part in scope.cascade.family(rank) if rank not in at else (rank,):
            text = f"({text}) * {names.size(part)} + {at[part]}" if text else at[part]
        found.append(text)
    return f"{names.array(plain)}[{', '.join(found)}]"


# ---------------------------------------------------------------- expressions


class Texts:
    """The text of expressions, with the tensors that are variables in the nest."""

    def __init__(self, scope: Scope, variables: Mapping[Access, str], steps: Mapping[str, int] | None = None) -> None:
        self.scope, self.variables, self.steps = scope, variables, steps or {}

    def of(self, part: Expression, *, wide: bool = False) -> str:
        """Return the text of an expression, in brackets where it needs any; ``wide`` asks for float64 literals."""
        if isinstance(part, Number):
            return f"{'np.float64' if wide else 'real'}({_literal(part.value)})"
        if isinstance(part, Access):
            return self.variables[part] if part in self.variables else index(self.scope, part, self.steps)
        if isinstance(part, Index | Extent):
            return f"np.float64({self._point(part)})"
        operator, wide = part.operator, wide or is_wide(part, self.scope.wide)
        if operator in COMPARISONS:
            return f"{'np.float64' if wide else 'real'}({self.condition(part)})"
        if operator == "where":
            condition, *chosen = part.operands
            a, b = self._operands(chosen, wide)
            return f"({a} if {self.condition(condition)} else {b})"
        texts = self._operands(part.operands, wide)
        if operator in _INFIX:
            return f"({f' {_INFIX[operator]} '.join(texts)})"
        if operator == "neg":
            return f"(-{texts[0]})"
        function = _WIDE.get(operator, _FUNCTIONS[operator]) if wide else _FUNCTIONS[operator]
        return f"{function}({', '.join(texts)})"

    def condition(self, part: Expression) -> str:
        """Return the text of whether an expression is not 0."""
        if not isinstance(part, Apply) or not _is_outcome(part):
            return f"{self.of(part)} != 0"
        if part.operator in _JOINED:
            sign = _JOINED[part.operator]
            return sign.join(f"({self.condition(one)})" for one in _joined(part, sign))
        whole = [self._integer(operand) for operand in part.operands]
        texts = [found[0] for found in whole if found is not None and self.scope.integers and found[1] <= _EXACT]
        texts = texts if len(texts) == 2 else self._operands(part.operands, is_wide(part, self.scope.wide))
        return f"{texts[0]} {_COMPARISONS[part.operator]} {texts[1]}"

    def fold(self, total: str, einsum: Einsum) -> str:
        """Return the text of a fold of one more value into a total."""
        operator, part = einsum.reductions[0].operator, einsum.expression
        if operator == "add" and isinstance(part, Apply) and part.operator == "mul":
            return f"add_product({total}, {self.of(part.operands[0])}, {self.of(part.operands[1])})"
        return FOLDS[operator].format(total, self.of(part))

    def _point(self, part: Index | Extent) -> str:
        return names.size(part.rank) if isinstance(part, Extent) else _entry(self.scope, Var(part.rank), self.steps)

    def _operands(self, operands: Sequence[Expression], wide: bool) -> list[str]:
        """The texts of operands, all float64 if ``wide``."""
        if not wide:
            return [self.of(operand) for operand in operands]
        found = []
        for operand in operands:
            own = is_literal(operand) or is_wide(operand, self.scope.wide)
            found.append(self.of(operand, wide=True) if own else f"np.float64({self.of(operand)})")
        return found

    def _integer(self, part: Expression) -> tuple[str, int] | None:
        """The text of an expression as an integer, and a bound of all that is computed in it; None if it is none."""
        if isinstance(part, Number):
            exact = float(part.value).is_integer() and abs(part.value) <= _EXACT
            return (f"({int(part.value)})", abs(int(part.value))) if exact else None
        if isinstance(part, Index | Extent):
            return f"({self._point(part)})", MOST_INTEGER
        if not isinstance(part, Apply) or part.operator not in ("add", "sub", "mul", "neg", "abs", "min", "max"):
            return None
        found = [whole for operand in part.operands if (whole := self._integer(operand)) is not None]
        if len(found) < len(part.operands):
            return None
        texts, bounds = zip(*found, strict=True)
        if part.operator in ("add", "sub", "mul"):
            bound = bounds[0] * bounds[1] if part.operator == "mul" else sum(bounds)
            return f"({texts[0]} {_INFIX[part.operator]} {texts[1]})", max(bound, *bounds)
        return f"{'-' if part.operator == 'neg' else part.operator}({', '.join(texts)})", max(bounds)


def _is_outcome(part: Expression) -> bool:
    """Whether an expression is made of comparisons alone, joined so that it is 1 or 0."""
    if not isinstance(part, Apply):
        return False
    return part.operator in COMPARISONS or (part.operator in _JOINED and all(map(_is_outcome, part.operands)))


def _joined(part: Expression, sign: str) -> Iterator[Expression]:
    """Yield what one kind of operator joins, however it is bracketed."""
    if isinstance(part, Apply) and _JOINED.get(part.operator) == sign:
        for operand in part.operands:
            yield from _joined(operand, sign)
    else:
        yield part


def _literal(value: float) -> str:
    text = repr(float(value))
    return f"np.{text}" if text in ("inf", "nan") else text.replace("-inf", "-np.inf")


def identity(einsum: Einsum) -> str:
    """Return the text of the neutral element of an Einsum's reduction."""
    neutral = OPERATORS[einsum.reductions[0].operator].identity
    assert neutral is not None
    return f"real({_literal(neutral)})"
