"""``fusemax analyze``: what follows from a cascade alone: passes, footprints, operations, lower bounds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fusemax.cli import options
from fusemax.cli.output import quantity, say, show, table, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from einsum_cascades.ir import Cascade
    from einsum_cascades.traffic import SegmentPlan
    from fusemax.analysis import Analysis

_CURVE_ROWS = 12


def analyze(
    cascade: options.CascadeArgument,
    rank: options.Rank = None,
    sizes: options.Set = None,
    model: options.Model = None,
    hf_config: options.HfConfig = None,
    seq_len: options.SeqLen = None,
    kv_len: options.KvLen = None,
    batch: options.Batch = None,
    heads: options.Heads = None,
    head_dim: options.HeadDim = None,
    value_dim: options.ValueDim = None,
    value_bytes: Annotated[int, typer.Option("--value-bytes", min=1, metavar="N", help="Bytes per value.")] = 2,
    buffer: Annotated[
        str | None,
        typer.Option("--buffer", metavar="BYTES", help="What keeps values on chip, registers too, such as 16MiB."),
    ] = None,
    curve: Annotated[bool, typer.Option("--curve", help="The least traffic against capacity.")] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the curve, into a .png, .pdf or .svg file.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Analyse a cascade: passes and why, live footprints, operations, lower bounds on traffic.

    Without sizes the answer is symbolic. Sizes may be written 8K or 2**13, bytes 256KiB; K and KiB, M and MiB, … are
    powers of 1024, kB, MB, … of 1000.
    """
    import fusemax.analysis
    from einsum_cascades.load import load_cascade
    from einsum_cascades.sizes import read_size

    if plot is not None:
        from fusemax.pictures import checked_place

        checked_place(plot)
    found = load_cascade(cascade)
    workload = {"model": model, "hf_config": hf_config, "seq_len": seq_len, "kv_len": kv_len, "batch": batch}
    workload |= {"heads": heads, "head_dim": head_dim, "value_dim": value_dim}
    known, instances = _sizes(found, workload, options.parse_sizes(sizes or ()))
    analysis = fusemax.analysis.analyze(
        found,
        rank,
        sizes=known,
        instances=instances,
        value_bytes=value_bytes,
        buffer_bytes=read_size(buffer, "bytes") if buffer is not None else None,
        curve=curve or plot is not None,
    )
    files = _draw(analysis, plot) if plot is not None else []
    if json:
        write_json({**analysis.as_dict(), **({"files": [str(f) for f in files]} if files else {})})
        return
    _show(analysis)
    for file in files:
        say(f"written to {file}")


def _sizes(cascade: Cascade, workload: dict[str, Any], sizes: dict[str, int]) -> tuple[dict[str, int], int]:
    """Return the sizes that a workload and single ranks give, and how many copies run."""
    from fusemax.workloads import workload_of

    if all(value is None for value in workload.values()):
        return sizes, 1
    parts = {part for p in cascade.partitions for part in p.parts}
    found = workload_of(cascade, **workload, sizes={r: s for r, s in sizes.items() if r not in parts})
    return {**found.as_dict(), **sizes}, found.instances


def _draw(analysis: Analysis, plot: Path) -> list[Path]:
    from fusemax.pictures import draw_traffic

    return draw_traffic(analysis).save(plot)


def _show(analysis: Analysis) -> None:
    title = f"{analysis.cascade.name}: {analysis.passes} pass{'es' * (analysis.passes != 1)} over {analysis.rank}"
    if analysis.sizes:
        title += f" ({', '.join(f'{r} {n:,}' for r, n in analysis.sizes.items())}; {analysis.value_bytes}-byte values"
        title += f"; {analysis.instances:,} instances)" if analysis.instances > 1 else ")"
    say(title)
    if analysis.chain:
        say("\n".join(f"  {link.text}" for link in analysis.chain))
    show(_stages(analysis), _tensors(analysis), _figures(analysis))
    if analysis.consequences:
        show(_buffer(analysis))
    if analysis.bound is not None:
        bound = analysis.bound
        say(
            f"least traffic with {bound.buffer_bytes:,} bytes on chip, each value computed once: "
            f"{bound.dram_bytes:,} bytes"
        )
        say("\n".join(f"  {_plan(segment)}" for segment in bound.segments))
    if analysis.curve:
        show(_curve(analysis))


def _table(*headings: str) -> Table:
    view = table()
    for number, heading in enumerate(headings):
        view.add_column(heading, justify="right" if number and heading.endswith(("bytes", "values", "M")) else "left")
    return view


def _stages(analysis: Analysis) -> Table:
    view = _table("when", "Einsums that can be fused")
    for stage in analysis.stages:
        view.add_row(stage.name, ", ".join(stage.einsums))
    return view


def _tensors(analysis: Analysis) -> Table:
    view = _table("tensor", "ranks", f"passes over {analysis.rank}", "live values per fiber")
    for found in analysis.footprints:
        live = analysis.footprint(found)
        shown = f"{live:,}" if isinstance(live, int) else str(live)
        ranks = ", ".join(analysis.cascade.ranks_of[found.tensor])
        view.add_row(found.tensor, ranks, str(found.passes), shown)
    return view


def _figures(analysis: Analysis) -> Table:
    view = _table("operations", "")
    for work, number in analysis.operations.items():
        view.add_row(work, f"{number:,}" if isinstance(number, int) else str(number))
    moved, intensity = analysis.compulsory, analysis.intensity
    view.add_row("compulsory traffic", f"{moved:,} bytes" if isinstance(moved, int) else f"{moved} bytes")
    shown = f"{intensity:.4g}" if isinstance(intensity, float) else str(intensity)
    view.add_row("intensity", f"{shown} operations per byte")
    return view


def _buffer(analysis: Analysis) -> Table:
    view = _table("live fiber", "one fiber, bytes", "fits", "when", "kept, bytes", "spilled, bytes")
    for found in analysis.consequences:
        for number, visit in enumerate(found.visits):
            own = (
                (found.tensor, f"{found.fiber_bytes:,}", "yes" if found.fits else "no") if not number else ("", "", "")
            )
            view.add_row(*own, visit.when, f"{visit.kept_bytes:,}", f"{visit.spilled_bytes:,}")
    return view


def _plan(segment: SegmentPlan) -> str:
    names = segment.einsums[0] if len(segment.einsums) == 1 else f"{segment.einsums[0]} to {segment.einsums[-1]}, fused"
    if not segment.fused:
        return f"{', '.join(segment.einsums)}, one by one: {segment.dram_bytes:,} bytes"
    loops = " / ".join(f"{count:,} tiles of {tile:,} {rank}" for rank, tile, count in segment.loops) or "one tile"
    spilled = f", of which {segment.spilled_bytes:,} spilled between passes" if segment.spilled_bytes else ""
    return f"{names}: {loops}; {segment.dram_bytes:,} bytes{spilled}"


def _curve(analysis: Analysis) -> Table:
    view = _table("capacity on chip", "least traffic, bytes", "times compulsory")
    curve, compulsory = analysis.curve, analysis.compulsory
    steps = min(len(curve), _CURVE_ROWS)
    rows = sorted({round(i * (len(curve) - 1) / max(1, steps - 1)) for i in range(steps)})
    for point in (curve[i] for i in rows):
        ratio = point.dram_bytes / int(compulsory)
        view.add_row(quantity(point.buffer_bytes, "B"), f"{point.dram_bytes:,}", f"{ratio:,.2f}")
    return view
