"""The text of a loop tree: one node to a line, children indented; what is printed parses back to an equal tree.

    split M0 256
    for M step 256
      keep BK, BV in global_buffer
        for P step 1 over array_2d.columns
          keep RM (state) in array_1d
            seq
              compute BQK on array_2d
              late 1
                compute RM on array_1d

After the memory of a ``keep`` may stand, in brackets, ``double``, ``31/32 of it`` or ``in place of QK``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from einsum_cascades.errors import InputError, Location, nearest
from einsum_cascades.loops.tree import (
    Compute,
    Hold,
    Last,
    Late,
    Loop,
    LoopTree,
    Node,
    Parallel,
    Pipeline,
    Sequential,
    children,
)
from einsum_cascades.sizes import as_size

MOST_LINES = 10_000
MOST_DEPTH = 200
_INDENT = "  "
_WORDS = ("for", "keep", "seq", "par", "pipe", "late", "last", "compute", "split")
_SEVERAL: dict[str, Callable[[tuple[Node, ...]], Node]] = {"seq": Sequential, "par": Parallel, "pipe": Pipeline}
_NAME = r"[A-Za-z_][A-Za-z0-9_@#]*"
_FORMS = {
    "for": re.compile(rf"for\s+(?P<rank>{_NAME}(?:\*{_NAME})*)\s+step\s+(?P<tile>\S+)(?:\s+over\s+(?P<over>\S+))?"),
    "keep": re.compile(r"keep\s+(?P<tensors>.+?)\s+in\s+(?P<memory>[^\s()]+)(?:\s*\((?P<how>[^()]*)\))?"),
    "late": re.compile(r"late\s+(?P<by>[0-9]{1,3})"),
    "last": re.compile(rf"last\s+(?P<rank>{_NAME})"),
    "compute": re.compile(rf"compute\s+(?P<einsum>{_NAME})\s+on\s+(?P<unit>\S+)"),
    "split": re.compile(rf"split\s+(?P<part>{_NAME})\s+(?P<tile>\S+)"),
}
_LIKE = {
    "for": "for M step 256, or for M step 1 over array_2d.rows",
    "keep": "keep K in global_buffer, or keep RM (state) in global_buffer (double)",
    "late": "late 1",
    "last": "last M",
    "compute": "compute BQK on array_2d",
    "split": "split M0 256",
}
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_TENSOR = re.compile(rf"(?P<name>{_NAME}'?)(?:\s*\((?P<state>state)\))?")
_PART = re.compile(r"(?P<part>[0-9]+/[0-9]+) of it")
_PLACE = re.compile(rf"in place of (?P<place>{_NAME})")


class TextLine(NamedTuple):
    """A line of a tree's text: the node that it says, or holds of several tensors that one says together."""

    depth: int
    text: str
    nodes: tuple[Node, ...]


def to_text(tree: LoopTree) -> str:
    """Return the text of a tree, which parses back to it."""
    lines = [f"split {part} {size}" for part, size in tree.split]
    lines += [found.depth * _INDENT + found.text for found in text_lines(tree.body)]
    return "\n".join(lines) + "\n"


def text_lines(node: Node) -> Iterator[TextLine]:
    """Yield the lines of a node's text, in tree order."""
    waiting = [(node, 0)]
    while waiting:
        here, depth = waiting.pop()
        together = [here]
        while isinstance(here, Hold) and isinstance(here.body, Hold) and _how_kept(here) == _how_kept(here.body):
            here = here.body
            together.append(here)
        yield TextLine(depth, _keep(together) if isinstance(here, Hold) else line(here), tuple(together))
        waiting += [(child, depth + 1) for child in reversed(children(here))]


def line(node: Node) -> str:
    """Return the line of one node."""
    match node:
        case Loop():
            return f"for {node.rank} step {node.tile}" + (f" over {node.over}" if node.over else "")
        case Hold():
            return _keep([node])
        case Late():
            return f"late {node.by}"
        case Last():
            return f"last {node.rank}"
        case Compute():
            return f"compute {node.einsum} on {node.unit}"
    return {Sequential: "seq", Parallel: "par", Pipeline: "pipe"}[type(node)]


def _keep(holds: Sequence[Node]) -> str:
    """The line of holds that one keeps in another, all in one memory and in one way."""
    kept = [hold for hold in holds if isinstance(hold, Hold)]
    tensors = ", ".join(hold.tensor + " (state)" * hold.state for hold in kept)
    memory, how = _how_kept(kept[0])
    return f"keep {tensors} in {memory}" + (f" ({how})" if how else "")


def _how_kept(hold: Hold) -> tuple[str, str]:
    how = ["double"] if hold.double else []
    how += [f"{hold.part} of it"] if hold.part != 1 else []
    how += [f"in place of {hold.place}"] if hold.place else []
    return hold.memory, ", ".join(how)


@dataclass(frozen=True)
class _Line:
    indent: int
    text: str
    place: Callable[[int, int], Location]
    word: str

    def fault(self, message: str, hint: str = "", start: int = 0, width: int | None = None) -> InputError:
        return InputError(message, location=self.place(self.indent + start, width or len(self.text)), hint=hint)


