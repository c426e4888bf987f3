"""What a function of arrays did is done again for other arrays, with nothing of Python in between.

Sweeps evaluate the same formulae block after block. The first block is recorded (``record.py``); what its results
depend on becomes a *program*: operations in order, on few arrays that are used again while they are in the cache.
Where the function decided by its numbers the program has a guard: a block for which the decision comes out otherwise is
recorded too, and makes a further program. So a program's results are those of the function, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import InitVar, dataclass, field
from functools import cached_property
from threading import local
from typing import Any, Final, TypeAlias

import numpy as np

from einsum_cascades.errors import InputError
from einsum_cascades.loops.arith import UnlikeError
from fusemax.sweep.record import CASTS, Array, Constant, Done, Guard, Kind, Operation, Record, Recorded, all_of, any_of

Found: TypeAlias = tuple[dict[str, Any], Any]
"""Results by name, numbers or arrays; and what else there is to say, which does not depend on numbers."""
Function: TypeAlias = Callable[[Mapping[str, Any]], Found]
MOST_PROGRAMS: Final = 64
"""Ways through a function that are remembered."""
MOST_FUNCTIONS: Final = 64
SHORTEST: Final = 512
"""Arrays that programs work in have this length or 2, 4, … times it; the last value fills up what a block lacks."""
SAMPLE: Final = 1024
"""Points with which a block is recorded, if they decide as all of it do."""
_IN_PLACE: Final = {all_of, any_of, *CASTS.values()}
"""Operations beside ufuncs that can be told where their result goes."""


class Replay:
    """A function of arrays by name, all of a length, that is recorded as it is called."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.programs: list[Program] = []

    def __call__(self, columns: Mapping[str, Array]) -> Found:
        """Return what the function does. Arrays among the results are valid until a next call.

        Raises:
            UnlikeError: points are to be treated apart; its origin tells conditions apart.
            InputError: as the function does, of the block that was recorded.
        """
        seen: list[Guard] = []
        sample: int | None = SAMPLE  # as a rule these points decide as all of the block do
        while True:
            program = next((one for one in self.programs if one.guards[: len(seen)] == seen), None)
            if program is None:
                program = self._recorded({name: values[:sample] for name, values in columns.items()})
                sample = None
                self.programs = [program, *self.programs[: MOST_PROGRAMS - 1]]
            passed = program.run(columns)
            if passed == len(program.guards):
                break
            seen = [*program.guards[:passed], program.guards[passed].other]
        if program is not self.programs[0]:  # what came last comes next, as a rule
            self.programs = [program, *(one for one in self.programs if one is not program)]
        if program.error is not None:
            raise program.error.with_traceback(None)
        if program.splits:
            raise UnlikeError(program.results["condition"].copy(), program)
        return program.results, program.said

    def _recorded(self, columns: Mapping[str, Array]) -> Program:
        record = Record(len(next(iter(columns.values()))) > SAMPLE)
        given = {name: record.column(name, values) for name, values in columns.items()}
        try:
            results, said = self.function(given)
        except UnlikeError as unlike:
            return Program(record, {"condition": unlike.condition}, splits=True)
        except InputError as error:
            return Program(record, {}, error=error)
        return Program(record, results, said)


