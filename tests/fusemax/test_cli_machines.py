"""``fusemax machines``, ``models`` and ``mappers``: what there is, and what each is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from einsum_cascades.models import load_model, model_names
from fusemax.cli import app
from fusemax.cli.values import shown
from hw_models.load import architecture_names, kind_of, load_machine, read_machine_file
from hw_models.machine import Machine
from hw_models.prices import node_prices
from mappers.strategies import mapper_names

runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"})


def printed(*arguments: object) -> str:
    result = runner.invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.stdout


def data(*arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(printed(*arguments, "--json"))
    return found


def test_the_lists_are_whole() -> None:
    for command, names in (("machines", architecture_names()), ("mappers", mapper_names())):
        assert [row[command[:-1]] for row in data(command)[command]] == list(names)
        first = [line.split()[0] for line in printed(command).splitlines() if line.split()]
        assert [name for name in first if name in names] == list(names)
    assert [row["model"].lower() for row in data("models")["models"]] == list(model_names())


@pytest.mark.parametrize("name", architecture_names())
def test_a_machine_is_told_by_the_keys_that_change_it(name: str) -> None:
    found = data("machines", name)
    machine = load_machine(name)
    assert (found["machine"], found["kind"], found["title"]) == (machine.name, machine.kind, machine.title)
    file = read_machine_file(name)
    known = kind_of(file).keys(file)
    assert {key for key in found["values"] if not key.startswith("products.")} <= known.keys()
    assert all(found["about"][key] for key in found["values"])
    text = printed("machines", name)
    assert all(key in text for key in found["values"])
    changed = [f"{key}={value}" for key, value in found["values"].items() if known.get(key) in (int, float)]
    assert load_machine(name, changed) == machine


def test_a_spatial_array_says_what_it_pays() -> None:
    costs = data("machines", "fusemax-cloud")["costs"]
    machine = load_machine("fusemax-cloud")
    assert isinstance(machine, Machine)
    assert costs["chip.area_mm2"] == pytest.approx(node_prices(machine).area_mm2)
    assert costs["array_2d.exp_j"] == pytest.approx(6 * 17.1645e-12)  # six multiply-accumulates
    assert costs["dram.read_j"] == pytest.approx(249.6e-12 * 2 / 8)
    text = printed("machines", "fusemax-cloud")
    assert "16 MiB" in text
    assert "429.5 GB/s" in text
    assert "source: N. Nayak" in text


def test_the_text_of_a_file_reads_back(tmp_path: Path) -> None:
    for command, name in (("machines", "flat-edge"), ("models", "T5")):
        path = tmp_path / f"{name}.yaml"
        path.write_text(printed(command, name, "--format", "yaml"), encoding="utf-8")
        again = data(command, path)
        assert again == data(command, name)
        assert again["text"] == path.read_text(encoding="utf-8")


def test_a_hugging_face_config_becomes_a_model_file(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"hidden_size": 768, "num_attention_heads": 12, "num_key_value_heads": 4}')
    path = tmp_path / "mine.yaml"
    path.write_text(printed("models", config, "--format", "yaml"), encoding="utf-8")
    read, source = load_model(str(path)), load_model(str(config))
    assert (read.heads, read.head_dim, read.model_dim, read.ffn_dim) == (12, 64, 768, 3072)
    assert read.name == source.name
    assert "note: 4 key-value heads serve 12 heads" in printed("models", config)


def test_a_mapper_says_what_it_does() -> None:
    text = printed("mappers", "fusemax-interleaved")
    assert "spatial arrays (eyeriss, flat-attention-mesh, flat-cloud, flat-edge" in " ".join(text.split())
    assert data("mappers", "gpu-tiles")["fits"] == ["a100", "h100", "h200"]
    summaries = [row["summary"] for row in data("mappers")["mappers"]]
    assert len(set(summaries)) == len(summaries)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["machines", "fusemax-clout"], "did you mean 'fusemax-cloud'"),
        (["models", "brt"], "did you mean 'bert'"),
        (["mappers", "flt"], "did you mean 'flat'"),
        (["machines", "--format", "yaml"], "fusemax machines NAME --format yaml"),
        (["models", "--format", "yaml"], "fusemax models NAME --format yaml"),
        (["machines", "gone.yaml"], "no such file"),
    ],
)
def test_refuses(arguments: list[str], message: str) -> None:
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("global_buffer.bytes", 2**24, "16 MiB"),
        ("hbm.bytes", 85017493504, "79.18 GiB"),
        ("x.bytes", 1536, "1.5 KiB"),
        ("dram.bandwidth_bytes_per_s", 4e11, "400 GB/s"),
        ("tensor.warp_flops_per_s", 6.36e14, "636 Tflop/s"),
        ("operators.exp", 9e9, "9 G/s"),
        ("frequency_hz", 9.4e8, "940 MHz"),
        ("staging", True, "yes"),
        ("array_2d.rows", 1024, "1,024"),
    ],
)
def test_values_have_units(key: str, value: Any, text: str) -> None:
    assert shown(key, value) == text
