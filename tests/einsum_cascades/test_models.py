"""Models: the published sizes, workloads, Hugging Face configurations, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from einsum_cascades.models import Model, load_model, model_from_hf_config, model_names

PUBLISHED = {  # heads, head dimension, model dimension, feed-forward dimension
    "BERT": (12, 64, 768, 3072),
    "TrXL": (16, 64, 1024, 4096),
    "T5": (8, 64, 512, 2048),
    "XLM": (16, 128, 2048, 8192),
}


def config(folder: Path, **values: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(values, indent=2), encoding="utf-8")
    return path


def test_published_models() -> None:
    assert model_names() == ("bert", "t5", "trxl", "xlm")
    for name, sizes in PUBLISHED.items():
        model = load_model(name)
        assert (model.heads, model.head_dim, model.model_dim, model.ffn_dim) == sizes
        assert (model.name, model.batch) == (name, 64)
        assert model.citation
        assert load_model(name.upper()) == load_model(name.lower()) == model


def test_workloads() -> None:
    model = load_model("xlm")
    attention = model.attention(1024, kv_len=4096)
    assert attention.as_dict() == {"E": 128, "F": 128, "M": 4096, "P": 1024}
    assert (attention.batch, attention.heads, attention.name) == (64, 16, "XLM")
    assert model.attention(1024).size("M") == 1024
    linear = model.linear_layers(1024, batch=2)
    assert linear.as_dict() == {"N": 2048, "D": 2048, "G": 2048, "S": 8192}
    assert linear.instances == 1


@pytest.mark.parametrize("size", [0, -1, True])
def test_sizes_that_are_no_sizes(size: int) -> None:
    model = load_model("bert")
    for call in (
        lambda: model.attention(size),
        lambda: model.attention(1024, kv_len=size),
        lambda: model.attention(1024, batch=size),
        lambda: model.linear_layers(size),
        lambda: model.linear_layers(1024, batch=size),
    ):
        with pytest.raises(InputError, match="from 1 to 2.100"):
            call()


def test_unknown_names_and_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'bert'"):
        load_model("brt")
    with pytest.raises(InputError, match="no such file"):
        load_model(str(tmp_path / "none.yaml"))
    path = tmp_path / "m.yaml"
    path.write_text("name: X\nheads: 0\nhead_dim: 64\nmodel_dim: 64\nffn_dim: 64\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_model(str(path))
    assert str(caught.value).startswith(f"{path}:2:8: heads is 0")
    path.write_text("name: X\nheads: 4\nhead_dims: 64\nmodel_dim: 64\nffn_dim: 64\n", encoding="utf-8")
    with pytest.raises(InputError, match="did you mean 'head_dim'"):
        load_model(str(path))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072, "model_type": "bert"},
            Model("bert", 12, 64, 768, 3072),
        ),
        (
            {"n_embd": 768, "n_head": 12, "n_inner": None, "model_type": "gpt2"},
            Model("gpt2", 12, 64, 768, 3072),
        ),
        (
            {"d_model": 1024, "num_heads": 16, "d_kv": 128, "d_ff": 4096, "model_type": "t5"},
            Model("t5", 16, 128, 1024, 4096),
        ),
        ({"d_model": 1024, "n_head": 16, "d_head": 64, "d_inner": 4096}, Model("config", 16, 64, 1024, 4096)),
    ],
)
def test_hugging_face_configurations(tmp_path: Path, values: dict[str, object], expected: Model) -> None:
    path = config(tmp_path, **values)
    model = model_from_hf_config(path)
    sizes = ("name", "heads", "head_dim", "model_dim", "ffn_dim", "batch", "note")
    assert [getattr(model, s) for s in sizes] == [getattr(expected, s) for s in sizes]
    assert load_model(str(path)) == model


def test_shared_keys_and_values_are_noted(tmp_path: Path) -> None:
    values = {"hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8}
    assert "8 key-value heads serve 32 heads" in model_from_hf_config(config(tmp_path, **values)).note


@pytest.mark.parametrize(
    ("text", "start", "hint"),
    [
        ('{"hidden_size": 768,', ":1:21: this is not JSON", ""),
        ("[1]", ":1:1: the text is no JSON object", "hidden_size"),
        ("{}", ":1:1: the model size is missing", "hidden_size, d_model"),
        ('{\n "hidden_size": 0,\n "n_head": 4}', ":2:2: hidden_size is 0", "from 1 to 2^50"),
        ('{"hidden_size": "768"}', ':1:2: hidden_size is "768"', "whole number"),
        ('{"hidden_size": 768}', ":1:1: the number of heads is missing", "n_head"),
        ('{"hidden_size": 100,\n"n_heads": 12}', ":1:2: 12 heads do not divide", "head_dim"),
        ("[" * 100_000, ": this JSON is nested too deeply", ""),
        ('{"hidden_size": 1' + "0" * 5000 + "}", ": this JSON is nested too deeply", ""),
        ('{"hidden_size": 1e400, "n_head": 1}', ":1:2: hidden_size is Infinity", ""),
    ],
)
def test_unusable_configurations(tmp_path: Path, text: str, start: str, hint: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        model_from_hf_config(path)
    assert str(caught.value).startswith(f"{path}{start}")
    assert hint in caught.value.hint


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["hidden_size", "n_head", "head_dim", "d_ff"]),
        st.one_of(st.none(), st.integers(-2, 10**4), st.floats(), st.text(), st.booleans()),
    )
)
def test_any_configuration_is_a_model_or_refused(tmp_path_factory: pytest.TempPathFactory, values: dict) -> None:
    path = config(tmp_path_factory.getbasetemp(), **values)
    try:
        model = model_from_hf_config(path)
    except InputError:
        return
    assert min(model.heads, model.head_dim, model.model_dim, model.ffn_dim) >= 1


def test_all_faulty_keys_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nheds: 12\nhead_dim: 8KiB\nmodeldim: 1K\nffn_dim: 2**12\n")
    with pytest.raises(InputError) as caught:
        load_model(str(path))
    told = str(caught.value)
    for part in (
        "mine.yaml:2:1: unknown key 'heds'",
        "did you mean 'heads'",
        "mine.yaml:4:1: unknown key 'modeldim'",
        "'heads' is missing",
        "'model_dim' is missing",
        "mine.yaml:3:11: head_dim is '8KiB'",
    ):
        assert part in told
    assert told.count("is missing") == 2
    assert caught.value.message == "unknown key 'heds'"


def test_sizes_have_suffixes(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nheads: 2**4\nhead_dim: 128\nmodel_dim: 2K\nffn_dim: '8K'\n")
    model = load_model(str(path))
    assert (model.heads, model.model_dim, model.ffn_dim) == (16, 2048, 8192)


def test_all_that_a_configuration_lacks_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"n_heads": "many"}')
    with pytest.raises(InputError) as caught:
        load_model(str(path))
    assert "the model size is missing" in str(caught.value)
    assert 'n_heads is "many"' in str(caught.value)