class Replays(local):
    """Functions that are remembered from one part of a sweep to the next, the latest ones."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Replay] = {}

    def of(self, key: Hashable, function: Function, *, many: bool) -> Function:
        """Return a function that does what another one does.

        Args:
            key: equal functions have equal keys.
            many: whether it pays to record it at once; else when it comes again.
        """
        again = key in self._known
        replay = self._known.pop(key, None) or Replay(function)
        replay.function = function  # so that what an earlier one refers to can go
        self._known[key] = replay
        if len(self._known) > MOST_FUNCTIONS:
            del self._known[next(iter(self._known))]
        return replay if many or again else function


class _Pool(local):
    """Arrays in which programs work, by kind; programs run one after another, and so share them."""

    def __init__(self) -> None:
        self.arrays: dict[tuple[Kind, int], list[Array]] = {}

    def take(self, kind: Kind, number: int, length: int) -> Array:
        """Return the array of a number, of a length."""
        known = self.arrays.setdefault((kind, length), [])
        while len(known) <= number:
            known.append(np.empty(length if kind.many else (), kind.dtype))
        return known[number]


_POOL: Final = _Pool()


@dataclass(frozen=True)
class _Part:
    """Operations up to a guard: each with its numbers and where its result goes."""

    calls: list[tuple[Operation, tuple[Any, ...], Any]]
    flag: Array | None = None
    decision: bool = True


@dataclass
class _Bound:
    """A program with arrays of a length to work in, by the place of a number."""

    arrays: dict[int, Array]
    parts: list[_Part]


@dataclass(eq=False)
class Program:
    """One way through a function.

    Attributes:
        made: its results in the record.
        said: what else the function said.
        splits: whether it ends with a condition by which points are treated apart.
        error: what it ends with, if it does.
        results: those of the last run.
    """

    record: InitVar[Record]
    made: Mapping[str, Any]
    said: Any = None
    splits: bool = False
    error: InputError | None = None
    results: dict[str, Any] = field(default_factory=dict)
    _bound: dict[int, _Bound] = field(default_factory=dict)

    def __post_init__(self, record: Record) -> None:
        self.made = {k: v.place if isinstance(v, Recorded) else Constant(type(v), v) for k, v in self.made.items()}
        self.columns, self.kinds = record.columns, record.kinds
        self.steps = record.needed([place for place in self.made.values() if isinstance(place, int)])
        self.guards = [step for step in self.steps if isinstance(step, Guard)]

    def run(self, columns: Mapping[str, Array]) -> int:
        """Find the results for other columns; return how many guards were passed: not all, if there are none."""
        length = len(next(iter(columns.values())))
        whole = SHORTEST
        while whole < length:
            whole *= 2
        if whole not in self._bound:
            self._bound[whole] = self._bind(whole)
        arrays = self._bound[whole].arrays
        for place, name in enumerate(self.columns):
            arrays[place][:length], arrays[place][length:] = columns[name], columns[name][-1]
        for passed, part in enumerate(self._bound[whole].parts):
            for operation, numbers, out in part.calls:
                operation(*numbers, out=out)
            if part.flag is not None and bool(part.flag) is not part.decision:
                return passed
        kinds = self.kinds
        for name, made in self.made.items():
            if isinstance(made, int):
                self.results[name] = arrays[made][:length] if kinds[made].many else arrays[made]
            else:
                self.results[name] = made.value
        return len(self.guards)

    def _bind(self, length: int) -> _Bound:
        kinds = self.kinds
        arrays = {place: _POOL.take(kinds[place], number, length) for place, number in self._places.items()}
        parts: list[_Part] = []
        calls: list[Any] = []
        for step in self.steps:
            if isinstance(step, Guard):
                parts.append(_Part(calls, arrays[step.place], step.decision))
                calls = []
            else:
                numbers = tuple(arrays[one] if isinstance(one, int) else one.value for one in step.operands)
                calls.append(_call(step.operation, numbers, [arrays[place] for place in step.places]))
        return _Bound(arrays, [*parts, _Part(calls)])

    @cached_property
    def _places(self) -> dict[int, int]:
        """By place of a number the array that it is in, of those of its kind: one that nothing needs any more."""
        last = {place: len(self.steps) for place in self.made.values() if isinstance(place, int)}
        for moment, step in reversed(list(enumerate(self.steps))):
            for place in step.uses():
                last.setdefault(place, moment)
        rooms = _Rooms(self.kinds)
        for place in range(len(self.columns)):
            rooms.take(place)
        for moment, step in enumerate(self.steps):
            over = [place for place in dict.fromkeys(step.uses()) if last[place] == moment]
            made = step.places if isinstance(step, Done) else ()
            in_place = isinstance(step, Done) and isinstance(step.operation, np.ufunc)
            for place in over if in_place else ():
                rooms.leave(place)
            for place in made:
                rooms.take(place)
            for place in (*(() if in_place else over), *(place for place in made if place not in last)):
                rooms.leave(place)
        return rooms.found


class _Rooms:
    """Gives numbers arrays, and takes these back."""

    def __init__(self, kinds: list[Kind]) -> None:
        self.kinds, self.found = kinds, dict[int, int]()
        self._free: dict[Kind, list[int]] = {}
        self._used: dict[Kind, int] = {}

    def take(self, place: int) -> None:
        kind = self.kinds[place]
        if self._free.get(kind):
            self.found[place] = self._free[kind].pop()
        else:
            self.found[place] = self._used.setdefault(kind, 0)
            self._used[kind] += 1

    def leave(self, place: int) -> None:
        self._free.setdefault(self.kinds[place], []).append(self.found[place])


def _call(operation: Operation, numbers: tuple[Any, ...], outs: list[Array]) -> tuple[Operation, tuple[Any, ...], Any]:
    """An operation with what it works on and where its results go."""
    if isinstance(operation, np.ufunc) or operation in _IN_PLACE:
        return operation, numbers, outs[0]

    def copied(*numbers: Any, out: list[Array]) -> None:
        made = operation(*numbers)
        for place, one in zip(out, made if isinstance(made, tuple) else (made,), strict=True):
            place[...] = one

    return copied, numbers, outs


__all__ = ["Found", "Function", "Replay", "Replays"]
