"""The roofline of a CPU against figures worked out by hand, and the laws that it obeys."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_cpu import plain_cpu

from hw_models.cpu.activity import CpuActivity, Product, Step, Task, Transfer, Vector
from hw_models.cpu.cost import CpuCost, cpu_cost
from hw_models.cpu.machine import Cpu

ONE = plain_cpu(threads=1)


def run(*steps: Step, cpu: Cpu = ONE, tasks: int = 1, instances: int = 1) -> CpuCost:
    activity = CpuActivity(((Task(steps), tasks),), instances, cpu.threads, live_bytes=7, dram_bytes=5, passes=3)
    return cpu_cost(activity, cpu)


def test_a_product_takes_its_flops_over_the_rate() -> None:
    found = run(Step(products=(Product("QK", 8, 16, 32, calls=10),)))
    assert found.latency_s == pytest.approx(10 * 2 * 8 * 16 * 32 / 2e9)
    assert found.bound == "products"
    assert [(e.name, e.unit, round(e.share, 9)) for e in found.per_einsum] == [("QK", "products", 1.0)]
    assert (found.live_bytes, found.dram_bytes, found.passes, found.energy_j) == (7, 5, 3, None)


def test_a_loop_takes_the_longer_of_its_operations_and_its_slowest_level() -> None:
    loop = Step(
        vectors=(Vector("SN", "exp", 1000), Vector("SN", "sub", 500)),
        streamed=(Transfer("QK", "L2", 4000), Transfer("QK", "L3", 12000), Transfer("X", "L3", 4000)),
    )
    found = run(loop)
    parts = dict(found.parts_s)
    assert found.latency_s == pytest.approx(16000 / 4e9)
    assert parts["exp"] == pytest.approx(1e-6)
    assert parts["vector"] == pytest.approx(0.5e-6)
    assert parts["L3"] == pytest.approx(2.5e-6)
    assert found.bound == "memory"
    compute = run(replace(loop, vectors=(Vector("SN", "exp", 9000),)))
    assert compute.latency_s == pytest.approx(9e-6)
    assert compute.bound == "exp"


def test_operands_from_afar_come_on_top_of_a_product() -> None:
    product = Step(
        products=(Product("QK", 8, 16, 32),), copied=(Transfer("K", "L3", 2048), Transfer("K", "memory", 1000))
    )
    assert run(product).latency_s == pytest.approx(8192 / 2e9 + 2048 / 4e9 + 1000 / 1e9)


def test_steps_are_repeated_and_tasks_add_up_on_one_thread() -> None:
    step = Step(vectors=(Vector("A", "div", 1000),), times=3)
    assert run(step, tasks=4, instances=5).latency_s == pytest.approx(60e-6)


def test_two_threads_share_tasks_and_bandwidth() -> None:
    cpu = plain_cpu(efficiency=0.5, launch_s=1e-3, task_s=1e-4)
    step = Step(vectors=(Vector("A", "add", 1_000_000),))
    found = run(step, cpu=cpu, tasks=3)
    assert found.latency_s == pytest.approx(1e-3 + 2 * (1e-4 + 2e-3))
    assert dict(found.parts_s)["idle"] == pytest.approx((1e-4 + 2e-3) / 2)
    stream = Step(streamed=(Transfer("X", "memory", 1_000_000),))
    alone, both = run(stream, cpu=plain_cpu(), tasks=1), run(stream, cpu=plain_cpu(), tasks=2)
    assert alone.latency_s == pytest.approx(0.5e-3)
    assert both.latency_s == pytest.approx(1e-3)


LEVEL = st.sampled_from(["L1", "L2", "L3", "memory"])
STEP = st.builds(
    Step,
    products=st.lists(
        st.builds(Product, st.just("P"), *[st.integers(1, 300)] * 3, calls=st.integers(1, 4)), max_size=2
    ).map(tuple),
    vectors=st.lists(
        st.builds(Vector, st.just("V"), st.sampled_from(["exp", "add", "div"]), st.integers(0, 10**6)), max_size=2
    ).map(tuple),
    copied=st.lists(st.builds(Transfer, st.just("K"), LEVEL, st.integers(0, 10**6)), max_size=2).map(tuple),
    streamed=st.lists(st.builds(Transfer, st.just("S"), LEVEL, st.integers(0, 10**6)), max_size=2).map(tuple),
    times=st.integers(1, 3),
)
ACTIVITY = st.builds(
    CpuActivity,
    st.lists(
        st.tuples(st.builds(Task, st.lists(STEP, min_size=1, max_size=3).map(tuple)), st.integers(1, 4)),
        min_size=1,
        max_size=3,
    ).map(tuple),
    st.integers(1, 4),
    st.just(2),
    st.just(0),
    st.just(0),
    st.just(1),
)


@settings(max_examples=50, deadline=None)
@given(ACTIVITY)
def test_the_parts_add_up_to_the_latency(activity: CpuActivity) -> None:
    found = cpu_cost(activity, plain_cpu(launch_s=1e-5, task_s=1e-6, efficiency=0.9))
    assert sum(seconds for _, seconds in found.parts_s) == pytest.approx(found.latency_s, rel=1e-9)
    assert all(seconds >= 0 for _, seconds in found.parts_s)
    assert 0 <= sum(e.share for e in found.per_einsum) <= 1 + 1e-9


@settings(max_examples=50, deadline=None)
@given(ACTIVITY, st.integers(0, 3), st.floats(1, 100))
def test_more_bandwidth_is_never_slower_on_one_thread(activity: CpuActivity, index: int, factor: float) -> None:
    activity = replace(activity, threads=1)
    levels = list(ONE.levels)
    level = levels[index]
    levels[index] = replace(
        level,
        thread_bytes_per_s=level.thread_bytes_per_s * factor,
        total_bytes_per_s=level.total_bytes_per_s * factor,
        operand_bytes_per_s=level.operand_bytes_per_s * factor,
    )
    faster = cpu_cost(activity, replace(ONE, levels=tuple(levels))).latency_s
    assert faster <= cpu_cost(activity, ONE).latency_s * (1 + 1e-12)


@settings(max_examples=50, deadline=None)
@given(ACTIVITY)
def test_two_threads_are_at_most_twice_as_fast(activity: CpuActivity) -> None:
    cpu = plain_cpu()
    alone = cpu_cost(replace(activity, threads=1), cpu).latency_s
    both = cpu_cost(activity, cpu).latency_s
    assert both >= alone / 2 * (1 - 1e-12)


def test_levels() -> None:
    cpu = plain_cpu()
    assert [cpu.placed(2**n) for n in (15, 16, 19)] == [((name, 1.0),) for name in ("L1", "L2", "L3")]
    assert cpu.placed(2**24) == (("L3", 0.25), ("memory", 0.75))
    assert cpu.placed(2**18, sharers=99) == (("L2", 1.0),)
    assert cpu.placed(2**21, sharers=2) == (("L3", 1.0),)
    assert cpu.placed(2**21, sharers=4) == (("L3", 0.5), ("memory", 0.5))
    assert plain_cpu(levels=cpu.levels[:1] + cpu.levels[3:]).placed(2**20) == (("memory", 1.0),)
    assert [plain_cpu(threads=4, efficiency=0.4).scaling(n) for n in (1, 2, 4, 9)] == pytest.approx([1, 0.8, 0.4, 0.4])
