"""YAML checked against a pydantic schema, all faults told at once, each with a caret at its cause.

``KEY=VALUE`` overrides with dotted keys (``array_2d.rows=128``) are laid over the file's values before they
are checked, so defaults that are derived from other values follow them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from einsum_cascades.errors import InputError, Location, all_of, nearest, quoted, short, unknown
from einsum_cascades.numbers import LARGEST
from einsum_cascades.sizes import EXPECTED, PATTERNS, Unit, read_size
from einsum_cascades.yaml_source import Node


def _reads(unit: Unit, rate: str = "") -> BeforeValidator:
    """Return what reads a size written as text, before its limits are checked; a rate may end in ``/s``."""

    def read(value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return read_size(value.removesuffix(rate), unit)
        except InputError as error:
            raise PydanticCustomError("size", "size", {"unit": unit}) from error

    return BeforeValidator(read)


def _written(kind: str, unit: Unit, most: float, rate: str = "") -> WithJsonSchema:
    """Return the JSON schema of a size: a number, or the text of one."""
    text = {"type": "string", "pattern": f"^{PATTERNS[unit]}{rate}$"}
    return WithJsonSchema({"anyOf": [{"type": kind, "minimum": 1, "maximum": most}, text]})


_WHOLE = Field(strict=True, ge=1, le=LARGEST)
_RATE = Field(strict=True, ge=1, le=1e18, allow_inf_nan=False)
Size = Annotated[int, _WHOLE, _reads("count"), _written("integer", "count", LARGEST)]
"""A count: ``8192`` or ``8K``."""
Bytes = Annotated[int, _WHOLE, _reads("bytes"), _written("integer", "bytes", LARGEST)]
"""A number of bytes: ``262144`` or ``256KiB``."""
Rate = Annotated[float, _RATE]
"""Something per second."""
ByteRate = Annotated[float, _RATE, _reads("bytes", "/s"), _written("number", "bytes", 1e18, "(?:/s)?")]
"""Bytes per second: ``4.0e11``, ``400GiB`` or ``400GiB/s``."""
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, Field(strict=True, min_length=1, max_length=2000)]

OVERRIDE = "--set-arch"
"""What the place of an override is called: the option that gives it."""

_EXPECTED = {
    int: EXPECTED["count"],
    float: "a number from {low} to {high} is expected",
    bool: "true or false is expected",
    str: "text is expected; put it in quotes if it looks like a number",
}
_DIGITS = re.compile(r"[0-9]{1,60}")
_FLOAT = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")


class Section(BaseModel):
    """A mapping whose keys are all known; subclasses state them."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Section)
Overrides: TypeAlias = Mapping[str, str] | Sequence[str]
Fault: TypeAlias = tuple[str, str, str]
"""A dotted key, what is wrong with its value, and what would be right."""


def unknown_name(kind: str, known: Sequence[str]) -> PydanticCustomError:
    """Return the error that a validator raises for a name that is not in a table."""
    return PydanticCustomError("unknown_name", "unknown name", {"kind": kind, "known": list(known)})


def fault_at(key: str, message: str, hint: str) -> PydanticCustomError:
    """Return the error that a validator of several values raises, pointing at the one with a dotted key."""
    return PydanticCustomError("at", "at", {"key": key, "message": message, "hint": hint})


def check(
    schema: type[S],
    node: Node,
    overrides: Overrides = (),
    further: Callable[[Mapping[str, Any], S | None], Iterable[Fault]] = lambda tree, found: (),
) -> S:
    """Return a YAML tree as an instance of ``schema``.

    Args:
        schema: the sections and values expected.
        node: the tree.
        overrides: values to lay over the tree's, as ``{"a.b": "1"}`` or ``["a.b=1"]``.
        further: finds what else is wrong with the values as plain dicts; None in place of the instance where the schema
            found faults.

    Raises:
        InputError: values are missing, unknown, or not what the schema expects; it tells of all.
    """
    tree = node.plain()
    places: dict[str, Location] = {}
    if overrides and not isinstance(tree, dict):
        overrides = ()
    faults: list[InputError] = []
    for key, text, place in _overrides(overrides):
        try:
            _lay_over(tree, key, _value(schema, key, text, place))
        except InputError as error:
            faults.append(error)
        places[key] = replace(place, column=len(key) + 2, width=max(1, len(place.text) - len(key) - 1))
    found = None
    try:
        found = schema.model_validate(tree)
    except ValidationError as error:
        told = sorted(error.errors(include_url=False), key=lambda fault: fault["type"] != "extra_forbidden")
        faults += [_input_error(schema, fault, node, places) for fault in told]
    for key, message, hint in further(tree if isinstance(tree, dict) else {}, None if faults else found):
        faults.append(InputError(message, location=_place(key.split("."), node, places, "at"), hint=hint))
    if found is None or faults:
        raise all_of(faults)
    return found


def leaves(schema: type[BaseModel], prefix: str = "") -> dict[str, type]:
    """Return the dotted keys of all values of a schema, and their types (text for a choice of names)."""
    found: dict[str, type] = {}
    for name, field in schema.model_fields.items():
        plain = plain_type(field.annotation)
        if issubclass(plain, BaseModel):
            found |= leaves(plain, f"{prefix}{name}.")
        else:
            found[prefix + name] = plain
    return found


def plain_type(annotation: Any) -> type:
    """The type inside ``T | None``, ``Annotated[T, …]`` and ``Literal[…]``."""
    while args := [a for a in get_args(annotation) if a is not type(None)]:
        annotation = args[0]
    return annotation if isinstance(annotation, type) else type(annotation)


