"""CACTI as the package hwcomponents runs it against the tables, where the extra ``components`` is installed."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import pytest

from einsum_cascades.errors import InputError
from fusemax.evaluation import evaluate
from hw_models.components import characterise, memory, memory_cost
from hw_models.components.cacti import sram, sram_table
from hw_models.components.hwcomponents import cacti_sram

INSTALLED = importlib.util.find_spec("hwcomponents_cacti") is not None


def _obstacle() -> str:
    """What keeps CACTI from running, if anything."""
    if not INSTALLED:
        return "the extra components is not installed"
    try:
        cacti_sram(2**14, 256)
    except InputError as error:
        return str(error)
    return ""


OBSTACLE = _obstacle()
needs_cacti = pytest.mark.skipif(bool(OBSTACLE), reason=OBSTACLE)


@needs_cacti
@pytest.mark.parametrize(
    ("node", "ports", "width", "capacity"),
    [(45, 1, 4096, 2**24), (45, 4, 4096, 2**24), (22, 1, 256, 2**20), (90, 2, 1024, 2**18), (65, 1, 64, 2**12)],
)
def test_the_table_restates_what_cacti_says(node: int, ports: int, width: int, capacity: int) -> None:
    live, row = cacti_sram(capacity, width, ports, node), sram_table()[node, ports, width, capacity]
    for figure in ("read_j", "write_j", "leak_w", "area_mm2"):
        assert getattr(live, figure) == pytest.approx(getattr(row, figure), rel=1e-5)


@needs_cacti
@pytest.mark.parametrize(("width", "capacity"), [(512, 2**20), (2048, 2**24), (4096, 2**25)])
def test_accelergys_memories_have_one_bank_and_one_port(width: int, capacity: int) -> None:
    one, theirs = cacti_sram(capacity, width), memory("sram", width, capacity)
    assert one.read_j == pytest.approx(theirs.read_j, rel=2e-4)
    assert one.area_mm2 == pytest.approx(theirs.area_mm2, rel=2e-4)
    assert one.leak_w == pytest.approx(theirs.leak_w, rel=5e-3)


@needs_cacti
def test_between_the_points_of_the_table() -> None:
    """Interpolation is off by a third at most here: a layout may change between two points."""
    for width, capacity, node in ((4096, 3 * 2**22, 45), (1024, 3 * 2**18, 45), (256, 2**20, 28)):
        live, ours = cacti_sram(capacity, width, 1, node), sram(capacity, width, 1, node)
        assert ours.read_j == pytest.approx(live.read_j, rel=0.35)
        assert ours.area_mm2 == pytest.approx(live.area_mm2, rel=0.35)


@needs_cacti
def test_prices_of_a_machine() -> None:
    asked = {"cascade": "attention-1-pass", "arch": "fusemax-cloud", "mapper": "fusemax-interleaved"}
    sizes = {"batch": 1, "heads": 1, "head_dim": 64, "seq_len": 1024}
    live, ours = (
        evaluate(**asked, **sizes, set_arch=[f"global_buffer.table={t}", "global_buffer.ports=1"]).as_dict()  # type: ignore[arg-type]
        for t in ("hwcomponents", "accelergy")
    )
    assert live["area_mm2"] == pytest.approx(ours["area_mm2"], rel=1e-5)
    assert live["energy_j"] == pytest.approx(ours["energy_j"], rel=1e-4)


@needs_cacti
def test_characterise_writes_rows_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, few in {"NODES_NM": (45,), "PORTS": (1,), "WIDTHS_BITS": (64,), "CAPACITIES_BYTES": (2**12,)}.items():
        monkeypatch.setattr(characterise, name, few)
    out = io.StringIO()
    characterise.characterise(out)
    header, row = out.getvalue().splitlines()
    assert header == ",".join(characterise.COLUMNS)
    assert sram_table()[45, 1, 64, 2**12].read_j == pytest.approx(float(row.split(",")[4]))


@needs_cacti
def test_a_program_that_does_not_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwcomponents_cacti.hwcomponents_cacti._get_cacti_dir", lambda _: str(tmp_path))
    with pytest.raises(InputError, match="CACTI fails for an SRAM of 12288 bytes, 72 bits wide") as caught:
        cacti_sram(12288, 72)
    assert "make -C" in caught.value.hint


@pytest.mark.skipif(INSTALLED, reason="the extra components is installed")
def test_without_the_extra() -> None:
    with pytest.raises(InputError, match="needs hwcomponents_cacti") as caught:
        memory_cost(bytes=2**20, width_bits=256, table="hwcomponents")
    assert "[components]'" in caught.value.hint
    assert "Python 3.12" in caught.value.message


@pytest.mark.parametrize("node", [16, 130])
def test_process_nodes_of_cacti(node: int) -> None:
    with pytest.raises(InputError, match=f"no SRAM at {node} nm"):
        cacti_sram(2**20, 256, 1, node)
