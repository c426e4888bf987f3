"""Results to report: a sweep's folder, finished or not, or one table of results.

Rows whose ``status`` is not ``ok`` have no cost: they are left out and counted with their reasons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from einsum_cascades.errors import InputError
from einsum_cascades.extras import require
from fusemax.report.columns import STATUS, common_reasons
from fusemax.sweep.store import HEADER, open_store
from fusemax.tables import FORMATS, arrow_table, read_arrow, read_table

if TYPE_CHECKING:
    from pyarrow import Table

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
        where: conditions that the rows hold.
        elsewhere: how many rows with a cost do not hold them.
    """

    name: str
    table: Table
    left_out: tuple[tuple[str, int], ...] = ()
    points: int = 0
    done: int = 0
    filtered: int = 0
    spec: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    where: tuple[str, ...] = ()
    elsewhere: int = 0

    @property
    def finished(self) -> bool:
        """Whether every point has been evaluated."""
        return self.done >= self.points


def read_results(path: Path) -> Results:
    """Read a sweep's folder or a table of results.

    Raises:
        InputError: there is none, it is damaged (the file is named), it has no row with a cost, or the extra
            ``report`` is not installed.
    """
    require("report", "a report")
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


def narrow(results: Results, where: Sequence[str]) -> Results:
    """Return the results whose rows hold some conditions.

    Args:
        results: all of them.
        where: such as ``area_mm2 <= 200 and arch == 'flat-cloud'``.

    Raises:
        InputError: one is no condition, or no row holds them all.
    """
    from fusemax.report.where import rows_where

    if not where:
        return results
    rows = rows_where(results.table, where)
    if not len(rows):
        raise InputError(f"no point of '{results.name}' holds {' and '.join(where)}", hint="loosen the conditions")
    gone = results.table.num_rows - len(rows)
    return replace(results, table=results.table.take(rows), where=tuple(where), elsewhere=gone)


def _read_sweep(folder: Path) -> Results:
    import pyarrow as pa

    if not (folder / HEADER).exists():
        tables = sorted(p.name for p in folder.iterdir() if p.suffix in FORMATS)
        raise InputError(
            f"'{folder}' holds no sweep",
            hint=f"give one of its tables: {', '.join(tables[:12])}" if tables else _REPORT,
        )
    store = open_store(folder)
    batches = store.done  # once: a run may be adding to them
    return _results(
        folder.resolve().name,
        pa.concat_tables(store.tables(parts=batches), promote_options="permissive") if batches else pa.table({}),
        points=store.header.points,
        done=sum(map(len, batches)),
        spec=store.text,
        facts=tuple((name, str(value)) for name, value in asdict(store.header).items() if value is not None),
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


def _nothing(results: Results) -> InputError:
    """Return the error for results without a row that has a cost."""
    if results.left_out:
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
