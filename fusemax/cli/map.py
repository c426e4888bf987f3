"""``fusemax map``: the best mapping of a cascade on a spatial array, with a bound that says how good it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fusemax.cli import options
from fusemax.cli.output import percent, quantity, say, show, status_line, write, write_json
from fusemax.cli.workload_options import takes_workload

if TYPE_CHECKING:
    from fusemax.evaluation import Asked
    from fusemax.mapped.found import Mapped, Progress

NEVER: Final = float("inf")
Rewrite = Annotated[bool, typer.Option("--rewrite", help="Also search all cascades that rewrites derive from it.")]
TimeLimit = Annotated[
    float, typer.Option("--time-limit", metavar="S", min=0, help="Seconds; then the best so far is taken.")
]
Explain = Annotated[
    bool, typer.Option("--explain", help="Show where time and room go, and what more of the machine would buy.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="Write the mapping; of a Pareto front FILE-1, FILE-2, ..., the fastest first. A cascade that rewrites "
        "derived is written beside it, as FILE-cascade.",
    ),
]
Certificate = Annotated[
    Path | None,
    typer.Option("--certificate", metavar="FILE", help="Write what was costed and left out, as a proof to check."),
]


@takes_workload
def map_(
    cascade: options.Cascade,
    arch: options.Arch,
    workload: Any,
    objective: options.Objective = "latency",
    rewrite: Rewrite = False,
    time_limit: TimeLimit = 60.0,
    explain: Explain = False,
    out: Out = None,
    certificate: Certificate = None,
    causal: options.Causal = False,
    dtype: options.Dtype = None,
    accounting: options.OptionalAccounting = None,
    set_arch: options.SetArch = None,
    json: options.Json = False,
) -> None:
    """Search for the best mapping on a spatial array, and prove how good it is.

    The stated space holds the trees of all presets, and all ways to cut the
    cascade into segments, each fused or phase by phase. No mapping of it is better
    than the lower bound: where the best meets it, that is optimal; else the gap
    says by how much it may be off. With --rewrite that holds for all cascades.

    Ctrl-C takes the best mapping so far, with exit status 130.

    --explain searches machines with one more MiB of each memory, GB/s of each
    bandwidth, and row, column or lane of each array: it takes as long again.
    """
    from fusemax.evaluation import Asked
    from fusemax.mapped.run import MAPPER, mapped
    from fusemax.tables import check_file

    for path in filter(None, (out, certificate)):
        check_file(path)
    asked = Asked(cascade, arch, MAPPER, None, workload, accounting, set_arch or (), causal, dtype)
    with _progress(objective, time_limit) as progress:
        found = mapped(asked, objective, rewrite=rewrite, explain=explain, time_limit_s=time_limit, progress=progress)
    written = [] if out is None else _write(found, out)
    written += [] if certificate is None else _certificate(found, asked, certificate)
    if json:
        write_json(found.as_dict())
    else:
        _show(found, written)
    if found.interrupted is not None:
        found.interrupted.add_note("what is shown is the best so far" + ", without a certificate" * bool(certificate))
        raise found.interrupted


def _show(found: Mapped, written: list[Path]) -> None:
    from fusemax.cli.map_tables import notes, tables, tree_lines

    show(*tables(found))
    say("\n".join(notes(found)))
    if found.explanation is not None:
        write("\n" + "\n".join(tree_lines(found.explanation)))
    for path in written:
        say(f"written to {path}")


@contextmanager
def _progress(objective: str, limit_s: float) -> Iterator[Progress | None]:
    """Show on a terminal what a search has found so far."""
    with status_line() as line:
        yield None if line is None else _told(line, objective, limit_s)


def _told(line: Callable[[str], None], objective: str, limit_s: float) -> Progress:
    from fusemax.mapped.found import UNITS

    unit, start = UNITS.get(objective, ""), time.monotonic()
    ended: dict[str, int] = {}

    def tell(cascade: str, best: float, bound: float, costed: int) -> None:
        ended[cascade] = costed
        seconds, trees = time.monotonic() - start, sum(ended.values())
        known = best < NEVER
        parts = [
            cascade,
            f"best {quantity(best, unit)}" if known else "no mapping yet",
            f"bound {quantity(bound, unit)}",
            *([f"gap {percent(max(0.0, 1 - bound / best))}"] if known and best else []),
            f"{trees:,} trees costed",
            f"{trees / max(seconds, 1e-3):,.0f} per second",
            f"{seconds:,.0f} of {limit_s:,.0f} s",
        ]
        line(", ".join(parts))

    return tell


def _write(found: Mapped, out: Path) -> list[Path]:
    """Write the mappings, and the cascades that rewrites derived."""
    from fusemax.mapped.found import cascade_file
    from fusemax.tables import write_atomically

    several = found.objective.name == "pareto"
    written = []
    for number, one in enumerate(found.found, 1):
        path = out.with_name(f"{out.stem}-{number}{out.suffix}") if several else out
        write_atomically(path, found.mapping_file(one, path).encode())
        written.append(path)
        if one.search.steps:
            write_atomically(cascade_file(path), str(one.evaluation.cascade).encode())
            written.append(cascade_file(path))
    return written


def _certificate(found: Mapped, asked: Asked, path: Path) -> list[Path]:
    """Write the proof of the winning cascade's search, if nothing interrupted the searches."""
    from einsum_cascades.loops.tree import INSTANCES
    from fusemax.tables import unwritable

    best = found.found[0]
    if best.search.answer is None or found.interrupted is not None:
        return []
    from mappers.search.certificate import write_certificate

    overrides = dict(text.partition("=")[::2] for text in asked.overrides)
    workload = found.evaluation.workload
    question = {
        "cascade": str(found.cascade) if found.rewrites else asked.cascade_name,
        "library": None,
        "arch": asked.machine_name,
        "set_arch": {key.strip(): value.strip() for key, value in overrides.items()},
        "accounting": found.evaluation.accounting.name,
        "sizes": {**workload.as_dict(), INSTANCES: workload.instances},
        "objective": found.objective.name,
    }
    try:
        write_certificate(best.search.answer, question, path)
    except OSError as error:
        raise unwritable(path, error) from error
    return [path]