def _overrides(overrides: Overrides) -> Iterator[tuple[str, str, Location]]:
    if isinstance(overrides, Mapping):
        pairs = [(str(key), str(value)) for key, value in overrides.items()]
    else:
        listed = [overrides] if isinstance(overrides, str) else overrides
        if not isinstance(listed, Sequence) or not all(isinstance(text, str) for text in listed):
            raise InputError(
                f"{quoted(overrides)} overrides nothing", hint="a list such as ['array_2d.rows=128'] is expected"
            )
        pairs = [(key.strip(), value.strip()) for key, _, value in (o.partition("=") for o in listed)]
    for key, value in pairs:
        place = Location(OVERRIDE, 1, 1, f"{key}={value}"[:200], max(1, len(key)))
        if not key or not value:
            message = f"'{key[:60]}' is overridden without a value"
            raise InputError(message, location=place, hint="write KEY=VALUE")
        yield key, value, place


def _value(schema: type[BaseModel], key: str, text: str, place: Location) -> int | float | str:
    """Return an override's value as the schema's type where it can be read so, and otherwise as text."""
    known = leaves(schema)
    if key not in known:
        inside = [k for k in known if k.startswith(f"{key}.")]
        hint = f"override one of its values, such as {inside[0]}" if inside else nearest(key, known)
        raise InputError(f"unknown key '{key[:60]}'", location=place, hint=hint)
    if known[key] is bool:
        return {"true": True, "false": False}.get(text, text)
    if known[key] is int and _DIGITS.fullmatch(text):
        return int(text)
    if known[key] is float and _FLOAT.fullmatch(text):
        return float(text)
    return text


def _lay_over(tree: dict[str, Any], key: str, value: int | float | str) -> None:
    *sections, last = key.split(".")
    for section in sections:
        inner = tree.get(section)
        if not isinstance(inner, dict):
            inner = tree[section] = {}
        tree = inner
    tree[last] = value


def _input_error(
    schema: type[BaseModel], fault: ErrorDetails, node: Node, places: Mapping[str, Location]
) -> InputError:
    """Turn one fault that pydantic found into an error at its place."""
    context = fault.get("ctx", {})
    path = context["key"].split(".") if fault["type"] == "at" else [str(part) for part in fault["loc"]]
    key = ".".join(path)
    place = _place(path, node, places, fault["type"])
    expected = _expected(schema, path)
    if fault["type"] == "at":
        return InputError(context["message"], location=place, hint=context["hint"])
    if fault["type"] == "extra_forbidden":
        return unknown("key", path[-1], _section(schema, path[:-1]).model_fields, location=place)
    if fault["type"] == "missing":
        return InputError(f"'{key}' is missing", location=place, hint=f"add '{path[-1]}: ...'; {expected}")
    if fault["type"] == "unknown_name":
        return unknown(context["kind"], str(fault["input"]), context["known"], location=place)
    if fault["type"] == "literal_error":
        expected = f"{context['expected']} is expected"
    if fault["type"] == "size":
        expected = EXPECTED[context["unit"]]
    return InputError(f"{key or 'the text'} is {_shown(fault['input'])}", location=place, hint=expected)


def _place(path: Sequence[str], node: Node, places: Mapping[str, Location], kind: str) -> Location:
    """Where a value stands; for an unknown one its key; for a missing one the key of its section."""
    section = ".".join(path[:-1])
    for override, place in places.items():
        if override == ".".join(path) or (kind == "missing" and override.startswith(f"{section}.")):
            return place
    name = node
    for part in path:
        if not isinstance(node.value, dict) or part not in node.value:
            break
        name, node = node.keys[part], node.value[part]
    at_value = kind != "extra_forbidden" and not isinstance(node.value, dict | list | None)
    return node.location if at_value else name.location


def _section(schema: type[BaseModel], path: Sequence[str]) -> type[BaseModel]:
    for part in path:
        schema = plain_type(schema.model_fields[part].annotation)
    return schema


def _expected(schema: type[BaseModel], path: Sequence[str]) -> str:
    """What would be right at a place of the schema."""
    *sections, last = path or [""]
    section = _section(schema, sections)
    if last and last not in section.model_fields:
        return ""
    plain = plain_type(section.model_fields[last].annotation) if last else section
    if issubclass(plain, BaseModel):
        return "a mapping with the keys " + ", ".join(plain.model_fields) + " is expected"
    low, high = _limits(section.model_fields[last]) if plain in (int, float) else (1, 1)
    if plain is int and (low != 1 or high < LARGEST):
        return f"a whole number from {low} to {high if high < LARGEST else '2^50'} is expected"
    if plain is int and "bytes" in last:
        return EXPECTED["bytes"]
    if plain is float:
        low_text, high_text = (f"{limit:g}".replace("e+", "e") for limit in (low, high))
        return _EXPECTED[float].format(low=low_text, high=high_text)
    return _EXPECTED.get(plain, "")


def _limits(field: FieldInfo) -> tuple[float, float]:
    """The least and the largest number that a field takes; without limits those of a rate."""
    found = [*field.metadata]
    annotations: list[Any] = [field.annotation]
    while annotations:
        inner = get_args(annotations.pop())
        annotations += inner
        found += [limit for i in inner if isinstance(i, FieldInfo) for limit in i.metadata]

    def first(names: Sequence[str], default: float) -> float:
        return next((getattr(limit, name) for limit in found for name in names if hasattr(limit, name)), default)

    return first(("ge", "gt"), 1), first(("le", "lt"), 1e18)


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value.bit_length() > 200:
        return "a number of more than 60 digits"
    return short("nothing" if value is None else f"'{value}'" if isinstance(value, str) else str(value), 60)
