"""Estimates come from a sample of the points."""

from __future__ import annotations

from fusemax.sweep.estimate import Estimate, estimate
from fusemax.sweep.spec import parse_sweep

TEXT = """axes:
  cascade: attention-1-pass
  arch: fusemax-cloud
  mapper: fusemax-interleaved
  model: BERT
  seq_len: {range: [256, 262144, 256]}
  array_2d.rows: {range: [1, 512]}
filter:
  - array_2d.rows > 256
"""


def test_an_estimate_of_a_large_sweep() -> None:
    found = estimate(parse_sweep(TEXT), 0.2)
    assert found.points == 1024 * 512
    assert 0 < found.sampled < found.points
    assert 0.4 < found.kept < 0.9
    assert found.points_per_s > 100


def test_a_sweep_smaller_than_the_sample() -> None:
    found = estimate(parse_sweep(TEXT.replace("[256, 262144, 256]", "[256, 512, 256]").replace("[1, 512]", "[1, 2]")))
    assert (found.points, found.sampled) == (4, 4)


def test_workers_share_the_time() -> None:
    assert Estimate(1000, 10, 1.0, 100.0).seconds() == 10
    assert Estimate(1000, 10, 1.0, 100.0).seconds(workers=4) == 2.5
