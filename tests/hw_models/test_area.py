"""Chip areas against the published ones (Nayak et al., MICRO 2024, and its artifact)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hw_models.architecture import Array, Unit
from hw_models.area import area, pe_area_um2
from hw_models.load import load_architecture


@pytest.mark.parametrize(
    ("name", "array_2d_mm2", "chip_mm2"),
    [("flat-cloud", 1203.20, 1391.82), ("fusemax-cloud", 1207.95, 1302.95)],
)
def test_published_chips(name: str, array_2d_mm2: float, chip_mm2: float) -> None:
    parts = area(load_architecture(name))
    assert parts.array_2d_um2 * 1e-6 == pytest.approx(array_2d_mm2, abs=0.005)
    assert parts.chip_mm2 == pytest.approx(chip_mm2, abs=0.005)


# Side of the 2D array, global buffer in bytes, and the areas published for the sweep of BERT at 256K, in mm².
PARETO = [
    (16, 16 * 2**10, 4.712617, 5.441230),
    (32, 32 * 2**10, 18.850437, 20.315554),
    (64, 64 * 2**10, 75.401686, 78.369596),
    (128, 128 * 2**10, 301.797241, 307.907612),
    (256, 256 * 2**10, 1207.951210, 1220.894442),
    (512, 2**20, 4834.854330, 4885.081009),
]


@pytest.mark.parametrize(("side", "buffer_bytes", "array_2d_mm2", "chip_mm2"), PARETO)
def test_published_sweep(side: int, buffer_bytes: int, array_2d_mm2: float, chip_mm2: float) -> None:
    overrides = {
        "array_2d.rows": str(side),
        "array_2d.columns": str(side),
        "global_buffer.bytes": str(buffer_bytes),
    }
    parts = area(load_architecture("fusemax-cloud", overrides))
    assert parts.array_2d_um2 * 1e-6 == pytest.approx(array_2d_mm2, rel=0.02)
    assert parts.chip_mm2 == pytest.approx(chip_mm2, rel=0.02)


def test_an_adder_takes_area_only_without_a_mac() -> None:
    def pe(*components: str) -> float:
        works = ("mac", "add", "exp")
        units = tuple((w, Unit(c)) for w, c in zip(works, components, strict=False))
        machine = load_architecture("fusemax-cloud")
        return pe_area_um2(replace(machine, array_2d=Array("array_2d", 1, 1, 4, units)), "array_2d")

    assert pe("mac", "add") == pe("mac") == pe("mac", "mac", "mac")
    assert pe("add") == pytest.approx(pe("mac") - 1545 + 1030)
