"""How many points of a sweep one core evaluates in a second: run with ``make bench`` (measurements, not checks)."""

from __future__ import annotations

import re
from collections import Counter
from time import process_time

import pytest

from fusemax.sweep.evaluate import evaluate_points
from fusemax.sweep.spec import parse_sweep

SLICE = 65_536
ROOMLESS = re.compile("too small for any|bytes, and the mapping needs|registers, and the mapping keeps")
MACHINE = """
  array_2d.rows: {range: [16, 512], multiple_of: 8}
  array_2d.columns: {range: [16, 512], multiple_of: 8}
  array_1d.columns: {range: [16, 512], multiple_of: 8}
  global_buffer.bytes: {log_range: [1MiB, 64MiB], multiple_of: 1024}
"""
RATES = """
  frequency_hz: {log_range: [5e8, 2e9]}
  dram.bandwidth_bytes_per_s: {log_range: [1e10, 2e12]}
"""
LENGTHS = "  model: BERT\n  seq_len: {log_range: [1024, 2**20], multiple_of: 256}\n"
ONE = "  model: BERT\n  seq_len: 65536\n"
RAGGED = "  model: BERT\n  seq_len: {log_range: [1024, 2**20], multiple_of: 1}\n" + MACHINE.replace(": 8}", ": 1}")
BINDING = "  cascade: attention-1-pass\n  arch: fusemax-cloud\n  mapper: fusemax-interleaved\n"
FLAT = "  cascade: attention-3-pass\n  arch: flat-cloud\n  mapper: flat\n"
SWEEPS = {
    "fusemax-interleaved, all numbers vary": (BINDING + LENGTHS + MACHINE + RATES, 10**6),
    "fusemax-interleaved, rates vary": (BINDING + ONE + RATES, 10**6),
    "fusemax-interleaved, 2-pass": (BINDING.replace("1-pass", "2-pass") + LENGTHS + MACHINE + RATES, 400_000),
    "fusemax-serial, physical": (
        BINDING.replace("interleaved", "serial") + "  accounting: physical\n" + LENGTHS + MACHINE + RATES,
        10**6,
    ),
    "fusemax-interleaved, nothing divides": (BINDING + RAGGED + RATES, 10**6),
    "fusemax-serial, nothing divides": (BINDING.replace("interleaved", "serial") + RAGGED + RATES, 10**6),
    "flat, all numbers vary": (FLAT + LENGTHS + MACHINE + RATES, 400_000),
    "flat, rates vary, published mapping": (FLAT + ONE + RATES, 10**6),
    "flat, rates vary, mapping searched": (
        FLAT.replace("mapper: flat", "mapper: flat-searched") + ONE + RATES,
        400_000,
    ),
    "unfused, all numbers vary": (FLAT.replace("mapper: flat", "mapper: unfused") + LENGTHS + MACHINE + RATES, 100),
}


@pytest.mark.parametrize("name", SWEEPS)
def test_points_per_second(benchmark, name):
    """Points drawn evenly from all that the sweep spans. Those that have no cost are few, and for want of room."""
    axes, points = SWEEPS[name]
    sweep = parse_sweep(f"axes:\n{axes}\nsamples: {{sobol: {points}, seed: 1}}\n")
    evaluate_points(sweep, 0, 1)
    statuses = Counter()

    def all_points():
        for start in range(0, points, SLICE):
            table = evaluate_points(sweep, start, min(start + SLICE, points))
            for found in table["status"].value_counts().to_pylist():
                statuses[found["values"]] += found["counts"]

    started = process_time()
    benchmark.pedantic(all_points, rounds=1, iterations=1)
    benchmark.extra_info["points_per_s"] = round(points / (process_time() - started))
    roomless = sum(number for text, number in statuses.items() if ROOMLESS.search(text))
    assert statuses["ok"] + roomless >= 0.95 * points, statuses.most_common(3)
    assert statuses["ok"] >= 0.85 * points, statuses.most_common(3)
    print(f"{name}: {benchmark.extra_info['points_per_s']:,} points/s of one core")
