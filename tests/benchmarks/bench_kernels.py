"""How fast the CPU kernels are, beside PyTorch's flash attention and the machine's own matrix-product rate.

``python tests/benchmarks/bench_kernels.py [--threads N] [--rounds N]`` prints a table of medians. Candidates take
turns, round by round, so that a slow moment of the machine meets all of them. Before each there is a pause, so that
the threads of the candidate before, which may wait actively for more work, fall asleep, and then calls that are not
timed, until the system has spread the candidate's own threads over the cores. Rates count the 4·M·P·E floating-point
operations per head of the two matrix products. ``make bench`` runs the same calls under pytest-benchmark.
"""

import argparse
import os
import statistics
import time

import numpy as np
import pytest

import kernels

SHAPES = ((12, 1024, 64), (12, 4096, 64), (8, 4096, 128), (32, 512, 128))
LONG = (2, 16384, 64)
PAUSE_S = WARM_UP_S = 0.1
CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def inputs(heads, length, head_dim):
    """Standard normal Q, K and V."""
    random = np.random.default_rng(0)
    return [random.standard_normal((1, heads, length, head_dim), dtype=np.float32) for _ in range(3)]


def operations(heads, length, head_dim):
    """Floating-point operations of the two matrix products."""
    return 4 * heads * length**2 * head_dim


def kernel_call(cascade, shape, threads):
    """A call of a kernel, scaled as models do."""
    q, k, v = inputs(*shape)
    out = np.empty_like(q)
    return lambda: kernels.attention(q, k, v, cascade=cascade, scale=shape[2] ** -0.5, threads=threads, out=out)


def torch_call(shape, threads):
    """A call of PyTorch's flash attention, or None without PyTorch."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(threads)
    q, k, v = (torch.from_numpy(x) for x in inputs(*shape))

    def call():
        with torch.no_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.FLASH_ATTENTION):
            torch.nn.functional.scaled_dot_product_attention(q, k, v)

    return call


def product_call(size, threads):
    """A square matrix product by SciPy's BLAS."""
    from scipy.linalg.blas import sgemm
    from threadpoolctl import threadpool_limits

    random = np.random.default_rng(0)
    a, b = (np.asfortranarray(random.standard_normal((size, size), dtype=np.float32)) for _ in range(2))

    def call():
        with threadpool_limits(threads, user_api="blas"):
            sgemm(1.0, a, b)

    return call


def medians(calls, rounds):
    """Median seconds of each call; the calls take turns."""
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(PAUSE_S)
            warm = time.perf_counter() + WARM_UP_S
            while time.perf_counter() < warm:
                call()
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def table(threads, rounds):
    """Print medians, rates and ratios for every shape."""
    size = 3072
    ratios = []
    for shape in (*SHAPES, LONG):
        calls = {cascade: kernel_call(cascade, shape, threads) for cascade in kernels.CASCADES}
        calls |= {"torch flash": call} if (call := torch_call(shape, threads)) else {}
        calls["sgemm"] = product_call(size, threads)
        found = medians(calls, rounds)
        peak = 2 * size**3 / found.pop("sgemm")
        print(f"batch*heads {shape[0]}, length {shape[1]}, head size {shape[2]}; sgemm {peak / 1e9:.0f} GFLOP/s")
        for name, seconds in found.items():
            rate = operations(*shape) / seconds
            print(f"  {name:26}{seconds * 1e3:10.2f} ms {rate / 1e9:7.0f} GFLOP/s {rate / peak:6.0%} of sgemm")
        if "torch flash" in found and shape != LONG:
            ratios.append(found["torch flash"] / found["attention-1-pass"])
    if ratios:
        each = " ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"torch flash over 1-pass: {each}; geometric mean {statistics.geometric_mean(ratios):.2f}")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cascade", kernels.CASCADES)
def test_kernel(benchmark, cascade, shape):
    benchmark(kernel_call(cascade, shape, CPUS))
    benchmark.extra_info["gflop_per_s"] = round(operations(*shape) / benchmark.stats.stats.median / 1e9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_torch_flash(benchmark, shape):
    pytest.importorskip("torch")
    benchmark(torch_call(shape, CPUS))
    benchmark.extra_info["gflop_per_s"] = round(operations(*shape) / benchmark.stats.stats.median / 1e9)


def test_matrix_product(benchmark):
    benchmark(product_call(3072, CPUS))
    benchmark.extra_info["gflop_per_s"] = round(2 * 3072**3 / benchmark.stats.stats.median / 1e9)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=CPUS, help="threads of every candidate (default: all CPUs)")
    parser.add_argument("--rounds", type=int, default=9, help="measurements of each candidate (default: 9)")
    arguments = parser.parse_args()
    table(arguments.threads, arguments.rounds)
