"""The tables of ``fusemax map``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusemax.cli.evaluate import bound_text, views
from fusemax.cli.output import byte_size, percent, quantity, table
from fusemax.mapped.found import UNITS
from fusemax.mapped.gains import Gain

if TYPE_CHECKING:
    from rich.table import Table

    from fusemax.mapped.explanation import Explanation
    from fusemax.mapped.found import Mapped

INDENT = "  "


def tables(found: Mapped) -> list[Table]:
    """Return what a search found: its cost, the bound, and of several mappings or cascades each."""
    shown = [*views(found.evaluation.as_dict()), _search(found)]
    if found.objective.name == "pareto":
        shown.append(_front(found))
    if len(found.searches) > 1:
        shown.append(_cascades(found))
    if (told := found.explanation) is not None:
        shown += [_memories(told), _phases(told, found), _gains(told, found)]
    return shown


def notes(found: Mapped) -> list[str]:
    """Return what is said below the tables: how good the answer is, which rewrites it takes, and its tree."""
    lines = [_proven(found)]
    if found.rewrites:
        lines.append(f"derived from {found.given.name}:")
        lines += [f"{INDENT}{step.rewrite.describe()}" for step in found.rewrites]
    elif len(found.searches) > 1:
        lines.append("no cascade that rewrites derive is better")
    return lines


def _proven(found: Mapped) -> str:
    space = "the stated space" if len(found.searches) == 1 else f"the stated spaces of {len(found.searches)} cascades"
    if found.gap is None:
        return f"how far from the best in {space} is not known"
    if found.optimal:
        return f"optimal in {space}"
    return f"at most {percent(found.gap)} from the best in {space}"


def _search(found: Mapped) -> Table:
    view, unit = table(header=False), UNITS[found.objective.name]
    view.add_column(style="dim")
    view.add_column()
    view.add_row("objective", found.objective.name)
    view.add_row("least", quantity(found.value, unit))
    view.add_row("lower bound", quantity(found.lower_bound, unit) if found.lower_bound else "not known")
    view.add_row("gap", "not known" if found.gap is None else percent(found.gap))
    view.add_row("trees costed", f"{found.evaluated:,}, {found.evaluated / max(found.seconds, 1e-9):,.0f} per second")
    view.add_row("boxes pruned", f"{found.pruned:,}")
    view.add_row("time", quantity(found.seconds, "s"))
    return view


def _front(found: Mapped) -> Table:
    view, several = table(), len(found.searches) > 1
    for heading in ("mapping", "latency", "energy", "most on chip"):
        view.add_column(heading, justify="right")
    if several:
        view.add_column("cascade")
    for number, one in enumerate(found.found, 1):
        latency, energy, held = one.figures
        cells = [str(number), quantity(latency, "s"), quantity(energy, "J"), quantity(held, "B")]
        view.add_row(*cells, *([one.evaluation.cascade.name] if several else []))
    return view


def _cascades(found: Mapped) -> Table:
    view, unit = table(), UNITS[found.objective.name]
    view.add_column("cascade")
    view.add_column("latency" if found.objective.name == "pareto" else found.objective.name, justify="right")
    view.add_column("bound", justify="right")
    view.add_column("")
    best = found.found[0].search
    for search in found.searches:
        value = quantity(search.best(found.objective), unit) if search.mappings else "none"
        bound = "" if search.refused else quantity(search.lower_bound, unit)
        said = "best" if search is best else "cannot win" if search.skipped else ""
        view.add_row(search.cascade.name, value, bound, said)
    return view


def _memories(told: Explanation) -> Table:
    view = table()
    view.add_column("memory", no_wrap=True)
    view.add_column("holds at most, of one instance", justify="right")
    view.add_column("has", justify="right")
    view.add_column("used", justify="right")
    for use in told.memories:
        has = "no limit" if use.capacity_bytes is None else byte_size(use.capacity_bytes)
        used = percent(use.held_bytes / use.capacity_bytes) if use.capacity_bytes else ""
        view.add_row(use.memory, byte_size(use.held_bytes), has, used)
    return view


def _phases(told: Explanation, found: Mapped) -> Table:
    view, row = table(), found.evaluation.as_dict()
    view.add_column("phase")
    view.add_column("latency", justify="right")
    view.add_column("share", justify="right")
    view.add_column("bound by")
    for phase in told.phases:
        bound = bound_text(phase.bound, row)
        view.add_row(", ".join(phase.einsums), quantity(phase.latency_s, "s"), percent(phase.share), bound)
    return view


def _gains(told: Explanation, found: Mapped) -> Table:
    name = "latency" if found.objective.name == "pareto" else found.objective.name
    view, unit = table(), UNITS[name]
    view.add_column("one more", no_wrap=True)
    view.add_column(name, justify="right")
    view.add_column("change", justify="right")
    view.add_column("by")
    for gain in told.gains:
        value = "" if gain.value is None else quantity(gain.value, unit)
        change = "" if gain.change is None else f"{100 * gain.change:+.2f} %"
        view.add_row(_change(gain), value, change, gain.by)
    view.caption = (
        f"the mapping costed on the changed machine, or another that a search of {told.searched_s:,.1f} s found there"
    )
    return view


def _change(gain: Gain) -> str:
    key, last = gain.key, gain.key.rpartition(".")[2]
    if last == "bytes":
        return f"{key}={quantity(gain.after, 'B').replace(' ', '')}"
    if last.endswith("bytes_per_s"):
        return f"{key}={gain.after / 1e9:,.4g}e9"
    return f"{key}={gain.after:g}"


def tree_lines(told: Explanation) -> list[str]:
    """Return the tree as a mapping's file has it, with its sizes as comments."""
    return [INDENT * line.depth + line.text + (f"  # {line.note}" if line.note else "") for line in told.tree]
