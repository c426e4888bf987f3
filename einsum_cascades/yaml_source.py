"""YAML text as a tree of values that know their place, so that every error points a caret at its cause.

Only the plain part of YAML 1.2 is read: mappings with distinct text keys, lists, and scalars of the core
schema. Tags, anchors, aliases and several documents in one text are refused, and so is a text that is too
large or too deeply nested. It is read as a stream of events, without recursion, in bounded time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from einsum_cascades.errors import InputError, Location, all_of, unknown
from einsum_cascades.sizes import read_size
from einsum_cascades.source_text import MAX_CHARACTERS, UNREADABLE, Source, one_line

__all__ = ["MAX_CHARACTERS", "MAX_DEPTH", "MAX_EVENTS", "Node", "Source", "parse_yaml"]

MAX_DEPTH = 50
MAX_EVENTS = 10_000

_INTEGER = re.compile(r"[-+]?[0-9](?:_?[0-9])*|0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **{sign + word: float(f"{sign}inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


@dataclass(frozen=True)
class Node:
    """One value of a YAML text.

    Attributes:
        value: the value; the parts of a mapping or a list are nodes in turn.
        source: the text that it comes from.
        start, end: where in the text it stands, as offsets.
        style: ``'``, ``"``, ``|``, ``>`` for a scalar written so, otherwise empty.
        keys: for a mapping, the node of each key.
    """

    value: dict[str, Node] | list[Node] | str | int | float | bool | None
    source: Source = field(compare=False, repr=False)
    start: int = field(compare=False, repr=False)
    end: int = field(compare=False, repr=False)
    style: str = field(default="", compare=False, repr=False)
    keys: dict[str, Node] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def location(self) -> Location:
        """Where the value is written."""
        return self.source.location(self.start, self.end)

    @property
    def raw(self) -> str:
        """The text as written, quotes included."""
        return self.source.text[self.start : self.end]

    @property
    def kind(self) -> str:
        """What the value is, in plain words."""
        if isinstance(self.value, dict):
            return "a mapping"
        if isinstance(self.value, list):
            return "a list"
        if self.value is None:
            return "nothing"
        return f"'{one_line(self.raw)}'"

    def error(self, message: str, hint: str = "") -> InputError:
        """Return an error that points at this value."""
        return InputError(message, location=self.location, hint=hint)

    def mapping(self, *, allowed: Iterable[str] | None = None, required: Iterable[str] = ()) -> dict[str, Node]:
        """Return the parts of a mapping.

        Args:
            allowed: the keys that may stand here; None allows any.
            required: the keys that must.

        Raises:
            InputError: it is no mapping, keys are unknown, or required keys are missing; it tells of all.
        """
        if not isinstance(self.value, dict):
            raise self.error(f"expected a mapping, found {self.kind}", "write one 'key: value' per line")
        names = [*(allowed or ()), *required]
        faults = [
            unknown("key", key, names, location=node.location)
            for key, node in self.keys.items()
            if allowed is not None and key not in names
        ]
        faults += [self.error(f"missing key '{key}'", f"add '{key}: ...'") for key in required if key not in self.value]
        if faults:
            raise all_of(faults)
        return self.value

    def sequence(self) -> list[Node]:
        """Return the items of a list.

        Raises:
            InputError: it is no list.
        """
        if not isinstance(self.value, list):
            raise self.error(f"expected a list, found {self.kind}", "write [a, b], or one '- item' per line")
        return self.value

    def string(self) -> str:
        """Return a text.

        Raises:
            InputError: it is no text, or an empty one.
        """
        if not isinstance(self.value, str):
            hint = "" if isinstance(self.value, dict | list | None) else "put it in quotes to make it text"
            raise self.error(f"expected text, found {self.kind}", hint)
        if not self.value.strip():
            raise self.error("expected text, found an empty one")
        return self.value

    def boolean(self) -> bool:
        """Return true or false.

        Raises:
            InputError: it is neither.
        """
        if not isinstance(self.value, bool):
            raise self.error(f"expected true or false, found {self.kind}")
        return self.value

    def integer(self, *, minimum: int | None = None, maximum: int | None = None) -> int:
        """Return a whole number; ``1e9`` and ``8K`` count as one.

        Raises:
            InputError: it is no whole number, or out of range.
        """
        value = self.value
        if isinstance(value, str):
            with suppress(InputError):
                value = read_size(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(f"expected a whole number, found {self.kind}")
        self._check_range(value, minimum, maximum)
        return value

    def number(
        self, *, minimum: float | None = None, maximum: float | None = None, above: float | None = None
    ) -> float:
        """Return a finite number, at least ``minimum``, at most ``maximum``, and more than ``above``.

        Raises:
            InputError: it is no finite number, or out of range.
        """
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.error(f"expected a number, found {self.kind}")
        try:
            value = float(self.value)
        except OverflowError:
            value = float("inf")
        if value - value != 0:
            raise self.error(f"expected a finite number, found {self.kind}")
        self._check_range(value, minimum, maximum)
        if above is not None and not value > above:
            raise self.error(f"expected a number more than {above:g}, found {self.kind}")
        return value

    def _check_range(self, value: float, minimum: float | None, maximum: float | None) -> None:
        if minimum is not None and value < minimum:
            raise self.error(f"expected at least {minimum}, found {self.kind}")
        if maximum is not None and value > maximum:
            raise self.error(f"expected at most {maximum}, found {self.kind}")

    def plain(self) -> Any:
        """Return the value as plain dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    @cached_property
    def _offsets(self) -> list[int]:
        return _align(self.raw, self.value, self.style) if isinstance(self.value, str) else []

    def place(self, offset: int, width: int = 1) -> Location:
        """Return where ``width`` characters of a text value stand in the source, from the given offset on."""
        offsets = self._offsets
        if not offsets:
            return self.location
        start = self.start + offsets[min(max(offset, 0), len(offsets) - 1)]
        end = self.start + offsets[min(max(offset + width - 1, 0), len(offsets) - 1)] + 1
        return self.source.location(start, max(end, start + 1))


