"""Costs of kernels worked out by hand, and laws that any kernel keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_gpu import plain_gpu

from hw_models.gpu.activity import Block, GpuActivity, Kernel, Loop, Product, Transfer, Trip
from hw_models.gpu.cost import PARTS, GpuCost, gpu_cost
from hw_models.gpu.machine import Gpu, Store

GPU = plain_gpu()
PRODUCT = Product("QK", 100, 100, 50)
"""1e6 flops: a microsecond of one multiprocessor."""


def kernel(*trips: Trip, blocks: int = 4, **changes: Any) -> Kernel:
    """One kernel of equal blocks, one on a multiprocessor, whose loads are free; changes by field name."""
    plain = Kernel(
        name="plain",
        blocks=((Block(trips), blocks),),
        instances=1,
        unit="warpgroup",
        workers=1,
        resident=1,
        sharing="free",
        pipelined=False,
        dispatch="dynamic",
        persistent=False,
        in_flight_bytes=0,
        hbm_bytes=0,
    )
    return replace(plain, **changes)


def run(*kernels: Kernel, gpu: Gpu = GPU) -> GpuCost:
    return gpu_cost(GpuActivity(kernels, 0, 1), gpu)


def parts(cost: GpuCost) -> dict[str, float]:
    return {name: pytest.approx(seconds) for name, seconds in cost.parts_s if seconds > 1e-15}


def test_products_alone() -> None:
    cost = run(kernel(Trip((PRODUCT,), times=8)))
    assert cost.latency_s == pytest.approx(8e-6)
    assert parts(cost) == {"tensor": 8e-6}
    assert cost.bound == "tensor"
    assert run(kernel(Trip((PRODUCT,), times=8), unit="warp")).latency_s == pytest.approx(16e-6)
    assert run(kernel(Trip((PRODUCT,), times=8), unit="vector")).latency_s == pytest.approx(32e-6)


def test_pipes_of_a_loop_overlap_and_loops_add_up() -> None:
    """Of one SM: 1e9 special functions, 4e9 multiplications and additions, 2e9 others per second."""
    loops = (Loop("A", 3000, 4000, 4000), Loop("B", 0, 4000, 8000))
    cost = run(kernel(Trip(loops)))
    assert cost.latency_s == pytest.approx(3e-6 + 4e-6)
    assert parts(cost) == {"exp": 1e-6, "vector": 6e-6}


def test_products_and_loops_overlap_or_not() -> None:
    trip = Trip((PRODUCT, Loop("SN", 2000, 0, 0)), times=10)
    assert run(kernel(trip)).latency_s == pytest.approx(30e-6)
    assert run(kernel(trip, workers=2, sharing="blocks")).latency_s == pytest.approx(30e-6)
    assert run(kernel(trip, workers=2, sharing="alternating")).latency_s == pytest.approx(20e-6)
    free = run(kernel(trip, workers=2)).latency_s
    t, v = 0.5, 1.0
    assert free == pytest.approx(10e-6 * (t * (1 + 1 / 3) + v * (1 + 2 / 3)))


def test_later_products_run_under_the_loops_of_the_next_trip() -> None:
    trip = Trip((PRODUCT, Loop("SN", 2000, 0, 0), PRODUCT), times=10)
    assert run(kernel(trip, pipelined=True)).latency_s == pytest.approx(10 * 3e-6)
    first = replace(trip, first=True, times=1)
    assert run(kernel(first, trip, pipelined=True)).latency_s == pytest.approx(4e-6 + 10 * 3e-6)


def test_a_ragged_wave() -> None:
    for number, waves in ((4, 1), (5, 2), (8, 2), (9, 3)):
        cost = run(kernel(Trip((PRODUCT,)), blocks=number))
        assert cost.latency_s == pytest.approx(waves * 1e-6)
        assert dict(cost.parts_s)["waves"] == pytest.approx(waves * 1e-6 - number / 4 * 1e-6)


def test_memories_bound_a_trip_and_a_kernel() -> None:
    gpu = plain_gpu(l2=Store("L2", 2**24, 4e9, 0.0), hbm=Store("HBM", 2**36, 1e9, 0.0))
    trip = Trip((PRODUCT,), transfers=(Transfer("K", "L2", 5000),), times=3)
    cost = run(kernel(trip), gpu=gpu)
    assert cost.latency_s == pytest.approx(15e-6)
    assert cost.bound == "memory"
    assert parts(cost) == {"L2": 15e-6}
    assert run(kernel(trip, blocks=1), gpu=gpu).latency_s == pytest.approx(3 * 1.25e-6)
    assert run(kernel(trip, hbm_bytes=20_000), gpu=gpu).latency_s == pytest.approx(20e-6)


def test_bytes_in_flight_bound_what_an_sm_reads() -> None:
    gpu = plain_gpu(hbm=Store("HBM", 2**36, 1e18, 1e-6))
    trip = Trip(transfers=(Transfer("K", "HBM", 3000),), times=5)
    assert run(kernel(trip, in_flight_bytes=1000), gpu=gpu).latency_s == pytest.approx(15e-6)
    assert run(kernel(trip, in_flight_bytes=6000), gpu=gpu).latency_s == pytest.approx(2.5e-6)


def test_what_is_waited_for() -> None:
    gpu = plain_gpu(l2=Store("L2", 2**24, 4e9, 0.0), hbm=Store("HBM", 2**36, 1e18, 3e-6), block_s=2e-6, launch_s=7e-6)
    first = Trip((PRODUCT,), transfers=(Transfer("K", "HBM", 1000),), first=True)
    cost = run(kernel(first), gpu=gpu)
    assert parts(cost) == {"tensor": 1e-6, "latency": 2e-6 + 3e-6 + 1e-6, "launch": 7e-6}
    once = run(kernel(first, blocks=40, persistent=True), gpu=gpu)
    assert once.latency_s == pytest.approx(7e-6 + 2e-6 + 3e-6 + 1e-6 + 10 * (2e-6 + 1e-6))
    assert run(kernel(first), kernel(first, launches=3), gpu=gpu).latency_s == pytest.approx(4 * 7e-6 + 2 * 7e-6)


def test_what_the_first_trip_alone_waits_for() -> None:
    gpu = plain_gpu(l2=Store("L2", 2**24, 4e9, 2e-6))
    load = (Transfer("Q", "L2", 1000),)
    once = kernel(Trip((PRODUCT,), awaited=load), persistent=True)
    assert parts(run(once, gpu=gpu)) == {"tensor": 1e-6, "latency": 2e-6 + 1e-6}
    each = kernel(Trip((PRODUCT,), awaits=2, times=5))
    assert parts(run(each, gpu=gpu)) == {"tensor": 5e-6, "latency": 5 * 2 * 2e-6}


def test_operands_are_read_into_registers_before_they_are_multiplied() -> None:
    gpu = plain_gpu(shared_bytes_per_s=4e9)
    trip = Trip((PRODUCT,), 6000)
    assert parts(run(kernel(trip), gpu=gpu)) == {"shared": 6e-6, "tensor": 1e-6}
    turns = kernel(trip, blocks=8, resident=2, sharing="alternating")
    assert parts(run(turns, gpu=gpu)) == {"shared": 12e-6}


def test_the_clock_falls_with_the_work_of_tensor_units() -> None:
    """At full load to 0.5; half as busy, to 0.75; and not at all without products on them."""
    gpu = plain_gpu(tensor=replace(GPU.tensor, clock=0.5))
    loop = Loop("SN", 500, 0, 0)
    assert run(kernel(Trip((PRODUCT,))), gpu=gpu).latency_s == pytest.approx(1e-6)
    assert run(kernel(Trip((loop,))), gpu=gpu).latency_s == pytest.approx(0.5e-6)
    both = run(kernel(Trip((PRODUCT, loop))), gpu=gpu)
    assert parts(both) == {"tensor": 0.5e-6 / 0.75, "exp": 0.5e-6 / 0.75}
    assert parts(run(kernel(Trip((PRODUCT, loop)), unit="vector"), gpu=gpu)) == {"tensor": 4e-6, "exp": 0.5e-6}


@settings(deadline=None)
@given(st.floats(0.5, 1.0), st.floats(0.05, 1.0))
def test_a_unit_alone_runs_at_the_rate_that_was_measured(clock: float, rate: float) -> None:
    tensor = replace(GPU.tensor, clock=clock, warpgroup_flops_per_s=4e12, warp_flops_per_s=4e12 * rate)
    for unit in ("warpgroup", "warp"):
        load = tensor.load(unit)  # type: ignore[arg-type]
        assert load * tensor.clock_at(unit, 1.0) * 4e12 / clock == pytest.approx(tensor.rate(unit))  # type: ignore[arg-type]
    alone = replace(tensor, warpgroup_flops_per_s=None)
    assert alone.rate("warpgroup") == alone.rate("warp")
    product = kernel(Trip((PRODUCT,)), unit="warp")
    assert run(product, gpu=replace(GPU, tensor=tensor)).latency_s == pytest.approx(1e-6 / rate)


def test_how_many_blocks_an_sm_holds() -> None:
    assert GPU.resident(threads=128, registers=255, shared_bytes=0) == 2
    assert GPU.resident(threads=128, registers=64, shared_bytes=100_000) == 2
    assert GPU.resident(threads=1024, registers=16, shared_bytes=0) == 2
    assert GPU.resident(threads=32, registers=16, shared_bytes=0) == 32
    assert GPU.resident(threads=1024, registers=255, shared_bytes=10**9) == 1


SIZES = st.integers(1, 3000)
WORK = st.lists(
    st.one_of(
        st.builds(Product, st.just("QK"), SIZES, SIZES, SIZES, st.integers(1, 3)),
        st.builds(Loop, st.just("SN"), SIZES, SIZES, SIZES, st.booleans()),
    ),
    max_size=5,
).map(tuple)
TRIPS = st.builds(
    Trip,
    WORK,
    SIZES,
    st.lists(st.builds(Transfer, st.just("K"), st.sampled_from(["L2", "HBM"]), SIZES), max_size=2).map(tuple),
    st.just(()),
    first=st.booleans(),
    times=st.integers(1, 5),
)
SLOW = plain_gpu(
    tensor=replace(GPU.tensor, latency_s=1e-7),
    vector=replace(GPU.vector, latency_s=1e-7),
    shared_bytes_per_s=1e11,
    l2=Store("L2", 2**24, 1e11, 1e-7),
    hbm=Store("HBM", 2**36, 1e10, 5e-7),
    launch_s=2e-6,
    block_s=5e-7,
)
KERNELS = st.builds(
    lambda trips, blocks, changes: kernel(*trips, blocks=blocks, **changes),
    st.lists(TRIPS, min_size=1, max_size=3),
    st.integers(1, 40),
    st.fixed_dictionaries(
        {
            "unit": st.sampled_from(["warpgroup", "warp"]),
            "workers": st.integers(1, 3),
            "resident": st.integers(1, 3),
            "sharing": st.sampled_from(["blocks", "free", "alternating"]),
            "pipelined": st.booleans(),
            "persistent": st.booleans(),
            "in_flight_bytes": st.sampled_from([0, 500, 50_000]),
            "hbm_bytes": st.integers(0, 10**7),
        }
    ),
)


@settings(max_examples=50, deadline=None)
@given(KERNELS)
def test_parts_add_up_and_no_unit_is_busy_for_longer_than_there_is_time(one: Kernel) -> None:
    cost = run(one, gpu=SLOW)
    assert sum(seconds for _, seconds in cost.parts_s) == pytest.approx(cost.latency_s)
    assert [name for name, _ in cost.parts_s] == list(PARTS)
    assert all(seconds >= -1e-15 for _, seconds in cost.parts_s)
    flops = sum(
        count * trip.times * work.flops
        for block, count in one.blocks
        for trip in block.trips
        for work in trip.work
        if isinstance(work, Product)
    )
    assert cost.latency_s >= flops / SLOW.flops_per_s(one.unit) * (1 - 1e-9)
    assert cost.latency_s >= one.hbm_bytes / SLOW.hbm.bytes_per_s


@settings(max_examples=40, deadline=None)
@given(KERNELS, st.sampled_from(["tensor", "special", "fma", "alu", "l2", "hbm", "launch"]))
def test_a_faster_machine_is_never_slower(one: Kernel, unit: str) -> None:
    """With one block on a multiprocessor; where several share one, a faster unit can change which blocks end when."""
    faster = {
        "tensor": replace(SLOW, tensor=replace(SLOW.tensor, warpgroup_flops_per_s=8e12, warp_flops_per_s=4e12)),
        "special": replace(SLOW, vector=replace(SLOW.vector, special_per_s=8e9)),
        "fma": replace(SLOW, vector=replace(SLOW.vector, fma_per_s=32e9)),
        "alu": replace(SLOW, vector=replace(SLOW.vector, alu_per_s=16e9)),
        "l2": replace(SLOW, l2=replace(SLOW.l2, bytes_per_s=2e11)),
        "hbm": replace(SLOW, hbm=replace(SLOW.hbm, bytes_per_s=2e10)),
        "launch": replace(SLOW, launch_s=0.0),
    }[unit]
    single = replace(one, resident=1)
    assert run(single, gpu=faster).latency_s <= run(single, gpu=SLOW).latency_s * (1 + 1e-9)


@settings(max_examples=40, deadline=None)
@given(KERNELS, st.integers(1, 50))
def test_more_blocks_are_never_faster(one: Kernel, more: int) -> None:
    ((block, number),) = one.blocks
    single = replace(one, resident=1)
    larger = replace(single, blocks=((block, number + more),))
    assert run(single, gpu=SLOW).latency_s <= run(larger, gpu=SLOW).latency_s * (1 + 1e-9)
