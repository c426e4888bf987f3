"""``fusemax analyze``: symbolic and with sizes, text and JSON, the curve and its plot, errors."""

import json

import pytest
from typer.testing import CliRunner

import fusemax
from einsum_cascades.load import library_names, load_cascade
from einsum_cascades.operations import total
from einsum_cascades.passes import analyse_passes
from fusemax.cli import app

run = CliRunner().invoke
TINY = ["--set", "M=4", "--set", "P=4", "--set", "E=2", "--set", "F=2"]
SIZES = ["--set", "M=4096", "--set", "P=1024", "--set", "E=64", "--set", "F=32"]


def analyzed(*arguments):
    result = run(app, ["analyze", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_symbolic():
    found = analyzed("attention-3-pass")
    assert (found["cascade"], found["rank"], found["passes"]) == ("attention-3-pass", "M", 3)
    tensors = {t["name"]: (t["passes"], t["footprint"]) for t in found["tensors"]}
    assert tensors == {"K": (1, 1), "V": (1, 1), "QK": (2, "M"), "SN": (2, "M"), "A": (1, 1)}
    assert found["operations"]["mac"] == "E*M*P + F*M*P"
    assert found["compulsory_bytes"] == "2*E*M + 2*E*P + 2*F*M + 2*F*P"
    assert [link["pass"] for link in found["chain"]] == [2, 3]


def test_with_sizes():
    found = analyzed("attention-3-pass", *SIZES)
    sizes = {"M": 4096, "P": 1024, "E": 64, "F": 32}
    assert found["operations"] == total(load_cascade("attention-3-pass"), sizes)
    assert found["compulsory_bytes"] == 2 * (1024 + 4096) * (64 + 32)
    assert found["intensity"] == pytest.approx(sum(found["operations"].values()) / found["compulsory_bytes"])
    assert {t["name"]: t["footprint"] for t in found["tensors"]}["QK"] == 4096


def test_some_sizes_leave_the_others_symbolic():
    found = analyzed("attention-1-pass", "--set", "M=4096", "--set", "E=64")
    assert {t["name"]: t["footprint"] for t in found["tensors"]}["BQK"] == "M0"
    assert "P" in found["operations"]["mac"]
    assert found["compulsory_bytes"] == "2*F*P + 8192*F + 128*P + 524288"


def test_a_model_gives_sizes_and_instances():
    found = analyzed("attention-3-pass", "--model", "BERT", "--seq-len", "1024")
    assert found["instances"] == 64 * 12
    one = analyzed("attention-3-pass", "--set", "M=1024", "--set", "P=1024", "--set", "E=64", "--set", "F=64")
    assert found["operations"]["exp"] == 64 * 12 * one["operations"]["exp"]
    assert found["compulsory_bytes"] == 64 * 12 * one["compulsory_bytes"]


def test_a_buffer_says_what_fits_and_the_least_traffic():
    found = analyzed("attention-3-pass", *SIZES, "--buffer", "4KiB")
    qk = next(t for t in found["tensors"] if t["name"] == "QK")
    assert (qk["fiber_bytes"], qk["fits"]) == (8192, False)
    assert [visit["when"] for visit in qk["traffic"]] == ["pass 1", "pass 2"]
    assert qk["traffic"][0] == {"when": "pass 1", "kept_bytes": 0, "spilled_bytes": 2 * 4096 * 1024}
    assert found["bound"]["buffer_bytes"] == 4096
    assert found["bound"]["dram_bytes"] >= found["compulsory_bytes"]
    assert sum(s["dram_bytes"] for s in found["bound"]["segments"]) == found["bound"]["dram_bytes"]


def test_the_curve_and_its_plot(tmp_path):
    found = analyzed("log-sum-exp", "--set", "M=512", "--set", "P=64", "--curve", "--plot", str(tmp_path / "curve.png"))
    traffic = [point["dram_bytes"] for point in found["curve"]]
    assert traffic == sorted(traffic, reverse=True)
    assert traffic[-1] == found["compulsory_bytes"]
    assert {p.name for p in tmp_path.iterdir()} == {"curve.png"}
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", library_names())
def test_every_cascade_of_the_library(name):
    result = run(app, ["analyze", name])
    assert result.exit_code == 0, result.output
    found = fusemax.analyze(name)
    assert found.passes == analyse_passes(load_cascade(name), found.rank).passes
    assert f"over {found.rank}" in result.stdout


def test_text_names_the_dependencies(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("{declaration: {A: [K], B: [K], Y: [], Z: []}, expressions: ['Y = A[k] * B[k]', 'Z = Y * A[k]']}")
    result = run(app, ["analyze", str(path)])
    assert result.exit_code == 0, result.output
    assert "Z reads Y, the sum of A[k] * B[k] over k, complete only after pass 1" in " ".join(result.stdout.split())
    assert "live values per fiber" in result.stdout


def test_another_rank():
    assert analyzed("attention-3-pass", "--rank", "P")["passes"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["atention-3-pass"], "did you mean 'attention-3-pass'"),
        (["attention-3-pass", "--rank", "Z"], "unknown rank 'Z'"),
        (["attention-3-pass", "--set", "X=4"], "unknown rank of attention-3-pass 'X'"),
        (["attention-3-pass", "--set", "M=0"], "the size of rank M is 0"),
        (["attention-3-pass", "--curve"], "rank E of attention-3-pass has no size"),
        (["attention-3-pass", *SIZES, "--buffer", "4Kb"], "'4Kb' is no number of bytes"),
        (["attention-3-pass", *TINY, "--buffer", "1"], "too small for any mapping"),
        (["attention-3-pass", *SIZES, "--plot", "curve.gif"], "ends in .png, .pdf or .svg"),
        (["attention-1-pass", "--set", "M=100", "--set", "M0=64"], "not a multiple of 64"),
    ],
)
def test_unusable_input(arguments, message):
    result = run(app, ["analyze", *arguments])
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_split_ranks_are_joined_where_all_parts_meet():
    found = analyzed("attention-1-pass", "--set", "M=4096", "--set", "E=64", "--set", "P=8", "--set", "F=2")
    assert found["operations"]["exp"] == "8*M1 + 32768"


def test_a_tensor_that_nothing_reads_moves_nothing(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("{declaration: {A: [K], U: [K], Y: []}, expressions: ['Y = A[k]']}")
    assert analyzed(str(path))["compulsory_bytes"] == "2*K + 2"
    assert analyzed(str(path), "--set", "K=10")["compulsory_bytes"] == 22
