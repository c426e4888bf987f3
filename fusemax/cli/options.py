"""Options that several commands take."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import typer

from einsum_cascades.errors import InputError, Location
from fusemax.cli import completion

_SIZE = re.compile(r"2\*\*(?P<exponent>[0-9]{1,3})|(?P<digits>-?[0-9](?:_?[0-9]){0,99})")
_BYTES = re.compile(r"(?:2\*\*(?P<exponent>[0-9]{1,2})|(?P<digits>[0-9](?:_?[0-9]){0,30}))\s*(?P<unit>[KMG]iB|B)?")
_UNITS = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_EXPECTED = "a whole number from 1 to 2^50 is expected"

WORKLOAD = "Workload: a model, an attention layer's sizes, or the size of each rank"


def size(text: str) -> int:
    """Return a whole number written as ``65536``, ``65_536`` or ``2**16``.

    Raises:
        typer.BadParameter: it is none.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"'{text[:60]}' is no size: {_EXPECTED}")
    return 1 << int(match["exponent"]) if match["exponent"] else int(match["digits"])


def byte_count(text: str) -> int:
    """Return a number of bytes written as ``16777216``, ``2**24`` or ``16MiB``.

    Raises:
        InputError: it is none.
    """
    match = _BYTES.fullmatch(text.strip())
    if match is None:
        raise InputError(f"'{text[:60]}' is no number of bytes", hint="write a whole number, 2**24, or 16MiB")
    number = 1 << int(match["exponent"]) if match["exponent"] else int(match["digits"])
    return number * _UNITS[match["unit"] or ""]


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
Mapper = Annotated[
    str,
    typer.Option("--mapper", metavar="NAME", help="The mapping strategy.", autocompletion=completion.mappers),
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
    typer.Option("--set-arch", metavar="KEY=VALUE", help="Change a value of the machine, such as array_2d.rows=128."),
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
    ),
]
SeqLen = Annotated[
    int | None, typer.Option("--seq-len", parser=size, metavar="N", help="Queries, P.", rich_help_panel=WORKLOAD)
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
    typer.Option("--set", metavar="RANK=SIZE", help="The size of any rank.", rich_help_panel=WORKLOAD),
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
            number = size(written)
        except typer.BadParameter as error:
            place = Location("--set", 1, text.index("=") + 2, shown, max(1, len(shown)))
            raise InputError(f"'{written[:60]}' is no size", location=place, hint=_EXPECTED) from error
        if sizes.setdefault(rank, number) != number:
            raise InputError(f"rank {rank[:60]} is given two sizes", hint="give one of them")
    return sizes