def _align(raw: str, value: str, style: str) -> list[int]:
    """Return, for each character of a scalar's value and for its end, its offset in the text as written."""
    at = 1 if style in ("'", '"') else raw.find("\n") + 1 if style in ("|", ">") else 0
    offsets = []
    for char in value:
        while at < len(raw):
            if raw[at].isspace() and not char.isspace():
                at += 1
            elif style == '"' and raw[at] == "\\" and raw[at + 1 : at + 2] in ("\n", "\r"):
                at += 2
            else:
                break
        offsets.append(min(at, len(raw)))
        found = raw[at : at + 1]
        if style == '"' and found == "\\":
            at += {"x": 4, "u": 6, "U": 10}.get(raw[at + 1 : at + 2], 2)
        elif style == "'" and char == "'":
            at += 2
        elif not char.isspace() or found.isspace():
            at += 1
    return [*offsets, min(at, len(raw))]


def _scalar(event: ScalarEvent, source: Source) -> str | int | float | bool | None:
    """Return a scalar's value: text where quoted, otherwise by YAML 1.2's core schema."""
    text: str = event.value
    if event.style:
        if bad := UNREADABLE.search(text):
            place = source.location(event.start_mark.index, event.end_mark.index)
            raise InputError(f"character U+{ord(bad[0]):04X} cannot be read here", location=place)
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        try:
            return int(text, 0) if text.startswith(("0x", "0o")) else int(text)
        except ValueError:
            place = source.location(event.start_mark.index, event.end_mark.index)
            raise InputError(f"the number '{one_line(text)}' has too many digits", location=place) from None
    return float(text) if _FLOAT.fullmatch(text) else text


@dataclass
class _Open:
    """A mapping or list whose end has not been read yet."""

    value: dict[str, Node] | list[Node]
    source: Source
    start: int
    flow: bool
    end: int
    keys: dict[str, Node] = field(default_factory=dict)
    key: str | None = None

    def add(self, node: Node) -> None:
        self.end = max(self.end, node.end)
        if isinstance(self.value, list):
            self.value.append(node)
        elif self.key is None:
            self.key = self._name(node)
        else:
            self.value[self.key] = node
            self.key = None

    def _name(self, key: Node) -> str:
        if isinstance(key.value, dict | list):
            raise key.error(f"a key must be a word, found {key.kind}")
        name = key.value if isinstance(key.value, str) else key.raw
        if name in self.keys:
            first = self.keys[name].location.line
            raise key.error(f"duplicate key '{one_line(name)}'", f"it is already given on line {first}")
        self.keys[name] = key
        return name

    def close(self, end: int) -> Node:
        return Node(self.value, self.source, self.start, end if self.flow else self.end, keys=self.keys)


