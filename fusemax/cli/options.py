"""Options that several commands take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import typer

from einsum_cascades.errors import InputError, Location
from einsum_cascades.sizes import read_size
from fusemax.cli import completion, completion_values

WORKLOAD = "Workload: a model, an attention layer's sizes, or the size of each rank"


def size(text: str) -> int:
    """Return a count written as ``65536``, ``2**16`` or ``64K``.

    Raises:
        typer.BadParameter: it is none.
    """
    try:
        return read_size(text)
    except InputError as error:
        raise typer.BadParameter(f"{error.message}: {error.hint}") from None


Cascade = Annotated[
    str,
    typer.Option("--cascade", metavar="NAME|FILE", help="The algorithm.", autocompletion=completion.cascades),
]
CascadeArgument = Annotated[
    str,
    typer.Argument(metavar="CASCADE", help="Name in the library, or a file.", autocompletion=completion.cascades),
]
Arch = Annotated[
    str,
    typer.Option("--arch", metavar="NAME|FILE", help="The machine.", autocompletion=completion.architectures),
]
OptionalCascade = Annotated[
    str | None,
    typer.Option(
        "--cascade",
        metavar="NAME|FILE",
        help="The algorithm; a mapping's file may name it.",
        autocompletion=completion.cascades,
    ),
]
OptionalArch = Annotated[
    str | None,
    typer.Option(
        "--arch",
        metavar="NAME|FILE",
        help="The machine; a mapping's file may name it.",
        autocompletion=completion.architectures,
    ),
]
OptionalMapper = Annotated[
    str | None,
    typer.Option("--mapper", metavar="NAME", help="What makes the mapping.", autocompletion=completion.mappers),
]
OptionalAccounting = Annotated[
    str | None,
    typer.Option(
        "--accounting",
        metavar="published|physical",
        help="Count as the published evaluation did, slips included (if not given), or as the hardware would.",
        autocompletion=completion.accountings,
    ),
]
Objective = Annotated[
    str,
    typer.Option(
        "--objective",
        metavar="latency|energy|edp|pareto",
        help="What is to be least; edp is energy times latency, pareto all of latency, energy and bytes on chip.",
        autocompletion=completion.objectives,
    ),
]
Mapping = Annotated[
    str | None,
    typer.Option("--mapping", metavar="FILE", help="A mapping of your own, in place of --mapper."),
]
Accounting = Annotated[
    str,
    typer.Option(
        metavar="published|physical",
        help="Count as the published evaluation did, slips included, or as the hardware would.",
        autocompletion=completion.accountings,
    ),
]
SetArch = Annotated[
    list[str] | None,
    typer.Option(
        "--set-arch",
        metavar="KEY=VALUE",
        help="Change a value of the machine, such as global_buffer.bytes=8MiB.",
        autocompletion=completion_values.machine_keys,
    ),
]
USUAL_FIGURES: Final = "png,pdf"
Figures = Annotated[
    str,
    typer.Option(
        "--format", metavar="png|pdf|svg,...", help="Formats of the figures.", autocompletion=completion.figures
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|FILE",
        help="A model, with --seq-len.",
        rich_help_panel=WORKLOAD,
        autocompletion=completion.models,
    ),
]
HfConfig = Annotated[
    str | None,
    typer.Option(
        "--hf-config",
        metavar="FILE",
        help="A Hugging Face config.json, with --seq-len.",
        rich_help_panel=WORKLOAD,
        autocompletion=completion.configs,
    ),
]
SeqLen = Annotated[
    int | None,
    typer.Option(
        "--seq-len", parser=size, metavar="N", help="Queries, P, such as 4096 or 8K.", rich_help_panel=WORKLOAD
    ),
]
KvLen = Annotated[
    int | None,
    typer.Option(
        "--kv-len", parser=size, metavar="N", help="Keys, M; as many as queries if not given.", rich_help_panel=WORKLOAD
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        "--batch", parser=size, metavar="N", help="Sequences, B; the model's, or 1.", rich_help_panel=WORKLOAD
    ),
]
Heads = Annotated[
    int | None, typer.Option("--heads", parser=size, metavar="N", help="Heads, H.", rich_help_panel=WORKLOAD)
]
HeadDim = Annotated[
    int | None,
    typer.Option(
        "--head-dim", parser=size, metavar="N", help="Size of a query and a key, E.", rich_help_panel=WORKLOAD
    ),
]
ValueDim = Annotated[
    int | None,
    typer.Option(
        "--value-dim", parser=size, metavar="N", help="Size of a value, F; E if not given.", rich_help_panel=WORKLOAD
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="RANK=SIZE",
        help="The size of any rank, such as M=8K.",
        rich_help_panel=WORKLOAD,
        autocompletion=completion_values.rank_sizes,
    ),
]
Rank = Annotated[
    str | None,
    typer.Option(
        "--rank",
        metavar="RANK",
        help="The rank whose passes count; the one with most if not given.",
        autocompletion=completion_values.ranks,
    ),
]
Causal = Annotated[
    bool, typer.Option("--causal", help="Mask later keys, where the cascade can.", rich_help_panel=WORKLOAD)
]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="NAME",
        help="Type of the values.",
        rich_help_panel=WORKLOAD,
        autocompletion=completion.dtypes,
    ),
]


def parse_sizes(settings: Sequence[str]) -> dict[str, int]:
    """Return rank sizes given as ``["N=4096", "D=2**10"]``.

    Raises:
        InputError: one is not ``RANK=SIZE`` with a whole number, or a rank is given two sizes.
    """
    sizes: dict[str, int] = {}
    for text in settings:
        rank, _, written = (part.strip() for part in text.partition("="))
        shown = text[:200]
        if not rank or not written:
            place = Location("--set", 1, 1, shown, max(1, len(shown)))
            raise InputError("a rank and its size are expected", location=place, hint="write --set RANK=SIZE")
        try:
            number = read_size(written)
        except InputError as error:
            raise error.at(Location("--set", 1, text.index("=") + 2, shown, max(1, len(shown)))) from None
        if sizes.setdefault(rank, number) != number:
            raise InputError(f"rank {rank[:60]} is given two sizes", hint="give one of them")
    return sizes
