"""Accounts of cycles and room add up, exactly, whatever runs; their terms are those of the engine's formulas."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import CASES

import fusemax
from fusemax.simulation.account import CAUSES, ENTRIES, MEANINGS, REASONS

SIZES = st.fixed_dictionaries(
    {
        "heads": st.integers(1, 5),
        "head_dim": st.integers(1, 9),
        "seq_len": st.integers(1, 70),
        "kv_len": st.integers(1, 70),
    }
)


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=3, deadline=None)
@given(sizes=SIZES, accounting=st.sampled_from(("published", "physical")))
def test_accounts_add_up(case: str, sizes: dict[str, int], accounting: str) -> None:
    cascade, arch, mapper, _ = CASES[case]
    found = fusemax.simulate(cascade, arch, mapper, accounting=accounting, **sizes)
    assert {one.array for one in found.accounts} == {a.name for a in found.evaluation.architecture.arrays}
    for one in found.accounts:
        assert list(one.engine) == list(one.simulated) == list(ENTRIES)
        assert sum(one.engine.values()) == found.engine_cycles
        assert sum(one.simulated.values()) == found.cycles
        assert sum(one.differences.values()) == found.cycles - found.engine_cycles
        assert min(one.engine.values()) >= 0
        assert min(one.simulated.values()) >= 0
        assert 0 <= one.ends <= one.engine["dependence"]
        work = [row for row in found.per_einsum() if row["array"] == one.array]
        assert one.engine["works"] == sum(row["engine"] for row in work)
        assert one.simulated["works"] == sum(row["simulated"] for row in work)
    assert [one.simulated["works"] for one in found.accounts] == sorted(
        (one.simulated["works"] for one in found.accounts), reverse=True
    )
    for room in found.rooms:
        assert room.engine + room.copies + room.overlap + room.ahead == room.simulated
        assert room.copies == 0 or accounting == "published"


def test_each_cause_has_its_words() -> None:
    assert list(MEANINGS) == list(ENTRIES)
    assert list(REASONS) == list(CAUSES)


def test_the_serial_schedule_waits_for_drains() -> None:
    """Each of its epochs waits once for the results of the 256 rows of the 2D array."""
    found = fusemax.simulate("attention-1-pass", "fusemax-cloud", "fusemax-serial", model="BERT", seq_len=1024)
    epochs = next(row["tasks"] for row in found.per_einsum() if row["einsum"] == "BQK")
    one = next(one for one in found.accounts if one.array == "array_1d")
    assert one.engine["drain"] == 256 * epochs
    assert one.simulated["drain"] >= 256 * epochs


def test_ends_of_pipelines_are_what_the_physical_accounting_adds() -> None:
    sizes = {"heads": 1, "head_dim": 64, "seq_len": 4096}
    runs = [
        fusemax.simulate("attention-3-pass", "flat-cloud", "flat", accounting="physical", **sizes),
        fusemax.simulate("attention-3-pass", "flat-cloud", "flat", accounting="published", **sizes),
    ]
    ends = [{one.array: one.ends for one in run.accounts} for run in runs]
    assert all(count > 0 for count in ends[0].values())
    assert set(ends[1].values()) == {0}


def test_traffic_that_takes_longer_is_a_wait_for_the_port() -> None:
    """With a slow memory a phase takes its bytes' time; an array that comes later waits, one that is done is idle."""
    slow = ("dram.bandwidth_bytes_per_s=1000000000",)
    found = fusemax.simulate(
        "attention-3-pass", "flat-cloud", "unfused", heads=1, head_dim=64, seq_len=256, set_arch=slow
    )
    first, second = (next(o for o in found.accounts if o.array == name) for name in ("array_2d", "array_1d"))
    assert first.engine["port"] > 0.4 * found.engine_cycles
    assert second.engine["over"] > 0
    assert second.engine["dependence"] > 0
    assert abs(second.differences["over"]) < 0.05 * found.engine_cycles