def _refuse(event: Event, source: Source, count: int, depth: int) -> None:
    """Raise for the parts of YAML that are not read here."""
    place = source.location(event.start_mark.index, event.end_mark.index)
    if isinstance(event, AliasEvent):
        raise InputError("aliases are not read here", location=place, hint="write the value out")
    if isinstance(event, NodeEvent) and event.anchor is not None:
        raise InputError(f"anchors are not read here, found '&{one_line(event.anchor)}'", location=place)
    if (tag := getattr(event, "tag", None)) is not None:
        raise InputError(f"tags are not read here, found '{one_line(str(tag))}'", location=place)
    if count > MAX_EVENTS:
        raise InputError(f"the text has more than {MAX_EVENTS} values", location=place)
    if depth > MAX_DEPTH:
        raise InputError(f"values are nested more than {MAX_DEPTH} deep", location=place)


def _events(source: Source) -> Iterator[Event]:
    """Yield the events of the text.

    Any exception of the YAML scanner means that the text is at fault: some of its checks are Python errors.
    """
    try:
        yield from YAML(typ="safe", pure=True).parse(source.text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = one_line(error.problem or "it cannot be read", 120)
        place = source.location(mark.index) if mark else Location(source.file)
        raise InputError(f"this is not YAML: {problem}", location=place, hint=_hint(problem, bool(mark))) from None
    except Exception as error:
        first = one_line(str(error).partition("\n")[0], 120)
        raise InputError(f"this is not YAML: {first}", location=Location(source.file)) from None


def _hint(problem: str, marked: bool) -> str:
    """What would be right, by what the YAML scanner ran into."""
    if r"'\t'" in problem:
        return "a tab stands here: indent with spaces"
    if problem.startswith("expected <block end>"):
        return "the keys of one mapping, and the dashes of one list, begin in the same column: look at the indentation"
    return "text that holds ': ', '#', quotes or brackets must be put in quotes" if marked else ""


def _build(source: Source) -> Node:
    root: Node | None = None
    stack: list[_Open] = []
    for count, event in enumerate(_events(source)):
        start, end = event.start_mark.index, event.end_mark.index
        if isinstance(event, DocumentStartEvent) and root is not None:
            raise InputError("expected one document, found a second", location=source.location(start, end))
        if isinstance(event, MappingStartEvent | SequenceStartEvent):
            _refuse(event, source, count, len(stack) + 1)
            is_mapping = isinstance(event, MappingStartEvent)
            stack.append(_Open({} if is_mapping else [], source, start, bool(event.flow_style), end))
            continue
        if isinstance(event, MappingEndEvent | SequenceEndEvent):
            node = stack.pop().close(end)
        elif isinstance(event, NodeEvent):
            _refuse(event, source, count, len(stack))
            assert isinstance(event, ScalarEvent)
            node = Node(_scalar(event, source), source, start, end, event.style or "")
        else:
            continue
        if stack:
            stack[-1].add(node)
        else:
            root = node
    return root if root is not None else Node(None, source, 0, 0)


def parse_yaml(text: str, file: str = "<text>") -> Node:
    """Read a YAML text.

    Args:
        text: the text; ``\\ufeff`` at its start is skipped.
        file: what to call it in errors.

    Raises:
        InputError: it is no YAML, too large or too deeply nested, or uses tags, anchors or aliases.
    """
    text = text.removeprefix("\ufeff")
    if len(text) > MAX_CHARACTERS:
        message = f"the text has {len(text)} characters, more than {MAX_CHARACTERS}"
        raise InputError(message, location=Location(file))
    source = Source(file, text)
    if bad := UNREADABLE.search(text):
        place = source.location(bad.start(), bad.end())
        raise InputError(f"character U+{ord(bad[0]):04X} cannot be read here", location=place)
    return _build(source)
