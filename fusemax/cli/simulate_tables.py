"""What ``fusemax simulate`` prints: what happened, and with ``--compare`` how it differs from the engine and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from fusemax.cli.evaluate import ARRAYS, part_text, sizes_text, workload_text
from fusemax.cli.output import percent, quantity, table
from fusemax.simulation.account import ENTRIES, MEANINGS, REASONS, CycleAccount
from fusemax.simulation.differences import Difference

if TYPE_CHECKING:
    from rich.table import Table

    from fusemax.simulation.on_numbers import Checked
    from fusemax.simulation.simulated import Simulation

_DIFFERENCES_SHOWN = 12


def summary(found: Simulation) -> list[Table]:
    """Return what happened."""
    return [_overview(found), _figures(found), _times(found), _ports(found), _room(found)]


def comparison(found: Simulation) -> list[Table]:
    """Return engine beside simulation, the differences by cause."""
    tables = [_account(found), _einsums(found), _traffic(found), _energy(found), _rooms(found)]
    return [*tables, _differences(found.differences)] if found.differences else tables


def _overview(found: Simulation) -> Table:
    row = found.evaluation.as_dict()
    view = table(f"{row['cascade']} on {row['arch']}, executed", header=False)
    view.add_column(style="dim")
    view.add_column()
    facts = {
        "mapper": row["mapper"],
        "accounting": row["accounting"],
        "workload": workload_text(row),
        "tiles": sizes_text(row["tiles"]) or "none",
        **_run_once(found),
        **({} if found.on_numbers is None else _on_numbers(found.on_numbers)),
    }
    for label, value in facts.items():
        view.add_row(label, value)
    return view


def _run_once(found: Simulation) -> dict[str, str]:
    skips = found.timed.skips
    turns = f"{found.timed.turns:,} tasks, transfers and entries"
    if not skips:
        return {"run one by one": f"{turns}: all"}
    stretches = Counter(skip.rank for skip in skips)
    alike = Counter[str]()
    for skip in skips:
        alike[skip.rank] += skip.iterations
    said = [
        f"{alike[rank]:,} iterations of {rank}" + f" in {times:,} stretches" * (times > 1)
        for rank, times in stretches.items()
    ]
    left_out = sum(skip.end - skip.begin for skip in skips)
    share = _share(left_out, found.cycles)
    return {"run one by one": turns, "proven to repeat": f"{', '.join(said)}: {share} of the cycles"}


def _on_numbers(checked: Checked) -> dict[str, str]:
    result = "the interpreter's" if checked.right else "not the interpreter's"
    counts = "accesses, points and room are the engine's"
    if checked.differences:
        counts = "not the engine's: " + "; ".join(map(_difference, checked.differences[:_DIFFERENCES_SHOWN]))
        if len(checked.differences) > _DIFFERENCES_SHOWN:
            counts += f"; and {len(checked.differences) - _DIFFERENCES_SHOWN:,} more"
    return {
        "on numbers": f"{checked.points:,} points, {checked.checked_reads:,} reads that found their value",
        "result": f"{result}, largest error {checked.max_error:.2g}",
        "counts": counts,
    }


def _difference(one: Difference) -> str:
    return f"{one.what}: {one.simulated:,}, the engine says {one.engine:,}"


def _figures(found: Simulation) -> Table:
    cost = found.evaluation.cost
    rows: dict[str, tuple[float, float, Callable[[float], str]]] = {
        "cycles": (found.cycles, found.engine_cycles, lambda n: f"{n:,}"),
        "latency": (found.timed.latency_s, cost.latency_s, lambda n: quantity(n, "s")),
        "energy": (float(found.energy.total_j), float(cost.energy_j), lambda n: quantity(n, "J")),
        "off-chip traffic": (int(found.activity.dram_bytes), int(cost.dram_bytes), lambda n: quantity(n, "B")),
    }
    view = table()
    view.add_column("", no_wrap=True)
    view.add_column("simulated", justify="right")
    view.add_column("engine", justify="right")
    view.add_column("ratio", justify="right")
    for label, (simulated, engine, text) in rows.items():
        view.add_row(label, text(simulated), text(engine), _ratio(simulated, engine))
    return view


def _ratio(simulated: float, engine: float) -> str:
    if simulated == engine:
        return "equal"
    return f"{simulated / engine:.4f}" if engine else "-"


def _share(cycles: float, whole: int) -> str:
    """Return a share as a percentage that is 0 or 100 only if it is."""
    said = percent(cycles / max(whole, 1))
    if said == "0.0 %" and cycles:
        return "< 0.1 %"
    return "> 99.9 %" if said == "100.0 %" and cycles != whole else said


def _name(node: str) -> str:
    return ARRAYS.get(node, node)


def _times(found: Simulation) -> Table:
    """By array, the share of the time in which it works, and waits for each cause."""
    accounts = {one.array: one.simulated for one in found.accounts}
    view = table()
    view.add_column("share of the time in which it", no_wrap=True)
    arrays = [array.name for array in found.evaluation.architecture.arrays]
    for array in arrays:
        view.add_column(_name(array), justify="right")
    for entry in ENTRIES:
        cycles = [accounts[array][entry] for array in arrays]
        if entry == "works" or any(cycles):
            view.add_row(MEANINGS[entry], *(_share(n, found.cycles) for n in cycles))
    stalled = [cause for cause in REASONS if any(one[cause] for one in accounts.values())]
    view.caption = " ".join(REASONS[cause] for cause in stalled)
    return view


def _ports(found: Simulation) -> Table:
    view = table()
    view.add_column("port or link", no_wrap=True)
    view.add_column("works", justify="right")
    for name, cycles in found.timed.port_cycles.items():
        view.add_row(name, _share(float(cycles), found.cycles))
    return view


def _room(found: Simulation) -> Table:
    view = table()
    view.add_column("memory, one instance", no_wrap=True)
    view.add_column("keeps room for", justify="right")
    view.add_column("holds at most", justify="right")
    view.add_column("has", justify="right")
    machine = found.evaluation.architecture
    for one in found.rooms:
        room = machine.levels[one.memory].capacity_bits
        has = "no limit" if room is None else quantity(room // 8, "B")
        has += ", not held to it" * (room is not None and one.simulated - one.ahead > room)
        keeps, holds = (quantity(-(-bits // 8), "B") for bits in (one.simulated - one.ahead, one.simulated))
        view.add_row(one.memory, keeps, holds, has)
    return view


def _account(found: Simulation) -> Table:
    """Where the cycles of the array go that idles least."""
    least = found.accounts[0]
    view = table()
    view.add_column(f"cycles in which the {_name(least.array)}", no_wrap=True)
    for heading in ("engine", "simulated", "difference"):
        view.add_column(heading, justify="right")
    shown = [e for e in ENTRIES if e == "works" or least.engine[e] or least.simulated[e]]
    for entry in shown:
        said, ran = least.engine[entry], least.simulated[entry]
        view.add_row(MEANINGS[entry], f"{said:,}", f"{ran:,}", _signed(ran - said), end_section=entry == shown[-1])
    view.add_row("all", f"{found.engine_cycles:,}", f"{found.cycles:,}", _signed(found.cycles - found.engine_cycles))
    view.caption = _remarks(found, least)
    return view


def _remarks(found: Simulation, least: CycleAccount) -> str:
    """What the causes do not say by themselves."""
    begin, name = found.begins.get(least.array, 0), _name(least.array)
    said = [
        f"The {name} begins at cycle {begin:,}, and the last result has arrived {least.simulated['over']:,} after its "
        "last task."
    ]
    if least.ends:
        said.append(f"Of what the engine says it waits, {least.ends:,} are first and last epochs of pipelines.")
    return " ".join(said)


def _signed(number: int) -> str:
    return f"{number:+,}" if number else "0"


def _einsums(found: Simulation) -> Table:
    view = table()
    view.add_column("Einsum", no_wrap=True)
    view.add_column("array", no_wrap=True)
    for heading in ("tasks", "cycles, engine", "simulated", "difference"):
        view.add_column(heading, justify="right")
    for row in found.per_einsum():
        said, ran = row["engine"], row["simulated"]
        view.add_row(
            row["einsum"], _name(row["array"]), f"{row['tasks']:,}", f"{said:,}", f"{ran:,}", _signed(ran - said)
        )
    return view


def _traffic(found: Simulation) -> Table:
    view = table()
    view.add_column("bytes to and from", no_wrap=True)
    for heading in ("engine", "simulated", "difference"):
        view.add_column(heading, justify="right")
    for memory in found.evaluation.architecture.memories:
        said, ran = (int(x.bytes_of(memory.name)) for x in (found.evaluation.activity, found.activity))
        view.add_row(memory.name, f"{said:,}", f"{ran:,}", _signed(ran - said))
    if not found.differences:
        view.caption = "Each access is the engine's, to the value: by node, tensor and kind."
    return view


def _energy(found: Simulation) -> Table:
    view = table()
    view.add_column("energy", no_wrap=True)
    for heading in ("engine", "simulated", "difference"):
        view.add_column(heading, justify="right")
    engine, simulated = found.evaluation.cost.energy, found.energy
    arrays = [array.name for array in found.evaluation.architecture.arrays]
    for part, said in engine.parts_j.items():
        ran = simulated.parts_j[part]
        if said or ran:
            view.add_row(part_text(part, arrays), *_joules(float(said), float(ran)))
    view.rows[-1].end_section = True
    view.add_row("all", *_joules(float(engine.total_j), float(simulated.total_j)))
    if not found.differences and engine.parts_j != simulated.parts_j:
        view.caption = "Accesses and operations are the same: what differs goes with the time, as leakage does."
    return view


def _joules(said: float, ran: float) -> tuple[str, str, str]:
    more = ran - said
    return quantity(said, "J"), quantity(ran, "J"), f"{'+' * (more > 0)}{quantity(more, 'J')}" if more else "0"


def _rooms(found: Simulation) -> Table:
    view = table()
    view.add_column("bytes held", no_wrap=True)
    for heading in ("engine", "copies", "overlap", "ahead", "simulated"):
        view.add_column(heading, justify="right")
    for one in found.rooms:
        parts = (one.copies, one.overlap, one.ahead)
        view.add_row(one.memory, _bytes(one.engine), *(_signed_bytes(n) for n in parts), _bytes(one.simulated))
    view.caption = (
        "Copies: of what passes between stages of a pipeline, which the accounting leaves out. Overlap: of "
        "neighbouring iterations; less, where not all is there at once. Ahead: tiles that come before their use, or "
        "leave after it; less, where room is kept for one that comes late."
    )
    return view


def _bytes(bits: int) -> str:
    return f"{bits / 8:,.10g}"


def _signed_bytes(bits: int) -> str:
    return f"{bits / 8:+,.10g}" if bits else "0"


def _differences(found: tuple[Difference, ...]) -> Table:
    view = table()
    view.add_column("not the engine's")
    view.add_column("engine", justify="right")
    view.add_column("simulated", justify="right")
    for one in found[:_DIFFERENCES_SHOWN]:
        view.add_row(one.what, f"{one.engine:,}", f"{one.simulated:,}")
    if len(found) > _DIFFERENCES_SHOWN:
        view.caption = f"And {len(found) - _DIFFERENCES_SHOWN:,} more, which --json has."
    return view
