"""``fusemax evaluate``: the same numbers as the Python face, and a clear end for every unusable input."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

import fusemax
import hw_models
from einsum_cascades.load import load_cascade
from fusemax.cli import app
from fusemax.published import published

runner = CliRunner(env={"COLUMNS": "120", "NO_COLOR": "1"})
FUSEMAX = ("--cascade", "attention-1-pass", "--arch", "fusemax-cloud", "--mapper", "fusemax-interleaved")
BERT = ("--model", "BERT", "--seq-len", "1024")
CONFIGS = {
    "flat": ("attention-3-pass", "flat-cloud", "flat"),
    "cascade": ("attention-1-pass", "flat-cloud", "fusemax-serial"),
    "architecture": ("attention-1-pass", "fusemax-cloud", "fusemax-serial"),
    "binding": ("attention-1-pass", "fusemax-cloud", "fusemax-interleaved"),
}
MATMUL = "declaration: {A: [K, M], B: [K, N], Z: [M, N]}\nexpressions: ['Z[m, n] = A[k, m] * B[k, n]']\n"


def run(*arguments: object) -> Result:
    return runner.invoke(app, ["evaluate", *map(str, arguments)])


def numbers(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    data: dict[str, Any] = json.loads(result.stdout)
    return data


def refused(*arguments: object) -> str:
    """Return the message of a run that must end with status 2, nothing printed and no traceback."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.mark.parametrize(
    ("arguments", "same"),
    [
        (BERT, {"model": "BERT", "seq_len": 1024}),
        ((*BERT, "--batch", 2, "--kv-len", 4096), {"model": "BERT", "seq_len": 1024, "batch": 2, "kv_len": 4096}),
        ((*BERT, "--set", "F=128"), {"model": "BERT", "seq_len": 1024, "sizes": {"F": 128}}),
        ((*BERT, "--accounting", "physical"), {"model": "BERT", "seq_len": 1024, "accounting": "physical"}),
        (
            (*BERT, "--set-arch", "array_2d.rows=128", "--set-arch", "global_buffer.bytes=8MiB"),
            {"model": "BERT", "seq_len": 1024, "set_arch": ["array_2d.rows=128", "global_buffer.bytes=8388608"]},
        ),
        (
            ("--heads", 3, "--head-dim", 32, "--value-dim", 64, "--seq-len", "2**12"),
            {"batch": 1, "heads": 3, "head_dim": 32, "value_dim": 64, "seq_len": 4096},
        ),
        ((*BERT, "--dtype", "bfloat16"), {"model": "BERT", "seq_len": 1024}),
    ],
)
def test_json_is_the_python_face(arguments: tuple[object, ...], same: dict[str, Any]) -> None:
    expected = fusemax.evaluate("attention-1-pass", "fusemax-cloud", "fusemax-interleaved", **same).as_dict()
    assert numbers(*FUSEMAX, *arguments) == expected


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("seq_len", [1024, 2**20])
def test_published_rows(config: str, seq_len: int) -> None:
    cascade, arch, mapper = CONFIGS[config]
    data = numbers(*("--cascade", cascade, "--arch", arch, "--mapper", mapper, "--model", "T5", "--seq-len", seq_len))
    (row,) = (
        published("attention").query("config == @config and model == 'T5' and seq_len == @seq_len").to_dict("records")
    )
    for metric in ("dram_bytes", "latency_s", "util_2d", "util_1d"):
        assert data[metric] == pytest.approx(row[metric], rel=1e-9, abs=0)
    assert data["energy_j"] == pytest.approx(row["energy_j"], rel=1e-3, abs=0)


