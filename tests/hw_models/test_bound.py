"""``bound`` against slower machines: the latency suffers most from what it names, of ties as much from each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from einsum_cascades.load import load_cascade
from einsum_cascades.loops.tree import INSTANCES
from einsum_cascades.workload import Workload
from hw_models.accounting import PHYSICAL, PUBLISHED, Accounting
from hw_models.bound import slowest
from hw_models.cpu.cost import cpu_cost
from hw_models.cpu.machine import Cpu
from hw_models.gpu.cost import gpu_cost
from hw_models.gpu.machine import Gpu
from hw_models.load import load_machine
from hw_models.spatial_machines import spatial_machine
from mappers.choose import best, outcome
from mappers.cpu_tiles import cpu_tiles
from mappers.gpu_tiles import gpu_tiles
from mappers.presets.named import preset_named
from mappers.presets.problem import Problem

STEP = 1e-6
CASCADES = ("attention-1-pass", "attention-2-pass", "attention-3-pass", "attention-3-pass-deferred")


def worst(now: float | Fraction, slower: dict[str, float | Fraction], tolerance: float) -> set[str]:
    """Those with which the latency becomes longest."""
    growth = {name: float(then - now) for name, then in slower.items()}
    most = max(growth.values())
    assert most > 0
    return {name for name, value in growth.items() if value >= (1 - tolerance) * most}


@settings(max_examples=8, deadline=None)
@given(
    st.sampled_from(CASCADES),
    st.sampled_from(["unfused", "fusemax-serial", "fusemax-interleaved"]),
    st.sampled_from([64, 192, 1024]),
    st.sampled_from([1.0, 1e-2, 3e-3, 1e-3, 2e-4]),
    st.sampled_from([PUBLISHED, PHYSICAL]),
)
def test_spatial_arrays(cascade: str, preset: str, length: int, share: float, accounting: Accounting) -> None:
    """Which of memory and clock is named with the longest dependence makes the latency grow as much as that says."""
    base = spatial_machine("fusemax-cloud")
    rate = base.root.shared_bytes_per_s * share
    machine = spatial_machine("fusemax-cloud", [f"dram.bandwidth_bytes_per_s={rate!r}"])
    sizes = {INSTANCES: 6, "E": 64, "F": 64, "M": length, "P": length}
    problem = Problem(load_cascade(cascade), sizes, machine, accounting)
    try:
        found = best(problem, preset_named(preset)(problem))
    except InputError:
        assume(False)
    narrow = spatial_machine("fusemax-cloud", [f"dram.bandwidth_bytes_per_s={rate / (1 + STEP)!r}"])
    slow = spatial_machine(
        "fusemax-cloud",
        [f"dram.bandwidth_bytes_per_s={rate!r}", f"frequency_hz={base.frequency_hz / (1 + STEP)!r}"],
    )
    now, depends = found.cost.latency_s, found.cost.depends_s
    by_memory, by_clock = (
        (outcome(replace(problem, machine=other), found.tree).cost.latency_s - now) / STEP for other in (narrow, slow)
    )
    assert by_memory == pytest.approx(depends["dram"], rel=1e-3, abs=1e-6 * now)
    arrays = [depends[name] for name in ("array_2d", "array_1d")]
    assert max(arrays) <= by_clock * (1 + 1e-3) + 1e-6 * now
    assert by_clock <= sum(arrays) * (1 + 1e-3) + 1e-6 * now
    named = {name for name, seconds in depends.items() if seconds >= (1 - 1e-9) * max(depends.values())}
    assert found.cost.bound == "+".join(
        {"dram": "memory"}.get(n, n.removeprefix("array_")) for n in depends if n in named
    )


def slower_gpu(gpu: Gpu, resource: str, by: float) -> Gpu:
    tensor, vector = gpu.tensor, gpu.vector
    changed = {
        "tensor": {
            "tensor": replace(
                tensor,
                warpgroup_flops_per_s=(tensor.warpgroup_flops_per_s or 0) / by,
                warp_flops_per_s=tensor.warp_flops_per_s / by,
            )
        },
        "exp": {"vector": replace(vector, special_per_s=vector.special_per_s / by)},
        "vector": {"vector": replace(vector, fma_per_s=vector.fma_per_s / by, alu_per_s=vector.alu_per_s / by)},
        "shared": {"shared_bytes_per_s": gpu.shared_bytes_per_s / by},
        "memory": {
            "l2": replace(gpu.l2, bytes_per_s=gpu.l2.bytes_per_s / by),
            "hbm": replace(gpu.hbm, bytes_per_s=gpu.hbm.bytes_per_s / by),
        },
        "launch": {"launch_s": gpu.launch_s * by},
    }
    return replace(gpu, **changed[resource])


@pytest.mark.parametrize(("queries", "keys"), [(4096, 4096), (1, 65536), (512, 2048), (16, 16)])
@pytest.mark.parametrize("arch", ["h100", "a100"])
@pytest.mark.parametrize("cascade", CASCADES[::2])
def test_gpus(cascade: str, arch: str, queries: int, keys: int) -> None:
    gpu = load_machine(arch)
    assert isinstance(gpu, Gpu)
    workload = Workload.attention(batch=2, heads=16, head_dim=64, seq_len=queries, kv_len=keys)
    activity = gpu_tiles(load_cascade(cascade), workload, gpu).activity
    found = gpu_cost(activity, gpu)
    slower: dict[str, float | Fraction] = {
        name: gpu_cost(activity, slower_gpu(gpu, name, 1.001)).latency_s
        for name in ("tensor", "exp", "vector", "shared", "memory", "launch")
    }
    most = worst(found.latency_s, slower, 0.02)
    if "latency" not in found.bound:
        assert set(found.bound.split("+")) <= most
    else:
        waiting = dict(found.parts_s)["latency"] + dict(found.parts_s)["waves"]
        assert waiting * 1.001 > max(float(slower[name]) - found.latency_s for name in most)


def slower_cpu(cpu: Cpu, resource: str, by: float) -> Cpu:
    def operators(these: Callable[[str], bool]) -> Cpu:
        return replace(cpu, operators=tuple((name, rate / by if these(name) else rate) for name, rate in cpu.operators))

    if resource == "products":
        rates = tuple(rate / by for rate in cpu.products.flops_per_s)
        return replace(cpu, products=replace(cpu.products, flops_per_s=rates))
    if resource == "memory":
        levels = (
            replace(
                level,
                operand_bytes_per_s=level.operand_bytes_per_s / by,
                thread_bytes_per_s=level.thread_bytes_per_s / by,
                total_bytes_per_s=level.total_bytes_per_s / by,
            )
            for level in cpu.levels
        )
        return replace(cpu, levels=tuple(levels))
    return operators(lambda name: (name == "exp") == (resource == "exp"))


@pytest.mark.parametrize(("queries", "keys"), [(1024, 1024), (1, 65536), (64, 4096)])
@pytest.mark.parametrize("share", [1.0, 0.1, 0.01])
@pytest.mark.parametrize("cascade", CASCADES[:3])
def test_cpus(cascade: str, share: float, queries: int, keys: int) -> None:
    """The less bandwidth there is, the more streaming goes on under the arithmetic, and then beyond it."""
    cpu = load_machine("cpu")
    assert isinstance(cpu, Cpu)
    cpu = slower_cpu(cpu, "memory", 1 / share)
    workload = Workload.attention(batch=2, heads=8, head_dim=64, seq_len=queries, kv_len=keys)
    workload = replace(workload, value_bytes=cpu.value_bytes)
    activity = cpu_tiles(load_cascade(cascade), workload, cpu).activity
    found = cpu_cost(activity, cpu)
    slower: dict[str, float | Fraction] = {
        name: cpu_cost(activity, slower_cpu(cpu, name, 1 + 1e-6)).latency_s
        for name in ("products", "exp", "vector", "memory")
    }
    assert set(found.bound.split("+")) == worst(found.latency_s, slower, 1e-3)


def test_equals_are_all_named() -> None:
    assert slowest({"a": 1.0, "b": 2.0, "c": 2.0 - 1e-12}) == "b+c"
    assert slowest({"a": 3.0, "b": 2.0}) == "a"
