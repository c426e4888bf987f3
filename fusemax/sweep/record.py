"""What a function of arrays does, written down while it does it: the operations of numpy, each distinct one once.

The function is given ``Recorded`` numbers for arrays. They can be calculated with as arrays can; what they do not know
they refuse, so that nothing is done that is not written down. A decision (``if``, ``everywhere``) becomes a guard.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
from numpy.lib.mixins import NDArrayOperatorsMixin

Array: TypeAlias = npt.NDArray[Any]
Operation: TypeAlias = Callable[..., Any]
"""A ufunc, or a function of arrays that returns one or several."""


@dataclass(frozen=True)
class Constant:
    """A number that is the same for all points."""

    kind: type
    value: Any


Operand: TypeAlias = "int | Constant"
"""A number of a record: by its place, or as it is."""


@dataclass(frozen=True)
class Kind:
    """The type of numbers, and whether there is one for each point or one for all."""

    dtype: Any
    many: bool

    @classmethod
    def of(cls, value: Any) -> Kind:
        """Return the kind of an array or a number of numpy's."""
        return cls(value.dtype, value.ndim > 0)


@dataclass(frozen=True)
class Done:
    """An operation: what, on which numbers, and the places of its results."""

    operation: Operation
    operands: tuple[Operand, ...]
    places: tuple[int, ...]

    def uses(self) -> list[int]:
        """Return the places of its numbers."""
        return [operand for operand in self.operands if isinstance(operand, int)]


@dataclass(frozen=True)
class Guard:
    """A decision: by which number, and how it came out."""

    place: int
    decision: bool

    def uses(self) -> list[int]:
        """Return the place of its number."""
        return [self.place]

    @property
    def other(self) -> Guard:
        """The decision that was not taken."""
        return Guard(self.place, not self.decision)


@dataclass
class Record:
    """What a function has done.

    Attributes:
        large: whether arrays are so large that those are let go which the function has no more.
        columns: names of the arrays that it was given, which have the first places.
        steps: operations and guards, in order.
        kinds: of the numbers, by place.
    """

    large: bool = False
    columns: tuple[str, ...] = ()
    steps: list[Done | Guard] = field(default_factory=list)
    kinds: list[Kind] = field(default_factory=list)
    _known: dict[Any, tuple[tuple[int, ...], Any]] = field(default_factory=dict)
    _alive: MutableMapping[int, Recorded] = field(init=False)
    _decided: dict[int, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._alive = WeakValueDictionary() if self.large else {}

    def column(self, name: str, values: Array) -> Recorded:
        """Return the record of an array that the function is given."""
        self.columns = (*self.columns, name)
        self.kinds.append(Kind.of(values))
        return self._number(len(self.kinds) - 1, values)

    def do(self, operation: Operation, numbers: Sequence[Any]) -> Any:
        """Return the record of what an operation makes of numbers: one, or a tuple where it makes several."""
        operands = tuple(n.place if isinstance(n, Recorded) else Constant(type(n), n) for n in numbers)
        key = (operation, operands)
        places, several = self._known.get(key, ((), None))
        if not places or any(place not in self._alive for place in places):
            value = operation(*(n.value if isinstance(n, Recorded) else n for n in numbers))
            several = type(value) if isinstance(value, tuple) else None
            values = [np.asarray(one)[()] for one in (value if isinstance(value, tuple) else (value,))]
            if not places:
                places = tuple(range(len(self.kinds), len(self.kinds) + len(values)))
                self.kinds += [Kind.of(one) for one in values]
                self.steps.append(Done(operation, operands, places))
                self._known[key] = places, several
            made: list[Any] = [self._number(place, one) for place, one in zip(places, values, strict=True)]
        else:
            made = [self._alive[place] for place in places]
        if several is None:
            return made[0]
        return several(*made) if hasattr(several, "_fields") else tuple(made)

    def decide(self, number: Recorded) -> bool:
        """Return a number's truth, which is a guard from here on."""
        if number.place not in self._decided:
            self._decided[number.place] = bool(number.value)
            self.steps.append(Guard(number.place, self._decided[number.place]))
        return self._decided[number.place]

    def needed(self, results: Sequence[int]) -> list[Done | Guard]:
        """Return the steps that the results at some places, and all guards, depend on."""
        wanted = set(results)
        found: list[Done | Guard] = []
        for step in reversed(self.steps):
            if isinstance(step, Guard) or not wanted.isdisjoint(step.places):
                wanted.update(step.uses())
                found.append(step)
        return found[::-1]

    def _number(self, place: int, value: Any) -> Recorded:
        found = self._alive.get(place)
        if found is None:
            found = self._alive[place] = Recorded(self, place, value)
        return found


class Recorded(NDArrayOperatorsMixin):
    """A number for all points, or one for each, with how it was made."""

    __slots__ = ("__weakref__", "place", "record", "value")

    def __init__(self, record: Record, place: int, value: Any) -> None:
        self.record, self.place, self.value = record, place, value

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Do what an operator or a function of numpy's says."""
        return NotImplemented if method != "__call__" or options else self.record.do(ufunc, inputs)

    def __array_function__(self, function: Any, types: Any, args: tuple[Any, ...], options: Any) -> Any:
        """Do what one of those functions says that formulae here use."""
        if options or function not in _FUNCTIONS:
            return NotImplemented
        return self.record.do(_FUNCTIONS[function], args)

    def __array__(self, *_: Any, **__: Any) -> Array:
        """Refuse to become a plain array, with which nothing would be written down."""
        raise TypeError("a recorded number is no array")

    def __bool__(self) -> bool:
        """Decide by this number."""
        return self.record.decide(self)

    @property
    def dtype(self) -> Any:
        """The type of its numbers."""
        return self.value.dtype

    def astype(self, kind: Any) -> Recorded:
        """Return it as numbers of another type."""
        found: Recorded = self.record.do(CASTS[np.dtype(kind)], (self,))
        return found

    def all(self) -> Recorded:
        """Whether all are true."""
        return self._folded(all_of)

    def any(self) -> Recorded:
        """Whether one is true."""
        return self._folded(any_of)

    def _folded(self, operation: Operation) -> Recorded:
        found: Recorded = self.record.do(operation, (self,)) if np.ndim(self.value) else self
        return found

    def kept_whole(self, function: Operation, numbers: Sequence[Any]) -> Any:
        """Do what a function says that looks into arrays, as one operation."""
        return self.record.do(function, numbers)


def all_of(value: Array, out: Array | None = None) -> Any:
    """Whether all are true."""
    return np.logical_and.reduce(value, out=out)


def any_of(value: Array, out: Array | None = None) -> Any:
    """Whether one is true."""
    return np.logical_or.reduce(value, out=out)


def _cast(kind: Any) -> Operation:
    def cast(value: Array, out: Array | None = None) -> Any:
        if out is None:
            return value.astype(kind)
        np.copyto(out, value, casting="unsafe")
        return out

    return cast


CASTS: Final = {np.dtype(kind): _cast(kind) for kind in (float, np.int64, np.uint64)}
_FUNCTIONS: Final[dict[Any, Operation]] = {np.where: np.where, np.max: np.max, np.array_equal: np.array_equal}