def test_files_wherever_names_are_taken(tmp_path: Path) -> None:
    cascade, arch, model, config = (tmp_path / n for n in ("c.yaml", "a.yaml", "m.yaml", "config.json"))
    cascade.write_text(str(load_cascade("attention-1-pass")))
    machines = Path(hw_models.__file__).parent / "machines"
    arch.write_text((machines / "fusemax-cloud.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    model.write_text("{name: BERT, heads: 12, head_dim: 64, model_dim: 768, ffn_dim: 3072, batch: 64}")
    config.write_text(json.dumps({"model_type": "BERT", "hidden_size": 768, "num_attention_heads": 12}))
    expected = numbers(*FUSEMAX, *BERT)
    files = ("--cascade", cascade, "--arch", arch, "--mapper", "fusemax-interleaved", "--seq-len", 1024)
    assert numbers(*files, "--model", model) == expected
    assert numbers(*files, "--hf-config", config, "--batch", 64) == expected


def test_a_cascade_sized_rank_by_rank(tmp_path: Path) -> None:
    path = tmp_path / "matmul.yaml"
    path.write_text(MATMUL)
    data = numbers(
        *("--cascade", path, "--arch", "flat-cloud", "--mapper", "unfused"),
        *("--set", "K=64", "--set", "M=1_024", "--set", "N=2**8"),
    )
    assert data["sizes"] == {"K": 64, "M": 1024, "N": 256}
    assert data["dram_bytes"] == 2 * (64 * 1024 + 64 * 256 + 1024 * 256)


def test_text_shows_every_field() -> None:
    result = run(*FUSEMAX, *BERT)
    assert result.exit_code == 0
    assert result.stderr == ""
    for shown in (
        "attention-1-pass on fusemax-cloud",
        "fusemax-interleaved",
        "published",
        "BERT: B 64, H 12, E 64, F 64, M 1,024, P 1,024; 16-bit values",
        "2.013 ms",
        "1.951 J",
        "384 MiB (402,653,184 bytes)",
        "1,303 mm²",
        "89.0 %",
        "cycles of the 1D array",
        "global buffer",
    ):
        assert shown in result.stdout
    (line,) = (x for x in result.stdout.splitlines() if x.split()[:1] == ["BQK"])
    assert line.split()[1:3] == ["2D", "786,432"]


CASCADES = {
    "syntax": ("declaration: {A: [K], Z: []}\nexpressions: ['Z = A[k] * * A[k]']", "^"),
    "undeclared": ("declaration: {A: [K], Z: []}\nexpressions: ['Z = A[k] * B[k]']", "unknown tensor 'B'"),
    "circle": ("declaration: {A: [K], B: [K]}\nexpressions: ['A[k] = B[k]', 'B[k] = A[k]']", "circle"),
    "no YAML": ("declaration: {A: [K\nexpressions", "this is not YAML"),
    "a tag": ("declaration: !!python/object/apply:os.system ['true']", "tags are not read here"),
    "no cascade": ("[1, 2]", "expected a mapping, found a list"),
    "nothing": ("", "expected a mapping, found nothing"),
}


@pytest.mark.parametrize("case", CASCADES)
def test_damaged_cascades(tmp_path: Path, case: str) -> None:
    text, message = CASCADES[case]
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    stderr = refused("--cascade", path, "--arch", "flat-cloud", "--mapper", "unfused", "--set", "K=64")
    assert message in stderr
    assert f"{path}:" in stderr
    assert "^" in stderr or not text


@pytest.mark.parametrize("option", ["--cascade", "--arch", "--model", "--hf-config"])
def test_files_that_cannot_be_read(tmp_path: Path, option: str) -> None:
    given = {"--cascade": "attention-3-pass", "--arch": "flat-cloud", "--mapper": "unfused", "--seq-len": "64"}
    if option not in given and option != "--hf-config":
        given["--model"] = "BERT"
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(bytes(range(256)))
    folder = tmp_path / "folder.yaml"
    folder.mkdir()
    for path, message in (
        (binary, "this is not UTF-8 text"),
        (folder, "this is a directory"),
        (tmp_path / "gone.yaml", "no such file"),
    ):
        values = given | {option: str(path)}
        assert message in refused(*(part for pair in values.items() for part in pair))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "BERT", "--seq-len", 0), "the size --seq-len is 0"),
        (("--model", "BERT", "--seq-len", -7), "the size --seq-len is -7"),
        (("--model", "BERT", "--seq-len", "1e30"), "'1e30' is no size"),
        (("--model", "BERT", "--seq-len", 10**30), "from 1 to 2^50 is expected"),
        (("--model", "BERT", "--seq-len", "9" * 5000), "is no size"),
        (("--model", "BERT", "--seq-len", "2**999"), "over 60 digits"),
        (("--model", "BERT", "--seq-len", "nan"), "'nan' is no size"),
        (("--model", "BERT", "--seq-len", "64.5"), "'64.5' is no size"),
        (("--model", "bart", "--seq-len", 64), "unknown model 'bart'\n  did you mean 'bert'?"),
        (("--model", "BERT"), "the sequence length is missing"),
        (("--model", "BERT", "--hf-config", "x.json", "--seq-len", 4), "both a model and a Hugging Face config"),
        (("--model", "BERT", "--seq-len", 64, "--heads", 2), "--heads is given beside a model"),
        (("--seq-len", 64), "the workload lacks --heads, --head-dim"),
        ((), "the workload lacks --heads, --head-dim, --seq-len"),
        (("--set", "E=64"), "rank P has no size"),
        (("--set", "X=64"), "unknown rank of attention-1-pass 'X'"),
        (("--set", "E"), "--set:1:1: a rank and its size are expected"),
        (("--set", "E=many"), "  E=many\n    ^^^^"),
        (("--set", "E=0", "--set", "F=1"), "the size of rank E is 0"),
        (("--set", "E=1", "--set", "E=2"), "rank E is given two sizes"),
        ((*BERT, "--set", "P=64"), "the size of P is given twice"),
        ((*BERT, "--set-arch", "array_2d.row=8"), "did you mean 'array_2d.rows'"),
        ((*BERT, "--set-arch", "array_2d.rows"), "is overridden without a value"),
        ((*BERT, "--set-arch", "array_2d.rows=0"), "array_2d.rows is 0"),
        ((*BERT, "--set-arch", "array_2d.rows=1e99"), "array_2d.rows is '1e99'"),
        ((*BERT, "--set-arch", "global_buffer.bytes=100"), "less than one row"),
        ((*BERT, "--set-arch", "global_buffer.bytes=4096"), "too small for any fused mapping"),
        ((*BERT, "--accounting", "publisht"), "did you mean 'published'"),
        ((*BERT, "--causal"), "has no causal mask"),
        ((*BERT, "--dtype", "float8"), "'float8' has 8 bits, fusemax-cloud works on 16-bit values"),
        ((*BERT, "--dtype", "half"), "unknown dtype 'half'"),
        ((*BERT, "--mapper", "fusemax"), "unknown mapper 'fusemax'"),
        ((*BERT, "--arch", "fusemax-clout"), "did you mean 'fusemax-cloud'"),
        ((*BERT, "--cascade", "attention"), "unknown cascade 'attention'"),
    ],
)
def test_refuses(arguments: tuple[object, ...], message: str) -> None:
    shown = refused(*FUSEMAX, *arguments)
    assert message in shown or message in " ".join(shown.replace("│", " ").split())