def parse_tree(text: str, source: str = "mapping", first_line: int = 1, first_column: int = 1) -> LoopTree:
    """Return the tree that a text describes.

    Args:
        source: what the text is called in errors.
        first_line, first_column: where it stands in its file.

    Raises:
        InputError: it is no tree; the error points at the cause.
    """
    lines = list(_read(text, source, first_line, first_column))
    if not lines:
        raise InputError("the mapping is empty", hint="a tree such as 'compute BQK on array_2d' is expected")
    split = []
    while lines and lines[0].word == "split":
        found = _match(lines[0])
        split.append((found["part"], _size(lines[0], found)))
        lines.pop(0)
    nodes, rest = _block(lines, 0, -1)
    if rest < len(lines):
        raise lines[rest].fault("this stands further left than the line that it belongs to")
    if len(nodes) != 1:
        where = lines[0] if lines else _Line(0, "", lambda *_: Location(source, first_line), "")
        raise where.fault("a tree has one root", "say seq, par or pipe above, and indent what it runs")
    return LoopTree(nodes[0], tuple(split))


def _read(text: str, source: str, first_line: int, first_column: int) -> Iterator[_Line]:
    rows = text.splitlines()
    if len(rows) > MOST_LINES:
        raise InputError(f"a mapping of {len(rows):,} lines", hint=f"at most {MOST_LINES:,} are read")
    for number, row in enumerate(rows):
        body = _COMMENT.sub("", row).rstrip()
        stripped = body.lstrip(" ")
        if not stripped:
            continue
        shown = row

        def place(start: int, width: int, number: int = number, shown: str = shown) -> Location:
            column = first_column + start
            return Location(
                source, first_line + number, column, text=" " * (first_column - 1) + shown, width=max(1, width)
            )

        here = _Line(len(body) - len(stripped), stripped, place, stripped.split()[0])
        if "\t" in body:
            raise here.fault("a tab stands in this line", "indent with spaces")
        if here.word not in _WORDS:
            raise here.fault(f"'{here.word}' is no node", nearest(here.word, _WORDS), width=len(here.word))
        if here.indent > 2 * MOST_DEPTH * len(_INDENT):
            raise here.fault("nodes are nested too deeply")
        yield here


def _block(lines: list[_Line], start: int, outside: int) -> tuple[list[Node], int]:
    """Read the nodes that stand deeper than ``outside``, all at one depth."""
    found: list[Node] = []
    place = start
    while place < len(lines) and lines[place].indent > outside:
        here = lines[place]
        if here.indent != lines[start].indent:
            raise here.fault("this stands deeper than the line before allows", "align it with its siblings")
        node, place = _node(lines, place)
        found.append(node)
    return found, place


def _node(lines: list[_Line], place: int) -> tuple[Node, int]:
    here = lines[place]
    if here.indent > MOST_DEPTH * len(_INDENT):
        raise here.fault("nodes are nested too deeply", f"at most {MOST_DEPTH} deep")
    below, after = _block(lines, place + 1, here.indent)
    if here.word == "split":
        raise here.fault("'split' stands inside the tree", "it stands before it, at the beginning")
    if here.word in _SEVERAL:
        if here.text != here.word:
            raise here.fault(f"'{here.word}' stands alone on its line", "what it runs is indented below it")
        if not below:
            raise here.fault(f"'{here.word}' runs nothing", "indent what it runs below it")
        return _SEVERAL[here.word](tuple(below)), after
    found = _match(here)
    if here.word == "compute":
        if below:
            raise lines[place + 1].fault("nothing stands inside a compute", "move it out by one step")
        return Compute(found["einsum"], found["unit"], here.place(here.indent, len(here.text))), after
    if len(below) != 1:
        at = lines[place + 1] if below else here
        message = f"'{here.word}' has {len(below) or 'no'} children, one is expected"
        raise at.fault(
            message, "say seq, par or pipe below it, and indent what it runs" if below else "indent its body"
        )
    return _around(here, found, below[0]), after


def _around(here: _Line, found: re.Match[str], body: Node) -> Node:
    at = here.place(here.indent, len(here.text))
    if here.word == "for":
        return Loop(found["rank"], _size(here, found), body, found["over"], at)
    if here.word == "late":
        return Late(int(found["by"]), body, at)
    if here.word == "last":
        return Last(found["rank"], body, at)
    how = _how(here, found)
    for text in reversed(found["tensors"].split(",")):
        tensor = _TENSOR.fullmatch(text.strip())
        if tensor is None:
            start = here.text.index(text)
            raise here.fault(
                f"'{text.strip()}' is no tensor to keep", "as in: keep RM (state), K in global_buffer", start, len(text)
            )
        body = Hold(tensor["name"], found["memory"], body, bool(tensor["state"]), *how, location=at)
    return body


def _how(here: _Line, found: re.Match[str]) -> tuple[bool, Fraction, str | None]:
    double, part, place = False, Fraction(1), None
    for text in (found["how"] or "").split(","):
        word = text.strip()
        if not word and not found["how"]:
            continue
        if word == "double":
            double = True
        elif (match := _PART.fullmatch(word)) and int(match["part"].split("/")[1]):
            part = Fraction(match["part"])
        elif match := _PLACE.fullmatch(word):
            place = match["place"]
        else:
            raise here.fault(
                f"'{word}' is no way to keep a tensor",
                "double, 31/32 of it, in place of QK",
                here.text.index("(", here.text.rindex(" in ")),
            )
    if not 0 < part <= 1:
        raise here.fault(f"{part} of it is kept", "a part between 0 and 1 is expected")
    return double, part, place


def _match(here: _Line) -> re.Match[str]:
    found = _FORMS[here.word].fullmatch(here.text)
    if found is None:
        raise here.fault(f"this is no '{here.word}'", f"as in: {_LIKE[here.word]}")
    return found


def _size(here: _Line, found: re.Match[str]) -> int:
    start = found.start("tile")
    try:
        return as_size(found["tile"], "a step")
    except InputError as error:
        raise here.fault(error.message, error.hint, start, len(found["tile"])) from None
