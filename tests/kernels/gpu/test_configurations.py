"""Which kernel runs what: tables, limits of shared memory, and how keys are split."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from kernels.gpu.attention import CASCADES
from kernels.gpu.configurations import Gpu, Shape, choose, width

HOPPER = Gpu(90, 132, 232448, 50 * 2**20, bulk_copies=True)
AMPERE = Gpu(80, 108, 166912, 40 * 2**20)
SMALL = Gpu(89, 60, 101376, 32 * 2**20)
LONG = Shape(1, 16, 16384, 16384, 128, 128)


def test_hopper_kernel_runs_where_it_can() -> None:
    assert choose("attention-1-pass", LONG, HOPPER).kernel == "one_pass_hopper"
    assert choose("attention-1-pass", LONG, HOPPER, aligned=False).kernel == "one_pass"
    assert choose("attention-1-pass", LONG, replace(HOPPER, bulk_copies=False)).kernel == "one_pass"
    assert choose("attention-1-pass", LONG, replace(HOPPER, capability=100)).kernel == "one_pass"
    assert choose("attention-1-pass", LONG, AMPERE).kernel == "one_pass"
    assert choose("attention-1-pass", replace(LONG, head_dim=160), HOPPER).kernel == "one_pass"


def test_each_cascade_has_its_kernel() -> None:
    names = [choose(cascade, LONG, AMPERE).kernel for cascade in CASCADES]
    assert names == ["one_pass", "two_pass", "three_pass", "three_pass_deferred"]


def test_keys_are_split_when_queries_alone_leave_the_gpu_idle() -> None:
    decode = choose("attention-1-pass", Shape(1, 16, 1, 2**17, 128, 128), HOPPER)
    assert decode.kernel == "split_keys"
    assert decode.queries == 16
    assert 132 <= 16 * decode.splits <= 2 * 132
    assert choose("attention-1-pass", Shape(64, 16, 1, 4096, 128, 128), HOPPER).kernel == "one_pass"
    assert choose("attention-1-pass", Shape(1, 16, 1, 600, 128, 128), HOPPER).splits == 1
    assert choose("attention-1-pass", Shape(1, 2, 1024, 16384, 128, 128), HOPPER).splits > 1


@settings(deadline=None)
@given(st.integers(1, 256), st.integers(1, 256), st.integers(1, 9000), st.integers(1, 9000), st.sampled_from(CASCADES))
def test_every_choice_fits_the_gpu(head_dim: int, value_dim: int, q_len: int, kv_len: int, cascade: str) -> None:
    for gpu in (HOPPER, AMPERE, SMALL):
        shape = Shape(1, 4, q_len, kv_len, head_dim, value_dim)
        chosen = choose(cascade, shape, gpu)
        assert chosen.shared_bytes(width(head_dim), width(value_dim)) <= gpu.shared_bytes
        assert chosen.queries >= 16
        assert chosen.keys >= 16
        assert 1 <= chosen.splits <= max(1, kv_len // 512)
        assert chosen.splits == 1 or chosen.kernel == "split_keys"


def test_scores_read_with_bytes_of_their_own_take_room() -> None:
    for score_bytes in (2, 4, 8):
        for size in (64, 128, 256):
            shape = replace(LONG, head_dim=size, value_dim=size)
            chosen = choose("attention-1-pass", shape, HOPPER, score_bytes=score_bytes)
            assert chosen.kernel == "one_pass"
            room = chosen.stages * chosen.queries * chosen.keys * score_bytes
            assert chosen.shared_bytes(size, size) + room == chosen.shared_bytes(size, size, score_bytes)
            assert chosen.shared_bytes(size, size, score_bytes) <= HOPPER.shared_bytes


def test_two_streams_are_not_split() -> None:
    shape = Shape(1, 16, 1, 2**17, 128, 128)
    assert choose("attention-1-pass", shape, HOPPER, streams=2).splits == 1


def test_widths_hold_what_they_pad() -> None:
    for size in range(1, 257):
        assert size <= width(size) < max(17, 2 * size)
        assert width(size).bit_count() == 1


def test_head_sizes_that_no_kernel_takes() -> None:
    with pytest.raises(InputError, match="head size 257 is too large"):
        choose("attention-1-pass", replace(LONG, head_dim=257), HOPPER)
    with pytest.raises(InputError, match="do not fit in shared memory"):
        choose("attention-3-pass", replace(LONG, value_dim=256), replace(SMALL, shared_bytes=16384))
