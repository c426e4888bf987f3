"""One evaluation: what it takes, what it gives, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fusemax
from einsum_cascades.errors import InputError
from einsum_cascades.load import load_cascade, parse_cascade
from einsum_cascades.workload import Workload
from fusemax.analysis import analyze
from fusemax.evaluation import DTYPE_BITS, evaluate
from fusemax.published import published
from fusemax.workloads import settable_ranks
from hw_models.load import load_architecture
from hw_models.machine import Machine

FUSEMAX = ("attention-1-pass", "fusemax-cloud", "fusemax-interleaved")
MATMUL = """
declaration: {A: [K, M], B: [K, N], Z: [M, N]}
expressions:
  - Z[m, n] = A[k, m] * B[k, n]
"""


def attention(**changes: Any) -> fusemax.Evaluation:
    given: dict[str, Any] = {"batch": 2, "heads": 3, "head_dim": 64, "seq_len": 1024} | changes
    return evaluate(*FUSEMAX, **given)


@pytest.mark.parametrize("config", ["flat", "binding"])
@pytest.mark.parametrize("model", ["BERT", "T5"])
def test_published_rows(config: str, model: str) -> None:
    cascade, arch, mapper = FUSEMAX if config == "binding" else ("attention-3-pass", "flat-cloud", "flat")
    rows = published("attention").query("config == @config and model == @model")
    for row in rows.to_dict("records"):
        found = evaluate(cascade, arch, mapper, model=model, seq_len=row["seq_len"]).as_dict()
        for metric in ("dram_bytes", "latency_s", "util_2d", "util_1d"):
            assert found[metric] == pytest.approx(row[metric], rel=1e-9, abs=0)
        assert found["energy_j"] == pytest.approx(row["energy_j"], rel=1e-3, abs=0)


def test_as_dict_is_plain_data_and_whole() -> None:
    found = attention()
    data = found.as_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert {
        "cascade",
        "arch",
        "mapper",
        "sizes",
        "dram_bytes",
        "buffer_bytes",
        "latency_s",
        "energy_j",
        "area_mm2",
        "util_2d",
        "util_1d",
        "passes",
        "per_einsum",
        "bound",
    } <= data.keys()
    assert data["sizes"] == {"E": 64, "F": 64, "M": 1024, "P": 1024}
    assert sum(data["energy_parts_j"].values()) == pytest.approx(data["energy_j"], rel=1e-14)
    for array in ("2d", "1d"):
        shares = [e["share"] for e in data["per_einsum"] if e["array"] == f"array_{array}"]
        assert sum(shares) == pytest.approx(data[f"util_{array}"], rel=1e-12)


def test_names_files_and_objects_are_the_same(tmp_path: Path) -> None:
    cascade, arch = load_cascade(FUSEMAX[0]), load_architecture(FUSEMAX[1])
    path = tmp_path / "mine.yaml"
    path.write_text(str(cascade))
    workload = Workload.attention(batch=2, heads=3, head_dim=64, seq_len=1024)
    expected = attention().as_dict()
    assert evaluate(cascade, arch, FUSEMAX[2], workload=workload).as_dict() == expected
    assert evaluate(path, *FUSEMAX[1:], workload=workload).as_dict() == expected


def test_explicit_sizes_are_the_models(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"hidden_size": 768, "num_attention_heads": 12, "model_type": "BERT"}))
    by_model = evaluate(*FUSEMAX, model="BERT", seq_len=4096, batch=1).as_dict()
    by_config = evaluate(*FUSEMAX, hf_config=config, seq_len=4096).as_dict()
    by_sizes = evaluate(*FUSEMAX, heads=12, head_dim=64, seq_len=4096).as_dict()
    assert by_model == by_config == by_sizes | {"model": "BERT"}


def test_batch_overrides_the_models() -> None:
    assert evaluate(*FUSEMAX, model="BERT", seq_len=1024).workload.batch == 64
    assert evaluate(*FUSEMAX, model="BERT", seq_len=1024, batch=8).workload.batch == 8


def test_queries_keys_and_values_of_other_sizes() -> None:
    found = attention(kv_len=4096, value_dim=32, head_dim=128)
    assert found.workload.as_dict() == {"E": 128, "F": 32, "M": 4096, "P": 1024}
    assert attention(kv_len=4096).cost.latency_s == pytest.approx(4 * attention().cost.latency_s, rel=0.1)


def test_sizes_replace_a_models() -> None:
    found = evaluate(*FUSEMAX, model="BERT", seq_len=1024, sizes={"F": 128, "M": 2048})
    assert found.workload.as_dict() == {"E": 64, "F": 128, "M": 2048, "P": 1024}


def test_a_cascade_that_is_no_attention() -> None:
    found = evaluate(parse_cascade(MATMUL), "flat-cloud", "unfused", sizes={"K": 64, "M": 4096, "N": 256})
    assert found.cost.dram_bytes == 2 * (64 * 4096 + 64 * 256 + 4096 * 256)
    assert found.as_dict()["util_2d"] > 0


def test_a_model_sizes_the_linear_layers() -> None:
    row = published("linear").query("array == 'flat' and model == 'BERT' and seq_len == 4096").iloc[0]
    found = evaluate("linear-layers", "flat-cloud", "unfused", model="BERT", seq_len=4096)
    assert found.workload.as_dict() == {"N": 64 * 4096, "D": 768, "G": 768, "S": 3072}
    assert found.cost.latency_s == pytest.approx(row["latency_s"], rel=1e-12)


def test_ranks_that_a_workload_sizes() -> None:
    assert settable_ranks(load_cascade("attention-1-pass")) == ("E", "P", "F", "M")
    assert settable_ranks(parse_cascade(MATMUL)) == ("K", "M", "N")


def test_what_ifs_on_the_machine() -> None:
    found = evaluate(*FUSEMAX, model="T5", seq_len=1024, set_arch=["array_2d.rows=128"])
    assert isinstance(found.architecture, Machine)
    assert found.architecture.array("array_2d").pes == 128 * 256
    with pytest.raises(InputError, match="not a Machine object"):
        evaluate("attention-3-pass", load_architecture("flat-cloud"), "flat", model="T5", seq_len=1, set_arch=["a=1"])


def test_accountings_differ() -> None:
    assert attention(accounting="physical").cost.energy_j > attention().cost.energy_j


@pytest.mark.parametrize("dtype", [name for name, bits in DTYPE_BITS.items() if bits == 16])
def test_types_as_wide_as_the_machines(dtype: str) -> None:
    assert attention(dtype=dtype).as_dict() == attention().as_dict()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seq_len": 0}, "the size --seq-len is 0"),
        ({"batch": -1}, "the size --batch is -1"),
        ({"heads": 10**30}, "the size --heads is 10{30}"),
        ({"heads": 10**5000}, "the size --heads is a number of over 60 digits"),
        ({"head_dim": 2.5}, "the size --head-dim is 2.5"),
        ({"head_dim": True}, "the size --head-dim is True"),
        ({"kv_len": "1KiB"}, "the size --kv-len: '1KiB' is no size"),
        ({"sizes": {"E": 0}, "head_dim": None}, "the size of rank E is 0"),
        ({"sizes": {"Q": 1}}, r"'Q' is a tensor \[E, P\] of attention-1-pass, not a rank"),
        ({"sizes": {"M0": 64}}, "'M0' is a part of M"),
        ({"sizes": {"P": 64}}, "given twice: --seq-len 1024 and --set P=64"),
        ({"heads": None}, "the workload lacks --heads"),
        ({"seq_len": None, "head_dim": None}, "the workload lacks --head-dim, --seq-len"),
        ({"model": "BERT"}, "--heads is given beside a model"),
        ({"model": "BERT", "heads": None}, "--head-dim is given beside a model.*\n.*--set E=SIZE"),
        ({"model": "BERT", "hf_config": "x.json"}, "both a model and a Hugging Face config"),
        ({"model": "BERT", "heads": None, "head_dim": None, "seq_len": None}, "sequence length is missing"),
        ({"workload": Workload((("E", 1),))}, "seq_len is given beside a ready workload"),
        ({"causal": True}, "has no causal mask"),
        ({"dtype": "float32"}, "'float32' has 32 bits, fusemax-cloud works on 16-bit values"),
        ({"dtype": "floot16"}, "did you mean 'float16'"),
        ({"accounting": "phisical"}, "did you mean 'physical'"),
        ({"set_arch": ["array_2d.rows=0"]}, "array_2d.rows is 0"),
        ({"set_arch": ["array_3d.rows=8"]}, "unknown key 'array_3d.rows'"),
        ({"set_arch": ["global_buffer.bytes=8192"]}, "the global buffer of 8192 bytes is too small"),
    ],
)
def test_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        attention(**changes)


def test_a_rank_without_a_size() -> None:
    with pytest.raises(InputError, match="rank N has no size"):
        evaluate(parse_cascade(MATMUL), "flat-cloud", "unfused", sizes={"K": 64, "M": 64})


def test_a_workload_of_another_width() -> None:
    workload = Workload.attention(batch=1, heads=1, head_dim=8, seq_len=8, value_bytes=4)
    with pytest.raises(InputError, match="4-byte values, fusemax-cloud works on 2-byte values"):
        evaluate(*FUSEMAX, workload=workload)


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(["unfused", "flat", "flat-searched", "fusemax-serial", "fusemax-interleaved"]),
    st.sampled_from(["attention-3-pass", "attention-3-pass-deferred", "attention-2-pass", "attention-1-pass"]),
    st.sampled_from(["flat-cloud", "flat-edge", "fusemax-cloud"]),
    *(st.integers(1, 2048) | st.integers(1, 2**50) for _ in range(6)),
)
def test_any_size_gives_a_cost(
    mapper: str, cascade: str, arch: str, b: int, h: int, e: int, f: int, p: int, m: int
) -> None:
    """A cost that obeys the machine's limits, or a clear refusal."""
    try:
        found = evaluate(cascade, arch, mapper, batch=b, heads=h, head_dim=e, value_dim=f, seq_len=p, kv_len=m)
    except InputError:
        return
    cost, row, machine = found.cost, found.as_dict(), found.architecture
    assert isinstance(machine, Machine)
    compulsory = b * h * (e * (m + p) + f * (m + p)) * 2
    assert cost.dram_bytes >= compulsory
    assert 0 < row["util_2d"] <= 1 + 1e-12
    assert 0 < row["util_1d"] <= 1 + 1e-12
    assert cost.latency_s >= cost.dram_bytes / machine.root.shared_bytes_per_s * (1 - 1e-12)
    assert 0 < row["energy_j"] < float("inf")


def test_sizes_may_be_written() -> None:
    names = ("attention-3-pass", "flat-cloud", "unfused")
    written = evaluate(
        *names, heads="2", head_dim="2**6", seq_len="4K", sizes={"F": "0.125K"}, set_arch=["array_2d.rows=1K"]
    )
    plain = evaluate(*names, heads=2, head_dim=64, seq_len=4096, sizes={"F": 128}, set_arch=["array_2d.rows=1024"])
    assert written.as_dict() == plain.as_dict()
    assert analyze("attention-3-pass", sizes={"M": "2K"}, buffer_bytes=None).sizes["M"] == 2048
