"""``fusemax sweep``: evaluate all points of a design space into a folder that can be resumed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fusemax.cli import completion, options
from fusemax.cli.output import quantity, write, write_json
from fusemax.cli.signals import kept

if TYPE_CHECKING:
    from rich.progress import Progress

    from fusemax.sweep.best import Best
    from fusemax.sweep.runner import Outcome, Plan

_WORKLOADS_SHOWN = 6
_OBJECTIVES = {"latency_s": "latency", "energy_j": "energy", "edp_js": "EDP"}


class OnChange(StrEnum):
    """What to do if the folder holds another sweep."""

    REFUSE = "refuse"
    RESTART = "restart"


def sweep(
    spec: Annotated[
        str,
        typer.Argument(
            metavar="NAME|SPEC.yaml",
            help="Axes, filters, and what is evaluated; a file, or a study that comes with the package.",
            autocompletion=completion.studies,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the rows go, as a Parquet dataset.")],
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=4096, metavar="N", help="Processes; one a core if not given.")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", metavar="ADDRESS", help="Run on the workers of a Dask scheduler instead."),
    ] = None,
    batch_points: Annotated[
        int | None,
        typer.Option(
            "--batch-points",
            parser=options.size,
            metavar="N",
            help="Points that are written at a time, in a new DIR, such as 1M.",
        ),
    ] = None,
    on_change: Annotated[
        OnChange, typer.Option("--on-change", help="If DIR holds another sweep: refuse, or discard it and restart.")
    ] = OnChange.REFUSE,
    json: options.Json = False,
) -> None:
    """Evaluate a design space into DIR; run again to resume.

    Each batch of points is on the disk, whole, before it counts as done: a run that was stopped, killed or out of
    disk goes on where it was. What is found damaged is named, set aside and made anew.

    On a cluster: fusemax sweep space.yaml --out space --scheduler tcp://10.0.0.1:8786
    """
    from einsum_cascades.errors import InputError
    from fusemax.sweep.best import best
    from fusemax.sweep.runner import run

    if workers and scheduler:
        raise InputError("--workers and --scheduler are both given", hint="a cluster has the workers it has")
    if batch_points is not None and batch_points < 1:
        raise InputError(f"--batch-points is {batch_points}", hint="a whole number of 1 or more is expected")
    watcher = _watcher(quiet=json)
    with kept(lambda: _kept(out)):
        with watcher:
            outcome = run(
                spec,
                out,
                workers=workers,
                scheduler=scheduler,
                batch_points=batch_points,
                on_change=on_change.value,
                watcher=watcher,
            )
        found = best(outcome.store)
    if json:
        write_json(_report(outcome, found))
    else:
        _show(outcome, found)


def _kept(out: Path) -> str:
    """Return what is in a folder, and how to go on."""
    from einsum_cascades.errors import InputError
    from fusemax.sweep.store import open_store

    try:
        store = open_store(out)
        there = f"{store.points_done:,} of {store.header.points:,} points are in {out}"
    except InputError:
        there = f"no point is in {out} yet"
    return f"{there}; the same command goes on from there"


def _watcher(*, quiet: bool) -> Any:
    """Return what shows the plan, warnings, and on a terminal the progress."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TaskProgressColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    from fusemax.sweep.runner import Watcher

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f} points/s" if speed else "")

    class Shown(Watcher):
        bar: Progress | None = None

        def __enter__(self) -> None:
            if sys.stderr.isatty():
                columns = BarColumn(), MofNCompleteColumn(), TaskProgressColumn(), Rate(), TimeRemainingColumn()
                self.bar = Progress(*columns, console=Console(stderr=True), transient=True)

        def __exit__(self, *_: object) -> None:
            if self.bar is not None:
                self.bar.stop()

        def planned(self, plan: Plan) -> None:
            if not quiet:
                write(_plan_text(plan))
                sys.stdout.flush()
            if self.bar is not None:
                self.bar.start()
                self.task = self.bar.add_task("", total=plan.points, completed=plan.done)

        def advanced(self, points: int) -> None:
            if self.bar is not None:
                self.bar.advance(self.task, points)

        def warned(self, text: str) -> None:
            typer.echo(f"warning: {text}", err=True)

    return Shown()