def test_errors_under_json_leave_standard_output_empty() -> None:
    assert "unknown mapper" in refused(*FUSEMAX, *BERT, "--mapper", "none", "--json")


SIZES = st.integers(-2, 5000).map(str) | st.integers(0, 2**70).map(str) | st.text(max_size=8)
KEYS = st.sampled_from(["array_2d.rows", "array_1d.columns", "global_buffer.bytes", "frequency_hz", "staging", "x"])
VALUES = st.fixed_dictionaries(
    {
        "--cascade": st.sampled_from(["attention-1-pass", "attention-3-pass", "linear-layers"]) | st.text(max_size=8),
        "--arch": st.sampled_from(["flat-cloud", "flat-edge", "fusemax-cloud"]) | st.text(max_size=8),
        "--mapper": st.sampled_from(["unfused", "flat", "fusemax-serial", "fusemax-interleaved"]) | st.text(max_size=8),
    },
    optional={
        "--model": st.sampled_from(["BERT", "T5", "."]) | st.text(max_size=6),
        "--hf-config": st.text(max_size=6),
        "--seq-len": SIZES,
        "--kv-len": SIZES,
        "--batch": SIZES,
        "--heads": SIZES,
        "--head-dim": SIZES,
        "--value-dim": SIZES,
        "--set": st.builds("{}={}".format, st.sampled_from("EFMPNDGSX") | st.text(max_size=3), SIZES),
        "--set-arch": st.builds("{}={}".format, KEYS | st.text(max_size=6), SIZES),
        "--accounting": st.sampled_from(["published", "physical"]) | st.text(max_size=6),
        "--dtype": st.sampled_from(["float16", "float32"]) | st.text(max_size=6),
    },
)


@settings(max_examples=20, deadline=None)
@given(VALUES, st.booleans(), st.booleans())
def test_no_values_make_a_traceback(values: dict[str, str], causal: bool, as_json: bool) -> None:
    flags = ["--causal"] * causal + ["--json"] * as_json
    result = run(*(f"{option}={value}" for option, value in values.items()), *flags)
    assert result.exit_code in (0, 2), result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert (result.stderr == "") == (result.exit_code == 0)


def test_costs_from_outside_the_tables_are_marked() -> None:
    inside, outside = (numbers(*FUSEMAX, *BERT, "--set-arch", f"global_buffer.bytes={n}MiB") for n in (64, 128))
    assert (inside["extrapolated"], outside["extrapolated"]) == ([], ["global_buffer"])
    assert "extrapolated" not in run(*FUSEMAX, *BERT).stdout
    shown = run(*FUSEMAX, *BERT, "--set-arch", "global_buffer.bytes=128MiB").stdout
    assert re.search(r"extrapolated +costs of global_buffer", shown)


def test_costs_stated_and_process_nodes() -> None:
    published, small, stated = (
        numbers(*FUSEMAX, *BERT, "--set-arch", setting)
        for setting in ("technology_nm=45", "technology_nm=16", "global_buffer.area_mm2=1.5")
    )
    assert published == numbers(*FUSEMAX, *BERT)
    assert small["area_mm2"] == pytest.approx(0.19 * published["area_mm2"])
    assert small["latency_s"] == published["latency_s"]
    assert small["energy_technology_nm"] == 16
    assert stated["area_mm2"] == pytest.approx(published["area_mm2"] - 84.2013745226 + 1.5)
    assert "process nodes reach from 130 to 7 nm" in refused(*FUSEMAX, *BERT, "--set-arch", "technology_nm=3")
    message = refused(*FUSEMAX, *BERT, "--set-arch", "global_buffer.read_j=-1e-9")
    assert "a number from 0 to 1e18 is expected" in message
