"""Energy against the published evaluation's totals and against sums by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from einsum_cascades.errors import InputError
from hw_models.accounting import PHYSICAL, PUBLISHED
from hw_models.activity import Activity, Count, EinsumActivity, Phase
from hw_models.energy import Energy, energy
from hw_models.load import load_architecture

FUSEMAX, FLAT = load_architecture("fusemax-cloud"), load_architecture("flat-cloud")


def activity(*einsums: EinsumActivity, tiled: bool = True, cycles: int = 0) -> Activity:
    return Activity(einsums, (Phase("all", cycles, 0),), buffer_bytes=0, passes=1, tiled=tiled)


def einsum(array: str = "array_2d", counts: tuple[Count, ...] = (), **operations: int) -> EinsumActivity:
    return EinsumActivity("X", array, 0, 0, tuple(operations.items()), counts)  # type: ignore[arg-type]


def fusemax_counts(batch_heads: int, dim: int, length: int, p2_tiles: int) -> Activity:
    """What the 1-pass cascade moves and computes on FuseMax's machine, E = F and M = P, register files aside.

    From the published evaluation: its counts per Einsum, restated.
    """
    u = batch_heads * length * length
    a, tensor, rows = u // 256, batch_heads * dim * length, batch_heads * length
    return activity(
        einsum(
            counts=(
                Count("dram", "Q, K, V", reads=tensor + 2 * p2_tiles * tensor),
                Count(
                    "global_buffer",
                    "Q, K, V",
                    reads=2 * a * dim + a * dim,
                    fills=tensor + 2 * p2_tiles * tensor,
                ),
                Count("staging", "LM, SLN, SLD, SLNV", reads=a + a * dim - tensor, updates=2 * a + a * dim),
            ),
            mac=2 * u * dim,
            max=u,
            add=2 * u,
            exp=u,
        ),
        einsum(
            "array_1d",
            counts=(
                Count("dram", "AV", updates=tensor),
                Count(
                    "global_buffer",
                    "RM, SPD, SPNV, RD, RNV",
                    reads=2 * a + a * dim + tensor + rows,
                    updates=2 * a + a * dim,
                ),
            ),
            mac=a + a * dim,
            max=a,
            add=2 * a + a * dim,
            exp=a,
            divide=tensor,
        ),
    )


@pytest.mark.parametrize(
    ("batch_heads", "dim", "length", "p2_tiles", "published_pj"),
    [
        (64 * 12, 64, 2**10, 1, 1950645149855.2659),
        (64 * 12, 64, 2**16, 2, 7885539507510327.0),
        (64 * 12, 64, 2**14, 1, 493109111891647.44),
    ],
)
def test_published_totals_of_fusemax(
    batch_heads: int, dim: int, length: int, p2_tiles: int, published_pj: float
) -> None:
    parts = energy(fusemax_counts(batch_heads, dim, length, p2_tiles), FUSEMAX, PUBLISHED)
    assert parts.total_j == pytest.approx(published_pj * 1e-12, rel=2.5e-5)


def test_published_total_of_the_cascade_on_flats_machine() -> None:
    """BERT at 1K: score tiles pass through the buffer, and exponentials were left out."""
    dim, tensor, rows = 64, 64 * 12 * 64 * 2**10, 64 * 12 * 2**10
    u = 64 * 12 * 2**20
    a = u // 256
    reads = 2 * a * dim + 2 * u + 2 * a * dim + 2 * a + tensor + rows
    writes = tensor + 2 * tensor + 2 * u + 2 * a + a * dim
    run = activity(
        einsum(
            counts=(
                Count("dram", "all", reads=3 * tensor, updates=tensor),
                Count("global_buffer", "all", reads=reads, updates=writes),
            ),
            mac=2 * u * dim,
        ),
        einsum("array_1d", mac=a + a * dim, max=u + a, add=2 * u + 2 * a + a * dim, exp=u + a, divide=tensor),
    )
    assert energy(run, FLAT, PUBLISHED).total_j == pytest.approx(2.2413957041986035, rel=1e-4)
    difference = energy(run, FLAT, PHYSICAL).exp_j - energy(run, FLAT, PUBLISHED).exp_j
    assert difference == pytest.approx((u + a) * 94.6475e-12)


def test_prices_by_hand() -> None:
    run = activity(
        einsum(
            counts=(
                Count("dram", "A", reads=3, updates=2),
                Count("global_buffer", "A", reads=100, fills=3, updates=2, drains=28),
                Count("array_2d", "A", reads=65536, fills=2 * 65536),
                Count("staging", "A", reads=5, updates=7),
            ),
            mac=11,
            exp=2,
        ),
        einsum("array_1d", (Count("array_1d", "A", reads=256),), divide=3),
    )
    published, physical = energy(run, FUSEMAX, PUBLISHED), energy(run, FUSEMAX, PHYSICAL)
    assert published == pytest.approx(
        Energy(
            dram_j=5 / 4 * 249.6e-12,
            global_buffer_j=(100 / 256 * 12512.760572 + 5 / 256 * 15751.460572) * 1e-12,
            registers_j=(2.190435 + 2 * 1.902435 + 2.194455) * 1e-12,
            staging_j=(5 * 2.194455 + 7 * 1.906455) * 1e-12,
            mac_j=11 * 17.1645e-12,
            add_j=0.0,
            max_j=0.0,
            exp_j=12 * 17.1645e-12,
            divide_j=3 * 36.251153e-12,
            leakage_j=0.0,
        )
    )
    assert physical.registers_j == pytest.approx((65536 * (2.190435 + 2 * 1.902435) + 256 * 2.194455) * 1e-12)
    drained = 28 / 256 * 12512.760572e-12
    assert physical.global_buffer_j - published.global_buffer_j == pytest.approx(drained)
    assert physical.staging_j == published.staging_j


def test_leakage_grows_with_time() -> None:
    per_cycle = 0.406549 + 65536 * 0.001712 + 256 * 0.001713
    run = activity(cycles=10**9)
    assert energy(run, FUSEMAX, PUBLISHED).leakage_j == 0
    assert energy(run, FUSEMAX, PHYSICAL).leakage_j == pytest.approx(per_cycle * 1e-3)


def test_an_exp_unit_is_always_charged_outside_tiles() -> None:
    work = einsum("array_1d", exp=1000)
    for accounting in (PUBLISHED, PHYSICAL):
        parts = energy(activity(work, tiled=False), FLAT, accounting)
        assert parts.exp_j == pytest.approx(1000 * 94.6475e-12)
        assert energy(activity(work), FUSEMAX, accounting).exp_j == pytest.approx(6000 * 17.1645e-12)
    assert energy(activity(work), FLAT, PUBLISHED).exp_j == 0


def test_the_order_of_einsums_changes_no_bit() -> None:
    run = fusemax_counts(768, 64, 2**16, 2)
    turned = replace(run, einsums=run.einsums[::-1])
    assert energy(run, FUSEMAX, PHYSICAL) == energy(turned, FUSEMAX, PHYSICAL)


def test_work_that_an_array_cannot_do_is_refused() -> None:
    with pytest.raises(InputError, match="array_2d of 'flat-cloud' does no exp") as caught:
        energy(activity(einsum(exp=1)), FLAT, PUBLISHED)
    assert "mac, add" in str(caught.value)


def test_parts_by_name() -> None:
    parts = energy(fusemax_counts(12, 64, 2**10, 1), FUSEMAX, PUBLISHED)
    assert [*parts.by_part()][:2] == ["dram", "global_buffer"]
    assert sum(parts.by_part().values()) == parts.total_j
