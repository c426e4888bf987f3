"""Tables and lines that fit a width without losing a character.

A table keeps its columns while there is room for the longest word of each: text wraps between words, figures never,
and a number stays with its unit. Where there is less room the rows are stacked, a line for each heading and its value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    Row: TypeAlias = Sequence[Text]

GLUE: Final = "\u00a0"
"""A space at which no line breaks."""

_UNIT: Final = re.compile(r"(?<=\d) (?=[^\W\d_]|%)")
_GAP: Final = 2
_INDENT: Final = 2


def fitted(table: Table, width: int) -> list[RenderableType]:
    """Return a table that is as wide as it may be, with its title and its note: all that was in it, in order.

    Args:
        table: headings, cells, sections; how it is drawn is decided here.
        width: columns of the screen.
    """
    columns = [[glued(cell) for cell in column.cells] for column in table.columns]
    headings = [glued(column.header) if table.show_header else glued("") for column in table.columns]
    figures = [column.justify == "right" for column in table.columns]
    natural = [_widest([heading, *cells]) for heading, cells in zip(headings, columns, strict=True)]
    least = [
        max(_longest_word([heading]), _widest(cells) if whole else _longest_word([heading, *cells]))
        for heading, cells, whole in zip(headings, columns, figures, strict=True)
    ]
    room = width - _GAP - _GAP * (len(columns) - 1)
    if sum(least) > room:
        body = _stacked(table, headings, list(zip(*columns, strict=True)), width)
    else:
        body = _drawn(table, headings, columns, _shared(natural, least, room))
    title, note = _around(table.title, "bold", width), _around(table.caption, "italic", width)
    return [*title, body, *note]


def _around(text: object, style: str, width: int) -> list[RenderableType]:
    if not text:
        return []
    found = wrapped(glued(text), width)
    found.stylize(style)
    return [found]


def wrapped(text: Text, width: int, hanging: int = 0) -> Text:
    """Return text in lines of a width, broken between words and never before a unit; a longer word stays whole.

    Args:
        text: one or more lines; what a line is indented by, all its parts are.
        width: columns.
        hanging: further spaces before all but the first part of a line.
    """
    from rich.text import Text

    lines: list[Text] = []
    for line in text.split("\n", allow_blank=True):
        indent = " " * (len(line.plain) - len(line.plain.lstrip(" ")))
        parts = line.divide(_breaks(line.plain, width, len(indent) + hanging))
        lines.append(parts[0])
        lines += [Text(indent + " " * hanging) + part for part in parts[1:]]
    for line in lines:
        line.rstrip()
    return Text("\n").join(lines)


def glued(cell: object) -> Text:
    """Return a cell as text, brackets and all, in which numbers stay with their units.

    The spaces between them are ``GLUE``, which whoever prints it turns into plain ones.
    """
    from rich.text import Text

    found = cell.copy() if isinstance(cell, Text) else Text(str(cell))
    found.plain = _UNIT.sub(GLUE, found.plain)
    return found


def _words(line: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"[^ ]+", line)]


def _breaks(line: str, width: int, hanging: int) -> list[int]:
    """Return where the parts of a line begin, the first left out."""
    from rich.cells import cell_len

    found: list[int] = []
    start, room = 0, width
    for number, (first, last) in enumerate(_words(line)):
        if number and cell_len(line[start:last]) > room:
            found.append(first)
            start, room = first, width - hanging
    return found


def _widest(cells: Sequence[Text]) -> int:
    from rich.cells import cell_len

    return max((cell_len(line) for cell in cells for line in cell.plain.split("\n")), default=0)


def _longest_word(cells: Sequence[Text]) -> int:
    """Return the width of the longest word, what its line is indented by included."""
    from rich.cells import cell_len

    longest = 0
    for line in (line for cell in cells for line in cell.plain.split("\n")):
        indent = len(line) - len(line.lstrip(" "))
        longest = max([longest, *(indent + cell_len(line[first:last]) for first, last in _words(line))])
    return longest


def _shared(natural: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Return the widths of columns: the widest of those that can give way do, until all fit."""
    widths = list(natural)
    while sum(widths) > room:
        place = max((i for i, w in enumerate(widths) if w > least[i]), key=lambda i: widths[i])
        widths[place] -= 1
    return widths


def _drawn(
    table: Table, headings: Sequence[Text], columns: Sequence[Sequence[Text]], widths: Sequence[int]
) -> RenderableType:
    from rich.table import Table as Drawn

    view = Drawn(box=table.box, show_header=table.show_header, padding=table.padding, pad_edge=table.pad_edge)
    for column, heading, width in zip(table.columns, headings, widths, strict=True):
        view.add_column(wrapped(heading, width), justify=column.justify, style=column.style, width=width, no_wrap=True)
    for number, cells in enumerate(zip(*columns, strict=True)):
        shown = [wrapped(cell, width) for cell, width in zip(cells, widths, strict=True)]
        view.add_row(*shown, end_section=table.rows[number].end_section)
    return view


def _stacked(table: Table, headings: Row, rows: Sequence[Row], width: int) -> RenderableType:
    """Return rows one under the other: each heading with its value, which stands below where there is no room."""
    from rich.text import Text

    names = headings if table.show_header else [row[0] for row in rows if len(row) > 1]
    room = max((len(name.plain) for name in names), default=0)
    blocks = []
    for row in rows:
        pairs = zip(headings, row, strict=True) if table.show_header else ((row[0], cell) for cell in row[1:])
        lines = [_line(name, value, room, width) for name, value in pairs if value.plain]
        blocks.append(Text("\n").join(lines))
    apart = "\n\n" if table.show_header else "\n"
    return Text("\n" if table.show_header else "") + Text(apart).join(blocks)


def _line(name: Text, value: Text, room: int, width: int) -> Text:
    from rich.text import Text

    label = Text(" " + name.plain.replace("\n", " "), style="dim")
    value = glued(value.plain.lstrip(" "))
    beside = 1 + room + _GAP
    if beside + _longest_word([value]) <= width:
        label.append(" " * (beside - len(label.plain)))
        lines = wrapped(value, width - beside).split("\n")
        return label + Text("\n" + " " * beside).join(lines)
    lines = wrapped(value, width - 1 - _INDENT).split("\n")
    indent = "\n" + " " * (1 + _INDENT)
    return label + Text(indent) + Text(indent).join(lines)
