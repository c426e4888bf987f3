"""How fast the CPU kernels are, beside PyTorch's flash attention and what the machine multiplies and reads at most.

``python tests/benchmarks/bench_kernels.py [--threads N] [--rounds N]`` prints tables of medians: of square shapes,
beside a large matrix product, and of decoding, few queries of many keys, beside a plain sum of K and V. Candidates take
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
DECODING = ((32, 1, 16384, 64), (16, 1, 16384, 128), (1, 1, 262144, 128), (16, 2, 16384, 128), (16, 8, 16384, 128))
"""(heads, queries, keys, head size), each too large for caches."""
PAUSE_S = WARM_UP_S = 0.1
CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def inputs(heads, length, head_dim, queries=None):
    """Standard normal Q, K and V; as many queries as keys, or fewer."""
    random = np.random.default_rng(0)
    lengths = (queries or length, length, length)
    return [random.standard_normal((1, heads, rows, head_dim), dtype=np.float32) for rows in lengths]


def operations(heads, length, head_dim):
    """Floating-point operations of the two matrix products."""
    return 4 * heads * length**2 * head_dim


def kernel_call(cascade, arrays, threads):
    """A call of a kernel, scaled as models do."""
    out, scale = np.empty_like(arrays[0]), arrays[0].shape[-1] ** -0.5
    return lambda: kernels.attention(*arrays, cascade=cascade, scale=scale, threads=threads, out=out)


def torch_call(arrays, threads):
    """A call of PyTorch's flash attention, or None without PyTorch."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(threads)
    q, k, v = (torch.from_numpy(x) for x in arrays)

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


def sum_call(arrays, threads):
    """A plain sum of some arrays, each thread's share of all, in vectors."""
    from numba import njit

    from kernels.cpu.threads import run_in_threads

    @njit(nogil=True, fastmath={"reassoc"})
    def total(values):
        found = np.float32(0)
        for i in range(values.size):
            found += values[i]
        return found

    shares = [[np.array_split(x.reshape(-1), threads)[thread] for x in arrays] for thread in range(threads)]
    return lambda: run_in_threads(lambda share: [total(x) for x in share], shares)


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


def candidates(arrays, threads):
    """Calls of all kernels, and of PyTorch's where it is installed."""
    calls = {cascade: kernel_call(cascade, arrays, threads) for cascade in kernels.CASCADES}
    return calls | ({"torch flash": call} if (call := torch_call(arrays, threads)) else {})


def decoding_table(threads, rounds):
    """Print medians and rates of reading K and V for few queries."""
    for heads, queries, keys, head_dim in DECODING:
        arrays = inputs(heads, keys, head_dim, queries)
        calls = candidates(arrays, threads)
        calls["sum"] = sum_call(arrays[1:], threads)
        found = medians(calls, rounds)
        read = sum(x.nbytes for x in arrays[1:])
        print(f"heads {heads}, queries {queries}, keys {keys}, head size {head_dim}; K and V {read / 1e6:.0f} MB")
        for name, seconds in found.items():
            share = found["sum"] / seconds
            print(f"  {name:26}{seconds * 1e3:10.2f} ms {read / seconds / 1e9:7.1f} GB/s {share:6.0%} of a plain sum")


def table(threads, rounds):
    """Print medians, rates and ratios for every square shape."""
    size = 3072
    ratios = []
    for shape in (*SHAPES, LONG):
        calls = candidates(inputs(*shape), threads)
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
    benchmark(kernel_call(cascade, inputs(*shape), CPUS))
    benchmark.extra_info["gflop_per_s"] = round(operations(*shape) / benchmark.stats.stats.median / 1e9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_torch_flash(benchmark, shape):
    pytest.importorskip("torch")
    benchmark(torch_call(inputs(*shape), CPUS))
    benchmark.extra_info["gflop_per_s"] = round(operations(*shape) / benchmark.stats.stats.median / 1e9)


@pytest.mark.parametrize("shape", DECODING, ids=str)
def test_decoding(benchmark, shape):
    heads, queries, keys, head_dim = shape
    arrays = inputs(heads, keys, head_dim, queries)
    benchmark(kernel_call("attention-1-pass", arrays, CPUS))
    benchmark.extra_info["gb_per_s"] = round(2 * arrays[1].nbytes / benchmark.stats.stats.median / 1e9, 1)


def test_matrix_product(benchmark):
    benchmark(product_call(3072, CPUS))
    benchmark.extra_info["gflop_per_s"] = round(2 * 3072**3 / benchmark.stats.stats.median / 1e9)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=CPUS, help="threads of every candidate (default: all CPUs)")
    parser.add_argument("--rounds", type=int, default=9, help="measurements of each candidate (default: 9)")
    arguments = parser.parse_args()
    table(arguments.threads, arguments.rounds)
    decoding_table(arguments.threads, arguments.rounds)
