"""One self-contained HTML page of a table: it needs no network, and forbids itself any.

plotly.js stands in the page. Data from users reach it as JSON in an element that holds no script, and reach
the reader as text only; a content security policy allows the page's own scripts by their SHA-256 and no
connection of any kind.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from einsum_cascades.extras import require
from fusemax.report import columns

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pyarrow import Table

Note = tuple[str, Sequence[str]]
"""A line of plain text, and lines under it."""

SCRIPTS: Final = ("data.js", "front.js", "ticks.js", "plot.js", "filters.js", "table.js", "main.js")
_TEMPLATE: Final = files("fusemax.report") / "template"
_PLACE: Final = re.compile(r"\{\{(\w+)\}\}")
_WIDTHS: Final = ((8, "<u1"), (16, "<u2"), (32, "<u4"))


def build_page(
    name: str,
    data: Mapping[str, Any],
    *,
    summary: str = "",
    notes: Sequence[Note] = (),
    provenance: Sequence[tuple[str, str]] = (),
    spec: str = "",
) -> str:
    """Return the page.

    Args:
        name: the page's title.
        data: what the scripts read: columns, rows, axes, objectives.
        summary: one sentence, as plain text.
        notes: what a reader must know first.
        provenance: what the page was made from and with: name and value.
        spec: the text of what was swept.

    Raises:
        InputError: plotly is not installed.
    """
    require("report", "a report's page")
    from plotly.offline import get_plotlyjs

    plotly = _closed(get_plotlyjs())
    script = "(() => {\n'use strict';\n" + "".join(_read(part) for part in SCRIPTS) + "})();\n"
    places = {
        "title": html.escape(name),
        "style": _read("style.css"),
        "policy": _policy(plotly, script),
        "plotly": plotly,
        "script": script,
        "data": json_text(data),
        "summary": html.escape(summary),
        "notes": f'<div class="note">{_list(notes)}</div>' if notes else "",
        "provenance": _pairs(provenance),
        "spec": f"<h3>Specification</h3><pre>{html.escape(spec)}</pre>" if spec else "",
    }
    return _PLACE.sub(lambda place: places[place[1]], _read("page.html"))


def json_text(data: Mapping[str, Any]) -> str:
    """Return JSON that can stand in an HTML element: nothing in it ends the element or starts a comment."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def encode_columns(table: Table) -> list[dict[str, Any]]:
    """Return a table's columns as plain data, each in the shorter of two ways.

    A column is either the base64 of its float64 values (``data``), or its distinct values (``values``) and
    the base64 of their places (``codes``, unsigned and ``bits`` wide). Nothing is NaN, or null among the
    distinct values.
    """
    return [
        {
            "name": name,
            "title": columns.title(name),
            "unit": columns.unit(name),
            "higher": name in columns.HIGHER_IS_BETTER,
            **(_encode_numbers if columns.is_numeric(table, name) else _encode_texts)(table, name),
        }
        for name in table.column_names
    ]


def _encode_numbers(table: Table, name: str) -> dict[str, Any]:
    found = columns.values(table, name)
    distinct, codes = np.unique(found, return_inverse=True)
    if len(distinct) > max(16, len(found) // 4):
        return {"kind": "number", "data": _base64(found, "<f8")}
    return {"kind": "number", "values": [_number(v) for v in distinct.tolist()], **_encode_codes(codes, len(distinct))}


def _number(value: float) -> float | int | str | None:
    """Return a number as JSON has it: NaN is null, infinity is written out."""
    if value != value:
        return None
    if value in (np.inf, -np.inf):
        return "Infinity" if value > 0 else "-Infinity"
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _encode_texts(table: Table, name: str) -> dict[str, Any]:
    found = columns.texts(table, name)
    distinct = sorted({text for text in found if text is not None})
    places: dict[str | None, int] = {text: place for place, text in enumerate(distinct)}
    values: list[str | None] = [*distinct]
    if None in found:
        places[None] = len(values)
        values.append(None)
    codes = np.array([places[text] for text in found], dtype=np.int64)
    return {"kind": "text", "values": values, **_encode_codes(codes, len(values))}


def _encode_codes(codes: NDArray[np.int64], count: int) -> dict[str, Any]:
    bits, kind = next((bits, kind) for bits, kind in _WIDTHS if count <= 1 << bits)
    return {"bits": bits, "codes": _base64(codes, kind)}


def _base64(array: NDArray[Any], kind: str) -> str:
    return base64.b64encode(array.astype(kind).tobytes()).decode("ascii")


def _policy(*scripts: str) -> str:
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _read(name: str) -> str:
    return (_TEMPLATE / name).read_text(encoding="utf-8")


def _closed(script: str) -> str:
    """Return a script that can stand in a page.

    Line ends are those that a browser hashes; nothing in it ends its element or hides what follows.
    """
    plain = script.replace("\r\n", "\n").replace("\r", "\n")
    return plain.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _list(notes: Sequence[Note]) -> str:
    """Return notes as an HTML list, or nothing."""
    items = "".join(f"<li>{html.escape(text)}{_list([(line, ()) for line in lines])}</li>" for text, lines in notes)
    return f"<ul>{items}</ul>" if items else ""


def _pairs(pairs: Sequence[tuple[str, str]]) -> str:
    """Return names and values of plain text as an HTML description list, or nothing."""
    items = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in pairs)
    return f"<dl>{items}</dl>" if items else ""
