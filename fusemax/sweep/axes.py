"""Axes of a sweep: what one of them may be, and its values.

A value by itself, or a list, is written as it is. Otherwise an axis is a mapping with one of

    range: [start, stop, step]        start, start + step, … up to stop itself if a step falls on it
    log_range: [start, stop, n]       n values evenly spaced by ratio; or [start, stop] with ``factor: f``
    random: [low, high, n]            n values drawn evenly, with ``seed``; ``scale: log`` draws them evenly by ratio

and ``multiple_of: k``, which rounds to multiples of k (at least k). In a sampled sweep, ``range: [low, high]`` and
``log_range: [low, high]`` span a continuum; whole-number axes round it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cached_property
from math import isfinite, log
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from einsum_cascades.errors import InputError
from einsum_cascades.numbers import LARGEST
from einsum_cascades.sizes import EXPECTED, Unit, read_size
from einsum_cascades.yaml_source import Node
from fusemax.sweep.sampling import uniform

AxisKind = Literal["name", "flag", "whole", "number"]
Scalar: TypeAlias = "str | bool | int | float"
Array: TypeAlias = npt.NDArray[Any]

MOST_VALUES: Final = 1_000_000
SMALLEST_NUMBER, LARGEST_NUMBER = 1e-18, 1e18
_DIGITS: Final = 60
"""Enough that a whole number up to 2^50 is rounded right after a million products."""
_FORMS: Final = ("values", "range", "log_range", "random")
_OPTIONS: Final = ("factor", "multiple_of", "scale", "seed")
_PLAIN = re.compile(r"[0-9_]+|2\*\*[0-9]+")


@dataclass(frozen=True)
class Listed:
    """Values one by one.

    Attributes:
        said: how they are written, if not as a list: values drawn may repeat, which a list refuses.
    """

    values: tuple[Scalar, ...]
    said: str = ""

    @property
    def count(self) -> int:
        """How many values."""
        return len(self.values)

    def at(self, index: Array) -> Array:
        """Return the values at some indices; of names, the indices themselves."""
        return index if isinstance(self.values[0], str) else self._array[index]

    @cached_property
    def _array(self) -> Array:
        return np.asarray(self.values)

    def __str__(self) -> str:
        return self.said or f"[{', '.join(map(written, self.values))}]"


@dataclass(frozen=True)
class Stepped:
    """``count`` values from ``start`` on, ``step`` apart."""

    start: int | float
    step: int | float
    count: int

    @property
    def values(self) -> tuple[Scalar, ...]:
        """The least and the greatest value."""
        return (self.start, self.start + (self.count - 1) * self.step)

    def at(self, index: Array) -> Array:
        """Return the values at some indices."""
        return self.start + index * self.step

    def __str__(self) -> str:
        return f"{{range: [{written(self.start)}, {written(self.values[1])}, {written(self.step)}]}}"


@dataclass(frozen=True)
class Continuum:
    """Any value between two, to be sampled; whole numbers, or multiples of one, where ``multiple`` says so."""

    low: int | float
    high: int | float
    log_scale: bool
    multiple: int | None

    @property
    def values(self) -> tuple[Scalar, ...]:
        """The least and the greatest value."""
        return (self.low, self.high)

    @property
    def count(self) -> None:
        """There is no number of values."""
        return None

    def between(self, fraction: Array) -> Array:
        """Return the values at fractions (0 to 1) of the way."""
        if self.multiple is None:
            return _spread(self.low, self.high, fraction, self.log_scale)
        low, high = int(-(-self.low // self.multiple)), int(self.high // self.multiple)
        if not self.log_scale:
            even: Array = (low + np.floor(fraction * (high - low + 1)).astype(np.int64)) * self.multiple
            return even
        found = np.rint(_spread(self.low, self.high, fraction, True) / self.multiple).astype(np.int64)
        rounded: Array = np.clip(found, low, high) * self.multiple
        return rounded

    def __str__(self) -> str:
        rounded = f", multiple_of: {self.multiple}" if self.multiple not in (None, 1) else ""
        form = "log_range" if self.log_scale else "range"
        return f"{{{form}: [{written(self.low)}, {written(self.high)}]{rounded}}}"


Values: TypeAlias = Listed | Stepped | Continuum


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        name: a dotted key of a machine, a key of the workload, a rank, or ``cascade``, ``arch``, ``mapper``, …
        kind: what its values are.
    """

    name: str
    kind: AxisKind
    values: Values

    @property
    def extremes(self) -> tuple[Scalar, ...]:
        """All values of a list; the ends of a range."""
        return self.values.values

    @property
    def ends(self) -> tuple[int | float, int | float]:
        """The least and the greatest value of an axis of numbers."""
        numbers = [value for value in self.extremes if not isinstance(value, str)]
        return min(numbers), max(numbers)


