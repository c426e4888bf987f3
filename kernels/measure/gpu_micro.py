"""Microbenchmarks of a GPU: rates of its units and memories, latencies and overheads; nothing of attention.

Each figure is work over the median time, or time per step; data is random, since zeros let a chip clock higher.
"""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from functools import partial
from typing import Any, Final

from kernels.measure.environment import today
from kernels.measure.gpu_timing import gpu_name, gpu_software, timed

REPEATS: Final = 15
_LINE: Final = 32
"""Values of 32 bits in what a cache holds together."""
_VECTOR: Final = 1024
"""Values that a block of the vector loops works on, four warps of it."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    Attributes:
        device: the GPU.
        name: what was measured, such as ``special_per_s``.
        value: the figure, in the unit that its name ends with.
        median_s, min_s: seconds of the timed work.
        repeats: how often it was timed.
        software: versions of what ran.
        date: when, as YYYY-MM-DD.
    """

    device: str
    name: str
    value: float
    median_s: float
    min_s: float
    repeats: int
    software: str
    date: str


def format_figures(rows: Iterable[Figure]) -> bytes:
    """Return figures as a CSV file."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(field.name for field in fields(Figure))
    writer.writerows(astuple(row) for row in rows)
    return stream.getvalue().encode()


def measure_gpu(*, report: Callable[[str], None] = lambda text: None) -> Iterator[Figure]:
    """Run all microbenchmarks on the current CUDA device.

    Args:
        report: told each figure.
    """
    device, versions = gpu_name(), gpu_software()
    for benchmark in (_facts, _vector, _products, _memories, _overheads):
        for name, value, timing in benchmark():
            report(f"{name} {value:.4g}")
            median, least, repeats = (timing.median_s, timing.min_s, len(timing.seconds)) if timing else (0.0, 0.0, 0)
            yield Figure(device, name, value, median, least, repeats, versions, today())


def _modules() -> tuple[Any, Any, Any]:
    loops = importlib.import_module(f"{__package__}.gpu_loops")
    return importlib.import_module("torch"), loops, _properties()


def _properties() -> Any:
    torch: Any = importlib.import_module("torch")
    return torch.cuda.get_device_properties(torch.cuda.current_device())


def _facts() -> Iterator[tuple[str, float, Any]]:
    """What the driver says of the device."""
    facts = _properties()
    yield "multiprocessors", facts.multi_processor_count, None
    yield "l2_bytes", facts.L2_cache_size, None
    yield "hbm_bytes", facts.total_memory, None
    yield "shared_bytes", facts.shared_memory_per_multiprocessor, None
    yield "registers", facts.regs_per_multiprocessor, None
    yield "threads", facts.max_threads_per_multi_processor, None


def _vector() -> Iterator[tuple[str, float, Any]]:
    """Special functions, multiplications and additions, maxima, reductions in a warp."""
    torch, loops, facts = _modules()
    blocks = 16 * facts.multi_processor_count
    x, low, high = (torch.rand(blocks * _VECTOR, device="cuda") for _ in range(3))
    turns = 256
    done = blocks * _VECTOR * turns * int(loops.UNROLLED.value)
    for name, kernel, given in (
        ("special_per_s", loops.power, ()),
        ("fma_per_s", loops.multiply_add, (0.75, 0.25)),
        ("alu_per_s", loops.extremes, (low, high)),
    ):
        timing = timed([partial(kernel[(blocks,)], x, turns, *given, SIZE=_VECTOR, num_warps=4)], REPEATS)
        yield name, done / timing.median_s, timing
    gluon = _gluon()
    if gluon is not None:
        steps = 10_000
        timing = timed([partial(gluon.reduce[(1,)], x, steps, num_warps=1)], REPEATS)
        yield "reduce_latency_s", timing.median_s / steps, timing


def _products() -> Iterator[tuple[str, float, Any]]:
    """Matrix products of bfloat16: a large one; tiles from registers, warp by warp, and from shared memory."""
    torch, _, facts = _modules()
    units = facts.multi_processor_count
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    timing = timed([partial(torch.matmul, a, b)], REPEATS)
    yield "matmul_flops_per_s", 2 * 8192**3 / timing.median_s, timing
    out = torch.empty(8 * units * 256, device="cuda")
    gluon = _gluon()
    if gluon is None:
        return
    turns, depth = 4000, 32
    for warps in (4, 8, 16):
        given = {"DEPTH": depth, "num_warps": warps}
        timing = timed([partial(gluon.warp_products[(units,)], a, b, out, turns, **given)], REPEATS)
        yield f"mma_{warps}_flops_per_s", units * turns * 2 * 16 * warps * 64 * depth / timing.median_s, timing
    for depth in (128, 64):
        for warps, together in ((8, 4), (8, 1), (4, 1)):
            turns = 4000 // together
            given = {"DEPTH": depth, "TOGETHER": together, "num_warps": warps}
            timing = timed([partial(gluon.products[(units,)], a, b, out, turns, **given)], REPEATS)
            flops = units * turns * together * 2 * 16 * warps * 128 * depth
            yield f"wgmma_{depth}_{warps // 4}x{together}_flops_per_s", flops / timing.median_s, timing
    timing = timed([partial(gluon.products[(1,)], a, b, out, 4000, DEPTH=64, TOGETHER=1, num_warps=4)], REPEATS)
    yield "wgmma_64_step_s", timing.median_s / 4000, timing


def _memories() -> Iterator[tuple[str, float, Any]]:
    """Bandwidth and latency of the L2 cache and of the memory."""
    torch, loops, facts = _modules()
    units = facts.multi_processor_count
    large = torch.randn(2**28, device="cuda")
    target = torch.empty_like(large)
    timing = timed([partial(target.copy_, large)], REPEATS)
    yield "copy_bytes_per_s", 2 * 4 * large.numel() / timing.median_s, timing
    out = torch.empty(32 * units, device="cuda")
    grid, size = (8 * units,), 2048
    timing = timed([partial(loops.read[grid], large, out, large.numel(), 1, SIZE=size, num_warps=4)], REPEATS)
    yield "hbm_read_bytes_per_s", 4 * large.numel() / timing.median_s, timing
    for mebibytes in (8, 16, 24):
        small, turns = large[: mebibytes * 2**18], 64
        call = partial(loops.read[grid], small, out, small.numel(), turns, SIZE=size, num_warps=4)
        timing = timed([call], REPEATS)
        yield f"l2_{mebibytes}_read_bytes_per_s", turns * 4 * small.numel() / timing.median_s, timing
    for name, count in (("l2", 2**20), ("hbm", 2**28)):
        steps = 2000
        order = torch.randperm(count // _LINE, device="cuda") * _LINE
        links = torch.zeros(count, dtype=torch.int32, device="cuda")
        links[order] = order.roll(-1).to(torch.int32)
        starts = order[:: max(1, len(order) // 4096)].tolist()
        place = out.view(torch.int32)
        timing = timed(
            [partial(loops.chase[(1,)], links, place, start, steps, num_warps=1) for start in starts], REPEATS
        )
        yield f"{name}_latency_s", timing.median_s / steps, timing


def _overheads() -> Iterator[tuple[str, float, Any]]:
    """A kernel that does nothing, alone and in a row; a thread block after another."""
    torch, loops, facts = _modules()
    x, out = (torch.rand(2**12, device="cuda") for _ in range(2))
    nothing = partial(loops.nothing[(1,)], x, num_warps=4)
    timing = timed([nothing], REPEATS)
    yield "launch_s", timing.median_s, timing
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(200):
            nothing()
    timing = timed([graph.replay], REPEATS)
    yield "launch_in_row_s", timing.median_s / 200, timing
    gluon = _gluon()
    if gluon is not None:
        rounds = 200
        x, out = (torch.zeros(2**12, device="cuda", dtype=torch.int32) for _ in range(2))
        grid = (rounds * facts.multi_processor_count,)
        timing = timed([partial(gluon.large_block[grid], x, out, BYTES=2**17, num_warps=4)], REPEATS)
        yield "block_s", timing.median_s / rounds, timing


def _gluon() -> Any:
    """The loops for Hopper, or None on another GPU."""
    facts = _properties()
    return importlib.import_module(f"{__package__}.gpu_gluon_loops") if facts.major == 9 else None
