"""Results to report: a sweep's folder, finished or not, or one table of results.

A sweep's folder holds ``points/part-<start>-<stop>.parquet``, each with the rows of the points from start
to before stop, and beside them ``sweep.json`` and ``sweep.yaml``, which tell what was swept. Rows whose
``status`` is not ``ok`` have no cost: they are left out and counted with their reasons.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from einsum_cascades.errors import InputError, Location
from fusemax.report.columns import STATUS
from fusemax.tables import FORMATS, arrow_table, read_arrow, read_table

if TYPE_CHECKING:
    from pyarrow import Table

_PART: Final = re.compile(r"part-([0-9]{12,18})-([0-9]{12,18})\.parquet")
_REPORT: Final = "a report needs the folder of a sweep, or a table of results (.parquet or .csv)"


@dataclass(frozen=True)
class Results:
    """Rows with a cost, and what became of the others.

    Attributes:
        name: what the results are called.
        table: the rows with a cost.
        left_out: reason and number of the rows without a cost.
        points: how many points there are to evaluate.
        done: how many of them have been evaluated.
        filtered: how many of those the sweep's own filters left out.
        spec: the sweep's canonical text, or nothing.
        facts: what else is known of the sweep: name and value.
    """

    name: str
    table: Table
    left_out: tuple[tuple[str, int], ...] = ()
    points: int = 0
    done: int = 0
    filtered: int = 0
    spec: str = ""
    facts: tuple[tuple[str, str], ...] = ()

    @property
    def finished(self) -> bool:
        """Whether every point has been evaluated."""
        return self.done >= self.points


def read_results(path: Path) -> Results:
    """Read a sweep's folder or a table of results.

    Raises:
        InputError: there is none, it is damaged (the file is named), or it has no row with a cost.
    """
    if path.is_dir():
        results = _read_sweep(path)
    elif path.exists() or path.suffix in FORMATS:
        table = read_arrow(path) if path.suffix == ".parquet" else arrow_table(read_table(path))
        results = _results(path.stem, table, points=table.num_rows, done=table.num_rows)
    else:
        raise InputError(f"there is no '{path}'", hint=_REPORT)
    if not results.table.num_rows:
        raise _nothing(results)
    return results


def _read_sweep(folder: Path) -> Results:
    parts = sorted((folder / "points").glob("part-*.parquet"))
    facts = _read_facts(folder / "sweep.json")
    if not parts and not facts:
        tables = sorted(p.name for p in folder.iterdir() if p.suffix in FORMATS)
        raise InputError(
            f"'{folder}' holds no sweep",
            hint=f"give one of its tables: {', '.join(tables[:12])}" if tables else _REPORT,
        )
    done = _covered(parts)
    table = _join(parts)
    points = facts.get("points")
    return _results(
        folder.resolve().name,
        table,
        points=points if isinstance(points, int) else done,
        done=done,
        spec=_read_text(folder / "sweep.yaml"),
        facts=tuple((str(k), str(v)) for k, v in facts.items() if isinstance(v, str | int | float) and v != ""),
    )


def _results(name: str, table: Table, *, points: int, done: int, **others: Any) -> Results:
    """Return results, the rows without a cost counted by their reasons and left out."""
    filtered = max(0, done - table.num_rows)
    left_out: tuple[tuple[str, int], ...] = ()
    if STATUS in table.column_names:
        import pyarrow.compute as pc

        status = pc.fill_null(table.column(STATUS).cast("string"), "no status")
        counts = pc.value_counts(status).to_pylist()
        left_out = tuple((c["values"], c["counts"]) for c in counts if c["values"] != "ok")
        table = table.filter(pc.equal(status, "ok")).drop_columns([STATUS])
    return Results(name, table, left_out, points, done, filtered, **others)


def _join(parts: Sequence[Path]) -> Table:
    """Return the rows of all parts in order.

    Raises:
        InputError: a part is damaged, or has other columns than the first.
    """
    import pyarrow as pa

    tables = []
    for part in parts:
        try:
            tables.append(read_arrow(part))
        except InputError as error:
            raise InputError(error.message, location=error.location, hint=_mend(part)) from error
        if tables[-1].column_names != tables[0].column_names:
            raise InputError(f"'{part}' has other columns than '{parts[0].name}'", hint=_mend(part))
    try:
        return pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})
    except pa.ArrowException as error:
        raise InputError(f"the parts beside '{parts[0]}' have columns of different types: {error}") from error


def _mend(part: Path) -> str:
    return f"delete {part.name} and run the sweep again: it evaluates what is missing"


def _covered(parts: Sequence[Path]) -> int:
    """Return how many points the parts' names say they hold."""
    ranges = sorted((int(m[1]), int(m[2])) for p in parts if (m := _PART.fullmatch(p.name)))
    covered = end = 0
    for start, stop in ranges:
        covered += max(0, stop - max(start, end))
        end = max(end, stop)
    return covered


def _read_facts(path: Path) -> dict[str, Any]:
    text = _read_text(path)
    if not text:
        return {}
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 0)
        raise InputError(f"this is no JSON: {str(error)[:120]}", location=Location(str(path), line)) from error
    if not isinstance(facts, dict):
        raise InputError("a JSON object is expected", location=Location(str(path)))
    return facts


def _read_text(path: Path) -> str:
    """Return a file's text, nothing if it is not there."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read this file: {error}", location=Location(str(path))) from error


def _nothing(results: Results) -> InputError:
    """Return the error for results without a row that has a cost."""
    if results.left_out:
        from fusemax.report.columns import common_reasons

        total = sum(n for _, n in results.left_out)
        reasons = "; ".join(f"{n:,} times: {reason}" for reason, n in common_reasons(results.left_out, 5))
        return InputError(f"none of the {total:,} points of '{results.name}' has a cost", hint=reasons)
    if results.filtered:
        return InputError(
            f"the filters of '{results.name}' leave out all {results.filtered:,} points that were evaluated",
            hint="loosen its filters, or let the sweep go on",
        )
    return InputError(
        f"'{results.name}' has no points yet: 0 of {results.points:,} are evaluated",
        hint="let 'fusemax sweep' evaluate some",
    )
