"""Options of ``evaluate`` as axes: configurations of Hugging Face, scalars of masks, sizes with suffixes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from einsum_cascades.errors import InputError
from fusemax.evaluation import evaluate
from fusemax.sweep.evaluate import evaluate_points
from fusemax.sweep.group import Group
from fusemax.sweep.runner import run
from fusemax.sweep.spec import parse_sweep

WINDOW = """
axes:
  cascade: attention-sliding-window
  arch: h100
  mapper: gpu-tiles
  heads: 16
  head_dim: 64
  seq_len: [4K, 8K]
  W: [128, 1K]
"""
SIZES = {
    "small": '{"hidden_size": 512, "num_attention_heads": 8}',
    "large": '{"hidden_size": 1024, "num_attention_heads": 16, "head_dim": 128}',
}


@pytest.fixture
def configs(tmp_path: Path) -> dict[str, Path]:
    paths = {name: tmp_path / f"{name}.json" for name in SIZES}
    for name, path in paths.items():
        path.write_text(SIZES[name])
    return paths


def spec_of(configs: dict[str, Path], mapper: str = "fusemax-interleaved", more: str = "") -> str:
    names = ", ".join(map(str, configs.values()))
    return (
        f"axes:\n  cascade: attention-1-pass\n  arch: fusemax-cloud\n  mapper: {mapper}\n  hf_config: [{names}]\n"
        f"  seq_len: [2K, 8K]\n  global_buffer.bytes: [8MiB, 16 MiB]\n{more}"
    )


def test_the_width_of_a_window_is_an_axis_and_stays_in_the_store(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(WINDOW)
    table = run(path, tmp_path / "out", workers=1).store.table()
    rows: list[dict[str, Any]] = table.to_pylist()
    assert [(row["seq_len"], row["W"]) for row in rows] == [(4096, 128), (4096, 1024), (8192, 128), (8192, 1024)]
    for row in rows:
        sizes = {"W": row["W"]}
        found = evaluate(
            *("attention-sliding-window", "h100", "gpu-tiles"),
            heads=16,
            head_dim=64,
            seq_len=row["seq_len"],
            sizes=sizes,
        )
        assert row["latency_s"] == found.cost.latency_s
    assert rows[0]["latency_s"] < rows[1]["latency_s"]


def test_configurations_are_an_axis_and_are_evaluated_in_batches(
    configs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("these points are evaluated together")

    sweep = parse_sweep(spec_of(configs, more="filter: [seq_len <= 4K]\n"))
    monkeypatch.setattr(Group, "_one_by_one", refuse)
    rows = evaluate_points(sweep, 0, sweep.points).to_pylist()
    assert [(row["hf_config"], row["global_buffer.bytes"]) for row in rows] == [
        (str(path), size) for path in configs.values() for size in (2**23, 2**24)
    ]
    for row in rows:
        found = evaluate(
            *("attention-1-pass", "fusemax-cloud", row["mapper"]),
            hf_config=row["hf_config"],
            seq_len="2K",
            set_arch=[f"global_buffer.bytes={row['global_buffer.bytes']}"],
        )
        assert row["latency_s"] == pytest.approx(found.cost.latency_s, rel=1e-12)
    assert [name for name, _ in sweep.files] == sorted(map(str, configs.values()))


def test_the_canonical_text_of_such_sweeps_reads_back(configs: dict[str, Path]) -> None:
    for text in (WINDOW, spec_of(configs)):
        sweep = parse_sweep(text)
        assert parse_sweep(sweep.text) == sweep


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("arch: h100\n  mapper: gpu-tiles", "arch: fusemax-cloud\n  mapper: unfused", "'W' is a scalar input"),
        ("attention-sliding-window", "attention-1-pass", "unknown axis 'W'"),
        ("W: [128, 1K]", "W: [128, 1KiB]", "'W' is a number, found '1KiB'"),
        ("heads: 16\n  head_dim: 64", "model: BERT\n  hf_config: x.json", "both 'model' and 'hf_config' are axes"),
        ("heads: 16\n  head_dim: 64", "hf_config: gone.json", "no such file"),
    ],
)
def test_refuses(old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_sweep(WINDOW.replace(old, new))


def test_all_faulty_keys_are_told_at_once() -> None:
    text = "titel: x\naxes:\n  cascade: attention-1-pass\n  arhc: h100\nfilters: []\n"
    with pytest.raises(InputError) as caught:
        parse_sweep(text, "space.yaml")
    told = str(caught.value)
    for part in (
        "space.yaml:1:1: unknown key 'titel'",
        "space.yaml:5:1: unknown key 'filters'",
        "key 'arch'",
        "'mapper'",
    ):
        assert part in told
    text = WINDOW.replace("seq_len:", "seq-len:").replace("heads:", "hedas:")
    with pytest.raises(InputError) as caught:
        parse_sweep(text)
    assert "unknown axis 'seq-len'" in str(caught.value)
    assert "unknown axis 'hedas'" in str(caught.value)


def test_sizes_have_suffixes_in_axes_and_filters() -> None:
    axes = "  seq_len: {log_range: [1K, 8K], factor: 2}\n  dram.bandwidth_bytes_per_s: [400GiB/s, 1TB]\n"
    text = f"axes:\n  cascade: attention-1-pass\n  arch: fusemax-cloud\n  mapper: unfused\n  model: BERT\n{axes}"
    sweep = parse_sweep(text + "filter: [seq_len >= 2K and global_buffer.bytes >= 16.0MiB]\n")
    rows = evaluate_points(sweep, 0, sweep.points).to_pylist()
    found = [(row["seq_len"], row["dram.bandwidth_bytes_per_s"]) for row in rows]
    assert found == [(n, b) for n in (2048, 4096, 8192) for b in (400 * 2**30, 1e12)]
