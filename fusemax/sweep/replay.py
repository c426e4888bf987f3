"""What a function of arrays did is done again for other arrays, with nothing of Python in between.

Sweeps evaluate the same formulae block after block. The first block is recorded (``record.py``); what its results
depend on becomes a *program*: operations in order, on few arrays that are used again while they are in the cache.
Where the function decided by its numbers the program has a guard: a block for which the decision comes out otherwise is
recorded too, and makes a further program. So a program's results are those of the function, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np

from einsum_cascades.loops.arith import Unlike
from fusemax.sweep.record import CASTS, Array, Constant, Done, Kind, Operand, Operation, Record, Recorded, all_of, any_of

Found: TypeAlias = tuple[dict[str, Any], Any]
"""Results by name, numbers or arrays; and what else there is to say, which does not depend on numbers."""
Function: TypeAlias = Callable[[Mapping[str, Any]], Found]
MOST_PROGRAMS: Final = 32
"""Ways through a function that are remembered."""
_IN_PLACE: Final = {all_of, any_of, *CASTS.values()}
"""Operations beside ufuncs that can be told where their result goes."""


class Replay:
    """A function of arrays by name, all of a length, that is recorded as it is called."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.programs: list[Program] = []

    def __call__(self, columns: Mapping[str, Array]) -> Found:
        """Return what the function does. Arrays among the results are valid until the next call.

        Raises:
            Unlike: points are to be treated apart; ``origin`` tells conditions apart.
            InputError: as the function does.
        """
        for program in self.programs:
            found = program.run(columns)
            if found is not None:
                break
        else:
            program = self._recorded(columns)
            found = program.run(columns)
            assert found is not None
            self.programs = self.programs[: MOST_PROGRAMS - 1]
        if program is not next(iter(self.programs), None):  # what came last comes next, as a rule
            self.programs = [program, *(one for one in self.programs if one is not program)]
        if program.splits:
            raise Unlike(found[0]["condition"].copy(), program)
        return found

    def _recorded(self, columns: Mapping[str, Array]) -> Program:
        record = Record()
        given = {name: record.column(name, values) for name, values in columns.items()}
        try:
            results, said = self.function(given)
        except Unlike as unlike:
            return Program(record, {"condition": unlike.condition}, None, splits=True)
        return Program(record, results, said)


@dataclass
class _Pool:
    """Arrays in which programs work, by kind; programs run one after another, and so share them."""

    arrays: dict[Kind, list[Array]] = field(default_factory=dict)

    def take(self, kind: Kind, number: int, length: int) -> Array:
        """Return the array of a number, of a length."""
        known = self.arrays.setdefault(kind, [])
        while len(known) <= number:
            known.append(np.empty(0 if kind.many else (), kind.dtype))
        if kind.many and len(known[number]) < length:
            known[number] = np.empty(length, kind.dtype)
        return known[number][:length] if kind.many else known[number]


_POOL: Final = _Pool()


class Program:
    """One way through a function.

    Attributes:
        splits: whether it ends with a condition by which points are treated apart.
    """

    def __init__(self, record: Record, results: Mapping[str, Any], said: Any, *, splits: bool = False) -> None:
        self.columns, self.kinds = record.columns, record.kinds
        self.said, self.splits = said, splits
        self.results = {k: v.place if isinstance(v, Recorded) else Constant(type(v), v) for k, v in results.items()}
        self.steps = _needed(record, [place for place in self.results.values() if isinstance(place, int)])
        self._bound: tuple[int, Any] = (-1, None)

    def run(self, columns: Mapping[str, Array]) -> Found | None:
        """Return the results for other columns; None where a decision comes out otherwise."""
        length = len(next(iter(columns.values())))
        if self._bound[0] != length:
            self._bound = (length, self._bind(length))
        arrays, parts = self._bound[1]
        for place, name in enumerate(self.columns):
            np.copyto(arrays[place], columns[name])
        for calls, flag, decision in parts:
            for operation, operands, out in calls:
                operation(*operands, out=out)
            if flag is not None and bool(flag) is not decision:
                return None
        results = {k: arrays[v] if isinstance(v, int) else v.value for k, v in self.results.items()}
        return results, self.said

    @cached_property
    def _places(self) -> dict[int, int]:
        """By place of a number the array that it is in, of those of its kind: one that nothing needs any more."""
        last: dict[int, int] = {place: len(self.steps) for place in self.results.values() if isinstance(place, int)}
        for moment, step in enumerate(self.steps):
            for place in _uses(step):
                last[place] = max(last.get(place, 0), moment)
        free: dict[Kind, list[int]] = {}
        used: dict[Kind, int] = {}
        found: dict[int, int] = {}

        def take(place: int) -> None:
            kind = self.kinds[place]
            if free.get(kind):
                found[place] = free[kind].pop()
            else:
                found[place] = used.get(kind, 0)
                used[kind] = found[place] + 1

        for place in range(len(self.columns)):
            take(place)
        for moment, step in enumerate(self.steps):
            over = [place for place in dict.fromkeys(_uses(step)) if last[place] == moment]
            made = step.places if isinstance(step, Done) else ()
            first = isinstance(step, Done) and isinstance(step.operation, np.ufunc)
            if not first:
                for place in made:
                    take(place)
            for place in over:
                free.setdefault(self.kinds[place], []).append(found[place])
            if first:
                for place in made:
                    take(place)
            for place in made:
                if place not in last:
                    free.setdefault(self.kinds[place], []).append(found[place])
        return found

    def _bind(self, length: int) -> tuple[dict[int, Array], list[tuple[list[Any], Array | None, bool]]]:
        arrays = {place: _POOL.take(self.kinds[place], number, length) for place, number in self._places.items()}
        parts: list[tuple[list[Any], Array | None, bool]] = []
        calls: list[Any] = []
        for step in self.steps:
            if isinstance(step, Done):
                numbers = [arrays[one] if isinstance(one, int) else one.value for one in step.operands]
                calls.append(_call(step.operation, numbers, [arrays[place] for place in step.places]))
            else:
                parts.append((calls, arrays[step[0]], step[1]))
                calls = []
        parts.append((calls, None, True))
        return arrays, parts


def _needed(record: Record, results: list[int]) -> list[Done | tuple[int, bool]]:
    """The steps of a record that its results and its guards depend on."""
    needed = set(results)
    found: list[Done | tuple[int, bool]] = []
    for step in reversed(record.steps):
        if not isinstance(step, Done) or not needed.isdisjoint(step.places):
            needed.update(_uses(step))
            found.append(step)
    return found[::-1]


def _uses(step: Done | tuple[int, bool]) -> Iterator[int]:
    if isinstance(step, Done):
        yield from (operand for operand in step.operands if isinstance(operand, int))
    else:
        yield step[0]


def _call(operation: Operation, numbers: list[Any], outs: list[Array]) -> tuple[Operation, tuple[Any, ...], Any]:
    """An operation with what it works on and where its results go."""
    if isinstance(operation, np.ufunc) or operation in _IN_PLACE:
        return operation, tuple(numbers), outs[0]

    def copied(*numbers: Any, out: list[Array]) -> None:
        made = operation(*numbers)
        for place, one in zip(out, made if isinstance(made, tuple) else (made,), strict=True):
            place[...] = one

    return copied, tuple(numbers), outs


__all__ = ["Found", "Function", "Operand", "Replay"]
