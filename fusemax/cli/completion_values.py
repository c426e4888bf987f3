"""What the Tab key offers where it depends on what stands before: ranks, keys of the machine, columns of results.

As in ``completion.py`` nothing more than the standard library is imported: files are looked through as text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import typer

from fusemax.cli.completion import matching, packaged_file

_COSTS: Final = ("read_j", "write_j", "leak_w", "area_mm2")
_WORK: Final = ("mac", "add", "max", "exp", "divide")
_LINK: Final = tuple(
    f"link.{key}" for key in ("multicast", "reduction", "bandwidth_bytes_per_s", "hop_j_per_byte", "mesh")
)
_TIMING: Final = (
    *("clock_hz", "channels", "groups", "banks", "row_bytes", "burst_bytes"),
    *(f"t_{name}" for name in ("bl", "ccd_l", "cl", "cwl", "rcd", "rp", "ras", "rrd_s", "rrd_l", "faw", "rtp", "wr")),
    *(f"t_{name}" for name in ("wtr_s", "wtr_l", "rtw", "rfc", "refi")),
)
HEAD_KEYS: Final = (
    *("frequency_hz", "technology_nm", "overlap"),
    *(f"bits.{role}" for role in ("inputs", "accumulators", "outputs")),
)
NODE_KEYS: Final = {
    "memory": (
        *_COSTS,
        *("bytes", "row_values", "width_bits", "bandwidth_bytes_per_s", "read_bytes_per_s", "write_bytes_per_s"),
        *("double_buffered", "banks", "ports", "table", "cells", "component", "priced_as", "energy_j_per_byte"),
        *_LINK,
    ),
    "home": ("latency_s", "timing.preset", *(f"timing.{figure}" for figure in _TIMING)),
    "array": (
        "registers",
        *(f"register_file.{cost}" for cost in _COSTS),
        *(
            f"units.{work}.{part}"
            for work in _WORK
            for part in ("component", "actions", "cycles", "depth", "energy_j", "area_mm2")
        ),
        *("fill", "drain", "clocked"),
        *_LINK,
    ),
}
"""Keys of a spatial array and of each kind of its nodes, of which files leave out most; ``home`` is off chip."""
COLUMNS: Final = (
    *("latency_s", "energy_j", "dram_bytes", "buffer_bytes", "area_mm2", "util_2d", "util_1d", "passes", "bound"),
    "status",
)
"""Columns that every sweep's results have."""
_DESCRIPTIONS: Final = ("kind", "name", "title", "device", "measured", "citation", "products", "value_bits")
_LINE: Final = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z_]\w*): *(?P<value>[^#\n]*)", re.MULTILINE)
_INNER: Final = re.compile(r"(\w+):")
_RANKS: Final = re.compile(r"\[([^\]]*)\]")
_SPLIT: Final = re.compile(r"(\w+): *\[([^\]]*)\]")


def ranks(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the ranks of the cascade that stands before."""
    return matching(incomplete, _ranks(ctx))


def rank_sizes(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the ranks of the cascade that stands before, each with an equals sign."""
    return matching(incomplete, [f"{rank}=" for rank in _ranks(ctx)])


def machine_keys(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the keys of the machine that stands before, each with an equals sign."""
    arch = ctx.params.get("arch")
    text = _text("hw_models/machines", arch) if isinstance(arch, str) else ""
    if not text:
        return []
    stated = re.search(r"^kind: *[\"']?([\w-]+)", text, re.MULTILINE)
    spatial = stated is None or stated[1] == "spatial-array"
    keys = tuple(_spatial_keys(text) if spatial else _keys(text))
    return matching(incomplete, [f"{key}=" for key in keys])


def columns(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the columns of the results that stand before; of a list with commas the last is completed."""
    done, comma, last = incomplete.rpartition(",")
    known = next(filter(None, map(_columns, _before(ctx, "source"))), [])
    return [f"{done}{comma}{name}" for name in matching(last, known)]


def _before(ctx: typer.Context, argument: str) -> Iterator[str | Path]:
    """What an argument may be: as parsed, or, where an option without its value ends the parsing, any word typed."""
    if isinstance(given := ctx.params.get(argument), str | Path):
        yield given
    typed = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
    yield from (word for word in typed.split()[2:-1] if not word.startswith("-"))


def _text(folder: str, name: str | Path) -> str:
    """The text of a file that comes with the package, or of one of the user's; empty if there is none."""
    try:
        path = packaged_file(folder, str(name)) or Path(name)
        return path.read_text(encoding="utf-8") if path.is_file() and path.stat().st_size < 2**20 else ""
    except (OSError, UnicodeError):
        return ""


def _block(text: str, key: str) -> str:
    """What stands under a key of the top level."""
    found = re.search(rf"^{key}:(.*(?:\n(?:[ #-].*)?)*)", text, re.MULTILINE)
    return found[1] if found else ""


def _ranks(ctx: typer.Context) -> list[str]:
    texts = (_text("einsum_cascades/library", name) for name in _before(ctx, "cascade"))
    text = next(filter(None, texts), "")
    named = re.findall(r"\w+", " ".join(_RANKS.findall(_block(text, "declaration"))))
    split = {whole: re.findall(r"\w+", parts) for whole, parts in _SPLIT.findall(_block(text, "partition"))}
    parts = {part for found in split.values() for part in found}
    return sorted({*named, *split} - parts)


def _keys(text: str) -> Iterator[str]:
    """The dotted keys of a machine's file that have a value."""
    above: list[tuple[int, str]] = []
    for line in _LINE.finditer(text):
        indent, key, value = len(line["indent"]), line["key"], line["value"].strip()
        above = [(at, name) for at, name in above if at < indent]
        dotted = ".".join([*(name for _, name in above), key])
        if value.startswith("{"):
            yield from (f"{dotted}.{inner}" for inner in _INNER.findall(value))
        elif not value:
            above.append((indent, key))
        elif above or key not in _DESCRIPTIONS:
            yield dotted


def _spatial_keys(text: str) -> Iterator[str]:
    """The dotted keys of a spatial array: its head's, its nodes', and the dimensions that they have."""
    yield from HEAD_KEYS
    body = _block(text, "nodes")
    for node in re.finditer(r"^  (\w+):(.*(?:\n(?:    .*| *#.*)?(?=\n|$))*)", body, re.MULTILINE):
        kind = re.search(r"\bkind: *(\w+)", node[2])
        lengths = re.search(r"\bdimensions: *\{([^}]*)\}", node[2])
        dimensions = _INNER.findall(lengths[1]) if lengths else ()
        own = NODE_KEYS.get(kind[1] if kind else "", ())
        home = () if re.search(r"\bin: *\w", node[2]) else NODE_KEYS["home"]
        yield from (f"{node[1]}.{key}" for key in (*dimensions, *own, *home))


def _columns(source: str | Path) -> list[str]:
    """The columns of a sweep's folder or of a CSV file."""
    path = Path(source)
    if path.is_dir():
        axes = re.findall(r"^  ([\w.]+):", _block(_text("", path / "sweep.yaml"), "axes"), re.MULTILINE)
        return [*axes, *COLUMNS] if axes else []
    if path.suffix == ".csv" and path.is_file():
        with path.open(encoding="utf-8", errors="replace") as file:
            return [name.strip('"') for name in file.readline(10_000).strip().split(",")]
    return []
