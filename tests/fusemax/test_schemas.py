"""JSON schemas: every file that comes with the package is valid, and misspelt keys are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

import einsum_cascades
from einsum_cascades.errors import InputError
from einsum_cascades.yaml_source import parse_yaml
from fusemax.cli import app, completion
from fusemax.mapping_files import parse_mapping
from fusemax.schemas import json_schema, schema_kinds

ROOT = Path(einsum_cascades.__file__).parents[1]
FOLDERS = {
    "machine": "hw_models/machines",
    "model": "einsum_cascades/models",
    "cascade": "einsum_cascades/library",
    "sweep": "fusemax/studies",
}
FILES = [(kind, path) for kind, folder in FOLDERS.items() for path in sorted((ROOT / folder).glob("*.yaml"))]
NEEDS_ALL = {
    "machine": "frequency_hz",
    "spatial-array": "frequency_hz",
    "cpu": "threads",
    "gpu": "sms",
    "model": "heads",
    "cascade": "declaration",
    "mapping": "tree",
    "sweep": "axes",
}


def tree(path: Path) -> Any:
    return parse_yaml(path.read_text(encoding="utf-8"), path.name).plain()


OWN_NAMES = ("nodes", "dimensions", "bits")
"""Parts of a file whose keys are names of its own."""


def misspelt(node: dict[str, Any], *, deep: bool, own: bool = False) -> list[dict[str, Any]]:
    """The tree with one of its keys misspelt, for each key that is no name of its own."""
    found = [] if own else [{(f"{k}x" if k == key else k): v for k, v in node.items()} for key in node]
    for key, inner in node.items():
        if deep and isinstance(inner, dict):
            found += [{**node, key: other} for other in misspelt(inner, deep=True, own=key in OWN_NAMES)]
    return found


@pytest.mark.parametrize("kind", schema_kinds())
def test_a_schema_is_one_and_describes_every_key(kind: str) -> None:
    schema = json_schema(kind)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"].endswith("2020-12/schema")
    assert schema["title"] == f"fusemax {kind}"
    assert not Draft202012Validator(schema).is_valid({"name": "nothing"})
    assert NEEDS_ALL[kind] in json.dumps(schema)


@pytest.mark.parametrize("kind", ["spatial-array", "cpu", "gpu", "model"])
def test_every_key_has_a_description(kind: str) -> None:
    schema = json_schema(kind)
    sections = schema.get("$defs", {})
    for section in (schema, *sections.values()):
        for key, value in section["properties"].items():
            inner = sections.get(value.get("$ref", "").rpartition("/")[2], {})
            assert value.get("description") or inner.get("description"), f"{section['title']}.{key}"


@pytest.mark.parametrize(("kind", "path"), FILES, ids=lambda value: getattr(value, "stem", value))
def test_files_are_valid_and_misspelt_keys_are_not(kind: str, path: Path) -> None:
    validator = Draft202012Validator(json_schema(kind))
    plain = tree(path)
    assert [error.message for error in validator.iter_errors(plain)] == []
    others = misspelt(plain, deep=kind != "cascade")  # which has names of its own further in
    assert len(others) >= 3
    assert [other for other in others if validator.is_valid(other)] == []


@pytest.mark.parametrize(
    ("kind", "change", "valid"),
    [
        ("model", {"heads": "1K"}, True),
        ("model", {"heads": "1KiB"}, False),
        ("model", {"heads": 0}, False),
        ("spatial-array", {"nodes": {"m": {"kind": "memory", "bytes": "16MiB"}}}, True),
        ("spatial-array", {"nodes": {"m": {"kind": "memory", "bytes": "16Mb"}}}, False),
        ("spatial-array", {"nodes": {"m": {"kind": "memory", "bandwidth_bytes_per_s": "400GiB/s"}}}, True),
        ("machine", {"kind": "tpu"}, False),
        ("machine", {"kind": "gpu"}, False),
    ],
)
def test_values(kind: str, change: dict[str, Any], valid: bool) -> None:
    name = "bert" if kind == "model" else "fusemax-cloud"
    plain = tree(ROOT / FOLDERS["model" if kind == "model" else "machine"] / f"{name}.yaml")
    assert Draft202012Validator(json_schema(kind)).is_valid({**plain, **change}) == valid


@pytest.mark.parametrize(
    ("axes", "valid"),
    [
        ({"seq_len": ["4K", 65536], "W": 128, "hf_config": "config.json"}, True),
        ({"seq_len": {"log_range": ["1K", "1M"], "factor": 2}, "causal": [True, False]}, True),
        ({"global_buffer.bytes": {"range": ["1MiB", "4MiB", "1MiB"]}}, True),
        ({"seq-len": 8}, False),
        ({"seq_len": "8KiB"}, False),
        ({"seq_len": {"rang": [1, 2]}}, False),
        ({"global_buffer.byte": 8}, False),
    ],
)
def test_axes(axes: dict[str, Any], valid: bool) -> None:
    needed = {"cascade": "attention-1-pass", "arch": "h100", "mapper": "gpu-tiles"}
    assert Draft202012Validator(json_schema("sweep")).is_valid({"axes": needed | axes}) == valid


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({}, True),
        ({"sizes": {"M": "4K", "instances": 12}, "set_arch": ["dram.ports=2"], "accounting": "physical"}, True),
        ({"sizes": {"m": 8}}, False),
        ({"sizes": {"M": 0}}, False),
        ({"set_arch": ["dram.ports"]}, False),
        ({"accounting": "guessed"}, False),
        ({"mapper": "flat"}, False),
    ],
)
def test_mappings(change: dict[str, Any], valid: bool) -> None:
    plain = {"cascade": "attention-1-pass", "machine": "fusemax-cloud", "tree": "compute QK on array_2d"}
    assert Draft202012Validator(json_schema("mapping")).is_valid(plain | change) == valid
    if valid:
        assert parse_mapping(json.dumps(plain | change)).cascade == "attention-1-pass"


def test_the_command() -> None:
    runner = CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1"})
    assert json.loads(runner.invoke(app, ["schema", "machine"]).stdout) == json_schema("machine")
    listed = runner.invoke(app, ["schema"]).stdout
    assert all(about in listed for about in schema_kinds().values())
    wrong = runner.invoke(app, ["schema", "machin"])
    assert (wrong.exit_code, "did you mean 'machine'" in wrong.stderr) == (2, True)
    assert completion.schemas("") == list(schema_kinds())
    with pytest.raises(InputError, match="unknown kind of file"):
        json_schema("paper")
