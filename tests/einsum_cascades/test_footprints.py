"""Live footprints against the published reading of attention, and what a buffer makes of them."""

import pytest

from einsum_cascades.errors import InputError
from einsum_cascades.footprints import consequences, footprints
from einsum_cascades.load import load_cascade, parse_cascade


def live(name, rank="M"):
    return {f.tensor: str(f.symbolic) for f in footprints(load_cascade(name), rank) if f.ranks}


def test_whole_fibers_wait_in_the_three_pass_cascade():
    assert live("attention-3-pass") == {"QK": "M", "SN": "M"}
    assert live("attention-3-pass-deferred") == {"QK": "M"}


def test_local_values_wait_in_the_two_pass_cascade():
    found = live("attention-2-pass")
    assert found == {"BQK": "M0", "LM": "M1", "SLN": "M0*M1", "SLD": "M1", "PLM": "M1"}


def test_only_a_tile_waits_in_the_one_pass_cascade():
    """The M0 fiber of BQK is read for LM, then for SLN."""
    assert live("attention-1-pass") == {"BQK": "M0"}
    bqk = next(f for f in footprints(load_cascade("attention-1-pass")) if f.tensor == "BQK")
    assert (bqk.passes, bqk.visits) == (1, (1, 1))
    assert bqk.values({"M0": 256}) == 256


def test_three_parts_keep_what_lies_inside_the_outermost_part_that_is_passed_once():
    cascade = parse_cascade("""
        declaration: {A: [K2, K1, K0], L: [K2], B: [K2, K1, K0], Z: []}
        partition: {K: [K2, K1, K0]}
        expressions: ["L[k2] = A[k2, k1, k0]", "B[k2, k1, k0] = A[k2, k1, k0] * L[k2]", "Z = B[k2, k1, k0]"]
    """)
    found = {f.tensor: f.ranks for f in footprints(cascade, "K")}
    assert found == {"A": ("K1", "K0"), "L": (), "B": ()}


SIZES = {"M": 1024, "P": 8, "E": 4, "F": 4}


def test_an_intermediate_is_written_once_and_read_in_later_passes():
    found = {c.tensor: c for c in consequences(load_cascade("attention-3-pass"), "M", SIZES, 2048, instances=3)}
    qk = found["QK"]
    assert (qk.fiber_bytes, qk.fits) == (2048, True)
    assert [(v.when, v.kept_bytes, v.spilled_bytes) for v in qk.visits] == [
        ("pass 1", 0, 3 * 2 * 1024 * 8),
        ("pass 2", 0, 3 * 2 * 1024 * 8),
    ]
    assert qk.dram_bytes == 0
    (small, *_) = consequences(load_cascade("attention-3-pass"), "M", SIZES, 2047)
    assert not small.fits
    assert small.dram_bytes == 2 * 2 * 1024 * 8


def test_an_input_is_loaded_in_every_pass_or_once():
    sizes = {"M": 512, "P": 4, "F": 2}
    found = {c.tensor: c for c in consequences(load_cascade("layer-norm"), "M", sizes, 100, value_bytes=4)}
    x = found["X"]
    assert [v.when for v in x.visits] == ["pass 1", "pass 2"]
    assert [v.kept_bytes for v in x.visits] == [4 * 512 * 4, 0]
    assert [v.spilled_bytes for v in x.visits] == [4 * 512 * 4] * 2


def test_a_rank_without_a_size_is_named():
    with pytest.raises(InputError, match="rank M of QK has no size"):
        consequences(load_cascade("attention-3-pass"), "M", {"P": 8}, 100)
