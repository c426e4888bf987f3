"""The published tables: complete, in SI units, and consistent with facts stated elsewhere."""

import re
from importlib.resources import files

import pytest

from einsum_cascades.errors import InputError
from fusemax.published import CONFIGS, KEYS, LINEAR_ARRAY, published

LENGTHS = [2**k for k in (10, 12, 14, 16, 18, 20)]


def test_attention_has_every_point_once() -> None:
    frame = published("attention")
    assert len(frame) == 2 * 6 * 5
    assert not frame.duplicated(["config", "model", "seq_len"]).any()
    assert set(frame["config"]) == set(CONFIGS)
    assert set(frame["model"]) == {"BERT", "T5"}
    assert sorted(set(frame["seq_len"])) == LENGTHS


def test_units_and_precision() -> None:
    row = published("attention").set_index(["config", "model", "seq_len"]).loc[("flat", "BERT", 4096)]
    assert row["energy_j"] == 39.767686118770086
    assert row["dram_bytes"] == 21128367461.209305
    chip = published("pareto").set_index("pe_dim").loc[256]
    assert chip["array_2d_area_mm2"] == 1207.9512096768
    assert chip["area_mm2"] == 1220.8944418412402


@pytest.mark.parametrize("table", KEYS)
def test_tables_name_their_units_and_source(table: str) -> None:
    frame = published(table)
    assert tuple(frame.columns[: len(KEYS[table])]) == KEYS[table]
    assert not frame.isna().any(axis=None)
    assert not [c for c in frame.columns if re.search(r"_(pj|um2|ms|us)$", c)]
    if table != "end_to_end":
        text = (files("fusemax") / "published" / f"{table}.csv").read_text(encoding="utf-8")
        assert text.startswith("# ")
        assert "arXiv:2406.10491" in text


def test_latency_is_at_least_the_time_of_the_traffic() -> None:
    frame = published("attention")
    assert (frame["latency_s"] >= frame["dram_bytes"] / (400 * 2**30) * (1 - 1e-12)).all()


def test_utilization_by_einsum_adds_up_to_the_arrays() -> None:
    keys = ["config", "model", "seq_len"]
    total = published("utilization_2d").groupby(keys)["fraction"].sum()
    array = published("attention").set_index(keys)["util_2d"]
    assert len(total) == 24
    for point, fraction in total.items():
        assert fraction == pytest.approx(array[point], rel=1e-12)


def test_linear_latency_is_each_layers_multiplications_or_compulsory_traffic() -> None:
    for model, d, ffn in (("BERT", 768, 3072), ("T5", 512, 2048)):
        rows = published("linear").set_index("model").loc[model]
        for seq_len, latency_s in zip(rows["seq_len"], rows["latency_s"], strict=True):
            tokens, total = 64 * seq_len, 0.0
            for inputs, outputs in [(d, d)] * 4 + [(d, ffn), (ffn, d)]:
                compute_s = tokens * inputs * outputs / 256**2 / 940e6
                memory_s = 2 * (tokens * (inputs + outputs) + inputs * outputs) / (400 * 2**30)
                total += max(compute_s, memory_s)
            assert latency_s == pytest.approx(total, rel=1e-12)


def test_end_to_end_is_attention_and_linear() -> None:
    keys = ["config", "model", "seq_len"]
    total = published("end_to_end").set_index(keys)
    attention = published("attention").set_index(keys)
    linear = published("linear").set_index(["array", "model", "seq_len"])
    assert len(total) == 60
    for config, model, n in total.index:
        for column in ("dram_bytes", "latency_s", "energy_j"):
            part = linear.loc[(LINEAR_ARRAY[config], model, n), column]
            assert total.loc[(config, model, n), column] == attention.loc[(config, model, n), column] + part


def test_each_call_returns_a_table_of_its_own() -> None:
    mine = published("pareto")
    mine["latency_s"] = 0.0
    assert (published("pareto")["latency_s"] > 0).all()


def test_unknown_table() -> None:
    with pytest.raises(InputError, match="did you mean 'pareto'"):
        published("paretto")