def _plan_text(plan: Plan) -> str:
    done = (
        f", {plan.done:,} of them done before; the rest takes"
        if plan.done
        else "; they take"
        if plan.points > 1
        else "; it takes"
    )
    hands = f"{plan.workers} worker{'s' * (plan.workers != 1)}"
    about = f"about {duration(plan.estimate_s)}" if plan.estimate_s >= 1 else "under a second"
    return f"{_points(plan.points)}{done} {about} on {hands}"


def _points(count: int) -> str:
    return f"{count:,} point{'s' * (count != 1)}"


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * (count != 1)}"


def duration(seconds: float) -> str:
    """Return a time as people say it: ``3.2 s``, ``4 min 10 s``, ``2 d 7 h``."""
    if seconds < 0.95:
        return f"{1000 * seconds:.0f} ms"
    if round(seconds) < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days:,} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _report(outcome: Outcome, found: Best) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    header = outcome.store.header
    return {
        "out": str(outcome.store.folder),
        "points": header.points,
        "rows": found.rows,
        "status": dict(found.status),
        "seed": header.seed,
        "computed": outcome.computed,
        "recomputed_files": [str(path) for path in outcome.recomputed],
        "workers": outcome.plan.workers if outcome.plan else 0,
        "estimated_s": outcome.plan.estimate_s if outcome.plan else 0.0,
        "elapsed_s": outcome.elapsed_s,
        "best": [
            {"objective": objective, "workload": dict(zip(found.workload_axes, key, strict=True)), **row}
            for key, points in found.points.items()
            for objective, row in points.items()
        ],
    }


def _show(outcome: Outcome, found: Best) -> None:
    store = outcome.store
    made = "all was done before"
    if outcome.computed:
        rate = outcome.computed / outcome.elapsed_s
        made = f"{_points(outcome.computed)} in {duration(outcome.elapsed_s)}, {rate:,.0f} points/s"
    write(f"{made}; {store.folder} holds {_rows(found.rows)} of {_points(store.header.points)}")
    for status, count in found.status.most_common():
        if status != "ok":
            write(f"  {count:,} without a cost: {status}")
    for workload in list(found.points)[:_WORKLOADS_SHOWN]:
        write(_best_text(found, workload))
    if len(found.points) > _WORKLOADS_SHOWN:
        write(f"and {len(found.points) - _WORKLOADS_SHOWN:,} workloads more, which --json has")


def _best_text(found: Best, workload: tuple[Any, ...]) -> str:
    """Return the best points for a workload: their figures, and where they are."""
    points = found.points[workload]
    chosen = [axis for axis in found.axes if axis not in found.workload_axes]
    lines = [f"best for {_values(found.workload_axes, workload)}" if workload else "best of all"]
    for point, row in {row["point"]: row for row in points.values()}.items():
        least = ", ".join(_OBJECTIVES[name] for name, other in points.items() if other["point"] == point)
        lines.append(f"  least {least}: {_figures(row)} (point {point:,})")
        lines += [f"    {_values(chosen, [row[axis] for axis in chosen])}"] if chosen else []
    return "\n".join(lines)


def _figures(row: dict[str, Any]) -> str:
    """Return latency, energy and area, as far as the machine's model knows them."""
    shown = {"latency_s": "s", "energy_j": "J", "area_mm2": "mm²"}
    known = {name: row[name] for name in shown if row[name] is not None and row[name] == row[name]}
    return ", ".join(
        f"{value:,.4g} mm²" if shown[name] == "mm²" else quantity(value, shown[name]) for name, value in known.items()
    )


def _values(names: Sequence[str], values: Sequence[Any]) -> str:
    return " ".join(f"{name}={_value(value)}" for name, value in zip(names, values, strict=True))


def _value(value: Any) -> str:
    if value is None or value != value:
        return "-"
    if isinstance(value, float):  # so are integers, in a column with gaps
        return str(int(value)) if value.is_integer() else f"{value:.4g}"
    return str(value)
