"""``fusemax evaluate``: what one cascade costs on one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fusemax.cli import options
from fusemax.cli.output import percent, quantity, show, write_json

if TYPE_CHECKING:
    from rich.table import Table

BOUNDS = {
    "spatial-array": {
        "memory": "off-chip traffic",
        "2d": "cycles of the 2D array",
        "1d": "cycles of the 1D array",
    },
    "cpu": {
        "products": "matrix products",
        "exp": "exponentials",
        "vector": "other vector operations",
        "memory": "the memory hierarchy",
        "overhead": "overhead and idle threads",
    },
    "gpu": {
        "tensor": "matrix products",
        "exp": "special functions",
        "vector": "other vector operations",
        "shared": "shared memory",
        "memory": "L2 cache and memory",
        "latency": "latencies and idle multiprocessors",
        "launch": "kernel launches",
    },
}
UNITS = {"array_2d": "2D", "array_1d": "1D", "products": "products", "vector": "vector"}
PARTS = {
    "products": "matrix products",
    "exp": "exponentials",
    "vector": "other vector operations",
    "tensor": "matrix products",
    "shared": "shared memory",
    "latency": "latencies",
    "waves": "idle multiprocessors",
    "launch": "launches",
}


def evaluate(
    cascade: options.Cascade,
    arch: options.Arch,
    mapper: options.Mapper,
    model: options.Model = None,
    hf_config: options.HfConfig = None,
    seq_len: options.SeqLen = None,
    kv_len: options.KvLen = None,
    batch: options.Batch = None,
    heads: options.Heads = None,
    head_dim: options.HeadDim = None,
    value_dim: options.ValueDim = None,
    sizes: options.Set = None,
    causal: options.Causal = False,
    dtype: options.Dtype = None,
    accounting: options.Accounting = "published",
    set_arch: options.SetArch = None,
    json: options.Json = False,
) -> None:
    """Evaluate a cascade on a machine: latency, energy, traffic, utilisation, area.

    On a GPU, --set also takes scalars that a mask depends on, such as the width of
    a window; without its value such a mask leaves nothing out.

    Sizes may be written 8K or 2**13, bytes 256KiB; K and KiB, M and MiB, … are
    powers of 1024, kB, MB, … of 1000.
    """
    import fusemax.evaluation

    found = fusemax.evaluation.evaluate(
        cascade,
        arch,
        mapper,
        model=model,
        hf_config=hf_config,
        seq_len=seq_len,
        kv_len=kv_len,
        batch=batch,
        heads=heads,
        head_dim=head_dim,
        value_dim=value_dim,
        sizes=options.parse_sizes(sizes) if sizes else None,
        accounting=accounting,
        set_arch=set_arch or (),
        causal=causal,
        dtype=dtype,
    ).as_dict()
    if json:
        write_json(found)
    elif found["kind"] == "gpu":
        show(_overview(found, _gpu_rows(found)), _parts(found), _einsums(found))
    elif found["kind"] == "cpu":
        show(_overview(found, _cpu_rows(found)), _parts(found), _einsums(found))
    else:
        show(_overview(found, _spatial_rows(found)), _energy(found), _einsums(found))


def _table(title: str = "", *, header: bool = True) -> Table:
    from rich import box
    from rich.table import Table

    return Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD if header else None,
        show_header=header,
        pad_edge=not header,
    )


def _overview(found: dict[str, Any], rows: dict[str, str]) -> Table:
    from rich.text import Text

    view = _table(f"{found['cascade']} on {found['arch']}", header=False)
    view.add_column(no_wrap=True, style="dim")
    view.add_column()
    for label, value in rows.items():
        view.add_row(label, Text(value))
    return view


def _workload(found: dict[str, Any]) -> str:
    sizes = {"B": found["batch"], "H": found["heads"], **found["sizes"]}
    named = f"{found['model']}: " if found["model"] else ""
    return named + _sizes(sizes) + f"; {8 * found['value_bytes']}-bit values"


def _spatial_rows(found: dict[str, Any]) -> dict[str, str]:
    outside = {"extrapolated": "costs of " + ", ".join(found["extrapolated"])} if found["extrapolated"] else {}
    return {
        "mapper": found["mapper"],
        "accounting": found["accounting"],
        "workload": _workload(found),
        "tiles": _sizes(found["tiles"]) or "none",
        "latency": quantity(found["latency_s"], "s"),
        "energy": quantity(found["energy_j"], "J"),
        "off-chip traffic": _bytes(found["dram_bytes"]),
        "peak live in buffer": _bytes(found["buffer_bytes"]),
        "chip area": f"{found['area_mm2']:,.4g} mm²",
        **outside,
        "2D array used": percent(found["util_2d"]),
        "1D array used": percent(found["util_1d"]),
        "passes": str(found["passes"]),
        "bound by": BOUNDS[found["kind"]][found["bound"]],
    }


def _cpu_rows(found: dict[str, Any]) -> dict[str, str]:
    return {
        "mapper": found["mapper"],
        "workload": _workload(found) + ("; causal" if found["causal"] else ""),
        "threads": str(found["threads"]),
        "tiles": _sizes(found["tiles"]),
        "latency": quantity(found["latency_s"], "s"),
        "energy": "not known",
        "off-chip traffic": _bytes(found["dram_bytes"]) + ", from cold caches",
        "working tiles": _bytes(found["buffer_bytes"]) + ", all threads",
        "passes": str(found["passes"]),
        "bound by": BOUNDS[found["kind"]][found["bound"]],
    }


def _gpu_rows(found: dict[str, Any]) -> dict[str, str]:
    return {
        "mapper": found["mapper"],
        "workload": _workload(found)
        + f" ({found['dtype']})"
        + "; causal" * found["causal"]
        + "".join(f"; {name} {value:,}" for name, value in found["scalars"].items()),
        "kernel": found["kernel"],
        "tiles": _sizes(found["tiles"]),
        "latency": quantity(found["latency_s"], "s"),
        "energy": "not known",
        "off-chip traffic": _bytes(found["dram_bytes"]),
        "working tiles": _bytes(found["buffer_bytes"]) + ", all multiprocessors",
        "passes": str(found["passes"]),
        "bound by": BOUNDS[found["kind"]][found["bound"]],
    }


def _parts(found: dict[str, Any]) -> Table:
    view = _table()
    view.add_column("latency", no_wrap=True)
    view.add_column("", justify="right", no_wrap=True)
    view.add_column("share", justify="right", no_wrap=True)
    for part, seconds in found["parts_s"].items():
        if seconds:
            waits = part in ("L1", "L2", "L3", "memory", "HBM")
            label = f"waiting for {part}" if waits else PARTS.get(part, part)
            view.add_row(label, quantity(seconds, "s"), percent(seconds / found["latency_s"]))
    return view


def _energy(found: dict[str, Any]) -> Table:
    view = _table()
    view.add_column("energy", no_wrap=True)
    view.add_column("", justify="right", no_wrap=True)
    view.add_column("share", justify="right", no_wrap=True)
    for part, joules in found["energy_parts_j"].items():
        if joules:
            view.add_row(part.replace("_", " "), quantity(joules, "J"), percent(joules / found["energy_j"]))
    return view


def _einsums(found: dict[str, Any]) -> Table:
    counts_cycles = found["kind"] == "spatial-array"
    headings = ("cycles", "share of the array") if counts_cycles else ("share of the latency",)
    view = _table()
    view.add_column("Einsum", no_wrap=True)
    view.add_column("array" if counts_cycles else "unit", no_wrap=True)
    for heading in headings:
        view.add_column(heading, justify="right", no_wrap=True)
    for row in found["per_einsum"]:
        cycles = [f"{row['cycles']:,}"] if counts_cycles else []
        view.add_row(row["einsum"], UNITS[row["array"]], *cycles, percent(row["share"]))
    return view


def _sizes(sizes: dict[str, int]) -> str:
    return ", ".join(f"{rank} {size:,}" for rank, size in sizes.items())


def _bytes(count: int) -> str:
    return f"{quantity(count, 'B')} ({count:,} bytes)" if count >= 1000 else f"{count:,} bytes"