def _spread(low: float, high: float, fraction: Array, log_scale: bool) -> Array:
    if not log_scale:
        return low + fraction * (high - low)
    return np.clip(low * np.exp(fraction * log(high / low)), low, high)


def written(value: Scalar) -> str:
    """Return a value as canonical YAML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        plain = re.fullmatch(r"[A-Za-z_./][A-Za-z0-9_./-]*", value) and value.lower() not in ("true", "false", "null")
        return value if plain else "'" + value.replace("'", "''") + "'"
    return repr(value)


def read_axis(name: str, kind: AxisKind, node: Node, sampled: bool) -> Axis:
    """Return the axis that a part of a specification describes.

    Args:
        sampled: whether the sweep is sampled, so that an axis may be a continuum.

    Raises:
        InputError: it describes none.
    """
    if not isinstance(node.value, dict):
        return Axis(name, kind, _listed(name, kind, node))
    parts = node.mapping(allowed=(*_FORMS, *_OPTIONS))
    forms = [f for f in _FORMS if f in parts]
    if len(forms) != 1:
        raise node.error(f"'{name}' needs one of {', '.join(_FORMS)}, {len(forms)} are given")
    form = forms[0]
    if form == "values":
        _only(parts, node, ())
        return Axis(name, kind, _listed(name, kind, parts["values"]))
    if kind not in ("whole", "number"):
        raise parts[form].error(f"'{name}' has names for values, and no {form}", "write a list: [a, b]")
    read = _READERS[form]
    return Axis(name, kind, read(_Form(name, kind, parts[form], parts, node, sampled)))


@dataclass(frozen=True)
class _Form:
    """A mapping that describes an axis."""

    name: str
    kind: AxisKind
    bounds: Node
    parts: dict[str, Node]
    node: Node
    sampled: bool

    @cached_property
    def whole(self) -> bool:
        return self.kind == "whole"

    @cached_property
    def multiple(self) -> int | None:
        if "multiple_of" in self.parts:
            return int(_number(self.name, "whole", self.parts["multiple_of"], True))
        return 1 if self.whole else None

    def numbers(self, *lengths: int) -> list[int | float]:
        """The numbers of the list; the first two are checked to be the ends of a range."""
        items = self.bounds.sequence()
        if len(items) not in lengths:
            raise self.bounds.error(f"expected {' or '.join(map(str, lengths))} numbers, found {len(items)}")
        found = [_number(self.name, self.kind, item, i < 2) for i, item in enumerate(items)]
        if found[1] < found[0]:
            raise items[1].error(f"the range ends at {found[1]}, before it starts", f"it starts at {found[0]}")
        return found

    def powers(self, start: float, stop: float, factor: float | None, count: int) -> Listed:
        """The values from ``start`` on, each the last times a factor, up to ``stop`` if none is given, each once.

        Whole numbers are the exact values, rounded.
        """
        if self.multiple is None:
            even = np.linspace(0, 1, count)
            values = _spread(start, stop, even, True) if factor is None else start * np.power(factor, np.arange(count))
            return Listed(tuple(dict.fromkeys(values.tolist())))
        with localcontext(prec=_DIGITS):
            value, ratio = Decimal(start), Decimal(1)
            if factor is not None:
                ratio = Decimal(factor)
            elif count > 1:
                ratio = (Decimal(stop) / Decimal(start)) ** (Decimal(1) / (count - 1))
            found: dict[Scalar, None] = {}
            for _ in range(count):
                exact = value.quantize(Decimal("1e-30"))  # what is lost to rounding so far is less
                found[max(round(exact / self.multiple), 1) * self.multiple] = None
                value *= ratio
        return Listed(tuple(found))


def _range(form: _Form) -> Values:
    _only(form.parts, form.node, ("multiple_of",))
    start, stop, *rest = form.numbers(2, 3)
    if not rest and form.sampled:
        return _continuum(form, start, stop, log_scale=False)
    if not rest and not form.whole:
        raise form.bounds.error("a range of numbers needs a step", "write [start, stop, step]")
    step = rest[0] if rest else (form.multiple or 1)
    if step <= 0:
        raise form.bounds.error(f"the step is {step}", "a number more than 0 is expected")
    if "multiple_of" in form.parts and rest:
        raise form.parts["multiple_of"].error("a range with a step is not rounded", "leave one of them out")
    if not rest and form.multiple:
        start = -(-int(start) // form.multiple) * form.multiple
    if form.whole:
        steps = (int(stop) - int(start)) // int(step)
    else:
        if stop - step == stop and start < stop:
            raise form.bounds.error(
                f"a step of {step:g} does not change {stop:g}", "give a larger step, or a log_range"
            )
        wanted = (stop - start) / step
        steps = int(min(wanted + min(1e-12 * wanted, 1e-3), LARGEST))
    if steps < 0:
        raise form.bounds.error(f"no multiple of {form.multiple} lies in this range")
    if steps >= LARGEST:
        raise form.bounds.error("these are 2^50 values or more", "give a larger step, or draw samples")
    return Stepped(start, step, steps + 1)


def _log_range(form: _Form) -> Values:
    _only(form.parts, form.node, ("multiple_of", "factor"))
    start, stop, *rest = form.numbers(2, 3)
    if "factor" in form.parts:
        if rest:
            raise form.parts["factor"].error("both a number of values and a factor are given", "leave one of them out")
        factor = form.parts["factor"].number(above=1)
        count = int(log(stop / start) / log(factor) + 1e-9) + 1
        _few(count, form.bounds)
        return form.powers(start, stop, factor, count)
    if not rest:
        if form.sampled:
            return _continuum(form, start, stop, log_scale=True)
        raise form.bounds.error("the number of values is missing", "write [start, stop, n], or add factor: 2")
    count = _count(rest[0], form)
    return form.powers(start, stop, None, count)


def _random(form: _Form) -> Values:
    _only(form.parts, form.node, ("multiple_of", "scale", "seed"))
    low, high, number = form.numbers(3)
    seed = form.parts["seed"].integer(minimum=0, maximum=2**63 - 1) if "seed" in form.parts else 0
    scale = form.parts["scale"].string() if "scale" in form.parts else "linear"
    if scale not in ("linear", "log"):
        raise form.parts["scale"].error(f"unknown scale '{scale}'", "linear or log is expected")
    within = _continuum(form, low, high, log_scale=scale == "log")
    count = _count(number, form)
    values = within.between(uniform(seed, form.name, np.arange(count))).tolist()
    bounds = ", ".join(map(written, (low, high, count)))
    multiple = f", multiple_of: {form.multiple}" if "multiple_of" in form.parts else ""
    return Listed(tuple(values), f"{{random: [{bounds}]{multiple}, scale: {scale}, seed: {seed}}}")


_READERS: Final[dict[str, Callable[[_Form], Values]]] = {"range": _range, "log_range": _log_range, "random": _random}


def _continuum(form: _Form, low: int | float, high: int | float, *, log_scale: bool) -> Continuum:
    multiple = form.multiple
    if multiple is not None and -(-low // multiple) > high // multiple:
        raise form.bounds.error(f"no multiple of {multiple} lies between {low} and {high}")
    return Continuum(low, high, log_scale, multiple)


def _count(number: int | float, form: _Form) -> int:
    if number != int(number) or number < 1:
        raise form.bounds.error(f"the number of values is {number}", "a whole number of 1 or more is expected")
    return _few(int(number), form.bounds)


def _few(count: int, node: Node) -> int:
    if count > MOST_VALUES:
        raise node.error(f"these are {count} values, more than {MOST_VALUES}", "use a range, or samples")
    return count


def _only(parts: dict[str, Node], node: Node, options: tuple[str, ...]) -> None:
    for key in _OPTIONS:
        if key in parts and key not in options:
            fitting = f"options here: {', '.join(options)}" if options else "leave it out"
            raise InputError(f"'{key}' does not go with this form", location=node.keys[key].location, hint=fitting)


def _listed(name: str, kind: AxisKind, node: Node) -> Listed:
    items = node.value if isinstance(node.value, list) else [node]
    if not items:
        raise node.error(f"'{name}' has no values", "list at least one")
    values: dict[Scalar, None] = {}
    for item in items:
        value = _scalar(name, kind, item)
        if value in values:
            raise item.error(f"{item.kind} is listed twice")
        values[value] = None
    return Listed(tuple(values))


def _scalar(name: str, kind: AxisKind, node: Node) -> Scalar:
    if kind == "flag":
        if not isinstance(node.value, bool):
            raise node.error(f"'{name}' is true or false, found {node.kind}")
        return node.value
    if kind == "name":
        if isinstance(node.value, dict | list | None):
            raise node.error(f"expected a name, found {node.kind}")
        return node.value if isinstance(node.value, str) else node.raw
    return _number(name, kind, node, True)


def _form_of_numbers(name: str, kind: AxisKind) -> str:
    expected = EXPECTED[_unit(name)] if kind == "whole" or "bytes" in name else "a number such as 9.4e8 is expected"
    return f"{expected}; or a list of them, or {{range: [start, stop, step]}}"


def _unit(name: str) -> Unit:
    return "bytes" if "bytes" in name else "count"


def _number(name: str, kind: AxisKind, node: Node, bounded: bool) -> int | float:
    """Return a number; text such as ``16MiB``, ``8K`` or ``2**20`` counts as one."""
    value = node.value
    if isinstance(value, str) and (kind == "whole" or "bytes" in name or _PLAIN.fullmatch(value)):
        with suppress(InputError):
            value = read_size(value.removesuffix("/s") if name.endswith("_per_s") else value, _unit(name))
    if kind == "whole" and isinstance(value, float) and isfinite(value) and value.is_integer():
        value = int(value)
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or (isinstance(value, float) and not isfinite(value))
    ):
        raise node.error(f"'{name}' is a number, found {node.kind}", _form_of_numbers(name, kind))
    if kind == "whole" and not isinstance(value, int):
        raise node.error(f"'{name}' is a whole number, found {node.kind}")
    if bounded and kind == "whole" and not 1 <= value <= LARGEST:
        raise node.error(f"'{name}' is {node.kind}", "a whole number from 1 to 2^50 is expected")
    least = SMALLEST_NUMBER if bounded else -LARGEST_NUMBER
    if (kind == "number" or not bounded) and not least <= value <= LARGEST_NUMBER:
        raise node.error(f"'{name}' is {node.kind}", f"a number from {least:g} to {LARGEST_NUMBER:g} is expected")
    return value if kind == "whole" else float(value)
