"""``fusemax rewrite``: derivations in text and JSON, files written, errors."""

import json

import pytest
from typer.testing import CliRunner

from einsum_cascades.load import load_cascade, parse_cascade
from einsum_cascades.passes import analyse_passes
from einsum_cascades.rewrites import is_isomorphic
from fusemax.cli import app

run = CliRunner().invoke


def test_attention_becomes_flash_attention():
    result = run(app, ["rewrite", "attention-3-pass", "--rank", "M", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert set(found) >= {"steps", "passes", "cascade"}
    assert found["passes"] == 1
    assert found["steps"][-1]["passes"] == 1
    assert all(set(step) >= {"rewrite", "passes"} for step in found["steps"])
    assert is_isomorphic(parse_cascade(found["cascade"]), load_cascade("attention-1-pass"))


def test_the_form_with_two_passes_can_be_asked_for():
    result = run(app, ["rewrite", "attention-3-pass", "--passes", "2", "--json"])
    found = json.loads(result.stdout)
    assert found["passes"] == 2
    assert analyse_passes(parse_cascade(found["cascade"]), "M").passes == 2


def test_text_tells_each_step_and_what_was_not_taken():
    result = run(app, ["rewrite", "attention-3-pass"])
    assert result.exit_code == 0
    assert "defer" in result.stdout
    assert "can overflow" in result.stdout
    assert "stop: m1 >= M1" in result.stdout


def test_what_overflows_in_the_source_is_said():
    result = run(app, ["rewrite", "attention-softmax-unstable"])
    assert "in the source: SN can overflow: the argument of exp(QK[m, p]) grows" in result.stdout
    assert "in the source" not in run(app, ["rewrite", "attention-causal"]).stdout
    (risk,) = json.loads(run(app, ["rewrite", "attention-softmax-unstable", "--json"]).stdout)["risks"]
    assert risk.startswith("SN can overflow")


def test_the_derived_cascade_is_written_and_reads_back(tmp_path):
    target = tmp_path / "derived.yaml"
    result = run(app, ["rewrite", "log-sum-exp", "--out", str(target)])
    assert result.exit_code == 0, result.output
    assert analyse_passes(load_cascade(str(target)), "M").passes == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rewrite", "atention-3-pass"], "did you mean 'attention-3-pass'"),
        (["rewrite", "attention-3-pass", "--rank", "Z"], "unknown rank 'Z'"),
        (["rewrite", "attention-3-pass", "--passes", "7"], "no form"),
    ],
)
def test_unusable_input(arguments, message):
    result = run(app, arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_split_rank_is_named_by_the_whole():
    found = json.loads(run(app, ["rewrite", "attention-2-pass", "--json"]).stdout)
    assert found["rank"] == "M"
