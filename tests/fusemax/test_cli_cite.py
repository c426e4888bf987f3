"""``fusemax cite``: everything that comes with the package can be cited, by each work that its file names."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import einsum_cascades
import fusemax
from einsum_cascades.load import library_names
from fusemax.citations import PAPER, TABLES, citable, cite, references
from fusemax.cli import app, completion

ROOT = Path(fusemax.__file__).parents[1]
runner = CliRunner(env={"COLUMNS": "100"})
REFERENCE = re.compile(r"\b(?:19|20)\d\d\b(?!\.\d)")


def test_the_entries_are_whole() -> None:
    text = (ROOT / "fusemax/citations/references.bib").read_text(encoding="utf-8")
    found = references()
    assert len(found) == text.count("\n@")
    for key, work in found.items():
        assert {"author", "title", "year"} <= work.fields.keys()
        assert work.bibtex.count("{") == work.bibtex.count("}")
        assert key.endswith(re.sub(r"^[a-z]+\d{4}", "", key))
        assert work.fields["year"] in key
        assert work.text.isprintable()
        assert "\\" not in work.text


@pytest.mark.parametrize("name", library_names())
def test_a_cascade_is_cited_by_each_work_that_its_file_names(name: str) -> None:
    """Files have one work a line."""
    text = (Path(einsum_cascades.__file__).parent / f"library/{name}.yaml").read_text(encoding="utf-8")
    block = re.search(r"^citation: >-\n((?:  .*\n)+)", text, re.MULTILINE)
    assert block is not None
    works = cite(name)
    lines = block[1].strip().splitlines()
    assert [work.fields["year"] in line for work, line in zip(works, lines, strict=True)] == [True] * len(lines)
    for work, line in zip(works, lines, strict=True):
        assert work.plain["author"].split(",")[0] in line


def test_all_that_there_is_can_be_cited() -> None:
    used = {work.key for name in citable() for work in cite(name)}
    assert used - {"cpu"} == set(references())
    assert set(citable()) <= {name.lower() for name in completion.citable("")} | set(completion.citable(""))
    assert set(completion.TABLES) == set(TABLES)
    assert [work.key for work in cite()] == [PAPER]
    assert [work.key for work in cite("flat-cloud")] == ["kao2023flat", PAPER]
    assert [work.key for work in cite("BERT")] == ["devlin2019bert", PAPER]
    assert [work.key for work in cite("h200")] == ["nvidia2024h200", "nvidia2022h100"]


def test_each_work_is_printed_once() -> None:
    result = runner.invoke(app, ["cite", "attention-1-pass", "fusemax-cloud", "cacti"])
    assert result.exit_code == 0
    keys = re.findall(r"^@\w+\{(\S+),", result.stdout, re.MULTILINE)
    assert keys == [PAPER, "dao2024flashattention2", *TABLES["cacti"]]


def test_in_words_and_as_json() -> None:
    words = runner.invoke(app, ["cite", "variance", "--format", "text"]).stdout
    assert words.startswith("Tony F. Chan, Gene H. Golub, Randall J. LeVeque. Algorithms for Computing")
    (work,) = json.loads(runner.invoke(app, ["cite", "attention-linear", "--json"]).stdout)["citations"]
    assert (work["key"], work["eprint"], work["for"]) == ("katharopoulos2020linear", "2006.16236", ["attention-linear"])
    assert "François Fleuret" in work["text"]


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text('name: my_model\ncitation: A. Me, "50 % of {it}", 2026\n')
    (work,) = cite(str(path))
    assert work.bibtex.startswith("@misc{my-model,")
    assert r"50 \% of (it)" in work.bibtex
    path.write_text("name: mine\ncitation: as in Nayak et al., MICRO 2024\n")
    assert [work.key for work in cite(str(path))] == [PAPER]


def test_a_machine_that_was_measured_cites_its_measurement() -> None:
    (work,) = cite("cpu")
    assert work.kind == "misc"
    assert "fusemax measure cpu" in work.text


def test_an_unknown_name() -> None:
    result = runner.invoke(app, ["cite", "attention-1-pas"])
    assert result.exit_code == 2
    assert "did you mean 'attention-1-pass'" in result.stderr
