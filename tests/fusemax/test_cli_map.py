"""``fusemax map``: the best mapping with its bound, over rewrites too, what explains it, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from small_sweep import environment
from typer.testing import CliRunner, Result

import fusemax
from fusemax.cli import app
from fusemax.cli.map_tables import tables, tree_lines
from fusemax.evaluation import asked_for
from fusemax.loops import parse_tree
from fusemax.mapped import explanation
from fusemax.mapped.gains import Gain, changes_of
from mappers.search import search as searching

runner = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"})
EDGE = ("--cascade", "attention-3-pass", "--arch", "flat-edge")
SMALL = ("--heads", "2", "--head-dim", "16", "--seq-len", "128")
SIZES = {"heads": 2, "head_dim": 16, "seq_len": 128}
KEYS = {"objective", "lower_bound", "gap", "optimal", "evaluated", "pruned", "seconds", "mapping"}
PRESETS = ("unfused", "flat", "flat-searched", "fusemax-serial", "fusemax-interleaved")


def run(*arguments: object) -> Result:
    return runner.invoke(app, ["map", *map(str, arguments)])


def data(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def refused(*arguments: object) -> str:
    """The message of a run that must end with status 2, nothing printed and no traceback."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr


def evaluated(*arguments: object) -> dict[str, Any]:
    result = runner.invoke(app, ["evaluate", *map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def preset_figures(figure: str) -> list[float]:
    found = []
    for mapper in PRESETS:
        try:
            found.append(fusemax.evaluate("attention-3-pass", "flat-edge", mapper, **SIZES).as_dict()[figure])
        except fusemax.InputError:
            continue
    return found


def test_json_has_what_evaluate_has_and_the_bound() -> None:
    found = data(*EDGE, *SMALL, "--time-limit", 5)
    same = evaluated(*EDGE, *SMALL, "--mapper", "unfused")
    assert set(found) == set(same) | KEYS
    assert found["mapper"] == "search"
    assert found["lower_bound"] <= found["latency_s"] <= min(preset_figures("latency_s"))
    assert found["optimal"] is (found["gap"] == 0)
    assert found["evaluated"] > 0 < found["seconds"]


def test_python_finds_the_same() -> None:
    found = fusemax.map_cascade("attention-3-pass", "flat-edge", time_limit_s=5, **SIZES)
    row = data(*EDGE, *SMALL, "--time-limit", 5)
    own = json.loads(json.dumps(found.as_dict()))
    assert {k: v for k, v in own.items() if k != "seconds"} == {k: v for k, v in row.items() if k != "seconds"}
    assert "lower bound" in repr(found)
    assert "<table>" in found._repr_html_()
    assert found.value == found.evaluation.cost.latency_s
    assert found.cascade.name == "attention-3-pass"


@pytest.mark.parametrize(("objective", "figure"), [("latency", "latency_s"), ("energy", "energy_j")])
def test_presets_are_no_better(objective: str, figure: str) -> None:
    found = fusemax.map_cascade("attention-3-pass", "flat-edge", objective, time_limit_s=0, **SIZES)
    assert found.lower_bound <= found.value == found.evaluation.as_dict()[figure] <= min(preset_figures(figure))
    assert found.gap == pytest.approx(1 - found.lower_bound / found.value)


def test_edp_is_energy_times_latency() -> None:
    found = fusemax.map_cascade("attention-3-pass", "flat-edge", "edp", time_limit_s=0, **SIZES)
    assert found.value == found.evaluation.cost.latency_s * found.evaluation.cost.energy_j


def test_what_is_printed() -> None:
    result = run(*EDGE, *SMALL, "--time-limit", 5)
    assert result.exit_code == 0, result.output
    shown = evaluated(*EDGE, *SMALL, "--mapper", "search")
    assert shown["latency_s"] == data(*EDGE, *SMALL, "--time-limit", 5)["latency_s"]
    for words in ("attention-3-pass on flat-edge", "lower bound", "trees costed", "boxes pruned", "per second"):
        assert words in result.stdout
    said = "optimal in the stated space" in result.stdout
    assert said != ("% from the best in the stated space" in result.stdout)
    assert result.stderr == ""


def test_a_search_without_time_says_its_gap() -> None:
    found = data(*EDGE, *SMALL, "--objective", "energy", "--time-limit", 0)
    assert found["gap"] > 0
    result = run(*EDGE, *SMALL, "--objective", "energy", "--time-limit", 0)
    assert f"at most {100 * found['gap']:.1f} % from the best in the stated space" in result.stdout


def test_the_mapping_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "best.yaml"
    found = data(*EDGE, *SMALL, "--time-limit", 5, "--out", path)
    assert path.read_text() == found["mapping"]
    again = evaluated("--mapping", path)
    for key in ("latency_s", "energy_j", "dram_bytes", "accesses"):
        assert again[key] == found[key]


def test_a_pareto_front_is_a_table_and_numbered_files(tmp_path: Path) -> None:
    found = data(*EDGE, *SMALL, "--objective", "pareto", "--time-limit", 0, "--out", tmp_path / "front.yaml")
    rows = [(row["latency_s"], row["energy_j"], row["on_chip_bytes"]) for row in found["front"]]
    assert rows == sorted(rows)
    for one in rows:
        assert not [other for other in rows if other != one and all(a <= b for a, b in zip(other, one, strict=True))]
    assert found["latency_s"] == rows[0][0]
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == [f"front-{n}.yaml" for n in range(1, len(rows) + 1)]
    for file, (latency, energy, _) in zip(files, rows, strict=True):
        again = evaluated("--mapping", file)
        assert (again["latency_s"], again["energy_j"]) == (latency, energy)
    shown = run(*EDGE, *SMALL, "--objective", "pareto", "--time-limit", 0).stdout
    assert "most on chip" in shown


@pytest.fixture(scope="module")
def rewritten(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    path = tmp_path_factory.mktemp("rewritten") / "best.yaml"
    where = ("--cascade", "attention-3-pass-deferred", "--arch", "fusemax-cloud", "--heads", 1, "--seq-len", 1024)
    return data(*where, "--head-dim", 64, "--rewrite", "--time-limit", 20, "--out", path), path


def test_rewrites_lead_to_one_pass_as_good_as_a_given_one(rewritten: tuple[dict[str, Any], Path]) -> None:
    found, _ = rewritten
    given = fusemax.map_cascade("attention-1-pass", "fusemax-cloud", time_limit_s=5, heads=1, seq_len=1024, head_dim=64)
    assert found["latency_s"] <= given.value * (1 + 1e-12)
    assert found["passes"] == 1
    assert [step["passes"] for step in found["rewrites"]][-1] == 1


@pytest.mark.slow
def test_the_textbook_s_attention_leads_to_one_pass() -> None:
    bert = {"model": "BERT", "seq_len": 65536}
    found = fusemax.map_cascade("attention-3-pass", "fusemax-cloud", rewrite=True, time_limit_s=600, **bert)
    given = fusemax.map_cascade("attention-1-pass", "fusemax-cloud", **bert)
    assert (found.optimal, found.evaluation.passes) == (True, 1)
    assert found.value <= given.value * (1 + 1e-12)


def test_rewrites_have_one_bound(rewritten: tuple[dict[str, Any], Path]) -> None:
    found, _ = rewritten
    names = [search["cascade"] for search in found["searches"]]
    assert names[0] == "attention-3-pass-deferred"
    assert found["cascade"] in names
    assert len(names) == 5
    bounds = [search["lower_bound"] for search in found["searches"] if search["refused"] is None]
    assert found["lower_bound"] == min(found["latency_s"], *bounds)
    assert found["evaluated"] == sum(search["evaluated"] for search in found["searches"])
    assert all(s["lower_bound"] >= found["latency_s"] * (1 - 1e-9) for s in found["searches"] if s["skipped"])


def test_what_rewrites_derive_is_written_beside_the_mapping(rewritten: tuple[dict[str, Any], Path]) -> None:
    found, path = rewritten
    cascade = path.with_name("best-cascade.yaml")
    assert cascade.read_text() == found["cascade_text"]
    again = evaluated("--mapping", path)
    assert (again["cascade"], again["latency_s"]) == (found["cascade"], found["latency_s"])


def test_fronts_of_several_cascades_are_one_front() -> None:
    sizes = {"heads": 1, "head_dim": 8, "seq_len": 32}
    found = fusemax.map_cascade("attention-2-pass", "flat-edge", "pareto", rewrite=True, time_limit_s=0, **sizes)
    each = [
        fusemax.map_cascade(search.cascade, "flat-edge", "pareto", time_limit_s=0, **sizes) for search in found.searches
    ]
    points = {tuple(one.figures) for other in each for one in other.found}
    front = {p for p in points if not any(q != p and all(a <= b for a, b in zip(q, p, strict=True)) for q in points)}
    assert {tuple(one.figures) for one in found.found} == front
    assert found.gap == max(other.gap for other in each if other.gap is not None)
    front_table, cascades = tables(found)[-2:]
    assert front_table.row_count == len(found.found)
    assert cascades.row_count == len(found.searches) == 4


def test_one_pass_has_no_rewrites() -> None:
    found = run("--cascade", "attention-1-pass", *EDGE[2:], *SMALL, "--rewrite", "--time-limit", 0)
    assert found.exit_code == 0, found.output
    assert "derived from" not in found.stdout


@pytest.fixture(scope="module")
def explained() -> fusemax.Mapped:
    sizes = {"heads": 2, "head_dim": 16, "seq_len": 64}
    changed = ["array_1d.rows=3"]
    return fusemax.map_cascade("attention-3-pass", "flat-edge", set_arch=changed, explain=True, time_limit_s=2, **sizes)


def test_a_mapping_is_explained(explained: fusemax.Mapped) -> None:
    found = json.loads(json.dumps(explained.as_dict()))
    told = found["explanation"]
    text = "\n".join("  " * line["depth"] + line["text"] for line in told["tree"])
    assert text == found["mapping"].partition("tree: |\n")[2].replace("\n  ", "\n").strip()
    held = [one for line in told["tree"] for one in line["held"]]
    assert held
    assert all(one["bytes"] > 0 or "in place of" in found["mapping"] for one in held)
    uses = {use["memory"]: use for use in told["memories"]}
    assert uses["global_buffer"]["held_bytes"] == found["peak_bytes"]["global_buffer"]
    assert uses["global_buffer"]["capacity_bytes"] == 512 * 1024
    assert sum(phase["latency_s"] for phase in told["phases"]) == pytest.approx(found["latency_s"])
    assert sum(phase["share"] for phase in told["phases"]) == pytest.approx(1)
    assert sorted(name for phase in told["phases"] for name in phase["einsums"]) == sorted(
        {row["einsum"] for row in found["per_einsum"]}
    )


def test_what_more_would_buy_is_what_it_costs_there(explained: fusemax.Mapped) -> None:
    assert explained.explanation is not None
    gains = {gain.key: gain for gain in explained.explanation.gains}
    assert {"global_buffer.bytes", "dram.bandwidth_bytes_per_s", "array_2d.rows", "array_1d.columns"} <= set(gains)
    assert gains["global_buffer.bytes"].after == gains["global_buffer.bytes"].before + 2**20
    lane = gains["array_1d.rows"]
    assert (lane.before, lane.after) == (3, 4)
    assert lane.value is not None
    there = fusemax.map_cascade(
        "attention-3-pass", "flat-edge", set_arch=["array_1d.rows=4"], time_limit_s=2, heads=2, head_dim=16, seq_len=64
    )
    assert there.lower_bound <= lane.value <= explained.value
    assert lane.change == pytest.approx(lane.value / explained.value - 1)


def test_the_tree_that_is_printed_reads_back(explained: fusemax.Mapped) -> None:
    assert explained.explanation is not None
    text = "\n".join(tree_lines(explained.explanation))
    assert "# 2 times" in text
    assert "KiB" in text
    assert parse_tree(text) == explained.mapping


def test_an_explanation_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    gain = Gain("dram.bandwidth_bytes_per_s", 1e9, 2e9, 1e-3, -0.5, "the same mapping")
    none = Gain("array_2d.rows", 1, 2, None, None, "no mapping")
    monkeypatch.setattr(explanation, "gains", lambda *_: ((gain, none), 0.5))
    shown = run(*EDGE, *SMALL, "--objective", "energy", "--time-limit", 0, "--explain").stdout
    for words in ("holds at most", "bound by", "one more", "=2e9", "-50.00 %", "no mapping", "\n    compute "):
        assert words.strip() in shown


@pytest.mark.parametrize("name", [n for n in fusemax.architecture_names() if n not in ("cpu", "a100", "h100", "h200")])
def test_every_machine_has_something_to_add(name: str) -> None:
    machine = fusemax.load_architecture(name)
    asked = asked_for("attention-3-pass", name, "search", None, None, None, ())
    keys = {change.key: change.after for change in changes_of(asked, machine)}
    assert any(key.endswith(".bytes") for key in keys)
    for key, after in keys.items():
        fusemax.load_architecture(name, [f"{key}={after!r}"])
    assert not list(changes_of(asked_for("attention-3-pass", machine, "search", None, None, None, ()), machine))


def test_the_mapper_search_maps_and_sweeps(tmp_path: Path) -> None:
    assert "search" in fusemax.mapper_names()
    found = evaluated(*EDGE, *SMALL, "--mapper", "search")
    assert found["mapper"] == "search"
    space = tmp_path / "space.yaml"
    space.write_text(
        "axes: {cascade: attention-3-pass, arch: flat-edge, mapper: search, heads: 2, head_dim: 16, "
        "seq_len: 128, global_buffer.bytes: [512KiB]}\n"
    )
    result = runner.invoke(app, ["sweep", str(space), "--out", str(tmp_path / "out"), "--workers", "1"])
    assert result.exit_code == 0, result.output
    table = fusemax.sweep.open_store(tmp_path / "out").table().to_pandas()
    assert list(table.latency_s) == [found["latency_s"]]


def test_a_certificate_is_asked_for_with_the_question(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []
    fake = ModuleType("mappers.search.certificate")
    fake.write_certificate = lambda *given: asked.append(given)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mappers.search.certificate", fake)
    changed = ("--set-arch", "global_buffer.bytes=256KiB", "--accounting", "physical")
    result = run(*EDGE, *SMALL, *changed, "--time-limit", 0, "--certificate", tmp_path / "proof.json")
    assert result.exit_code == 0, result.output
    ((answer, question, path),) = asked
    assert path == tmp_path / "proof.json"
    assert answer.lower_bound > 0
    assert question == {
        "cascade": "attention-3-pass",
        "library": None,
        "arch": "flat-edge",
        "set_arch": {"global_buffer.bytes": "256KiB"},
        "accounting": "physical",
        "sizes": {"E": 16, "F": 16, "M": 128, "P": 128, "instances": 2},
        "objective": "latency",
    }
    assert str(path) in result.stdout.replace("\n", "")


def test_bad_input_is_refused(tmp_path: Path) -> None:
    assert "unknown objective 'speed'" in refused(*EDGE, *SMALL, "--objective", "speed")
    assert "gpu-tiles" in refused("--cascade", "attention-3-pass", "--arch", "h100", *SMALL)
    assert "cpu-tiles" in refused("--cascade", "attention-3-pass", "--arch", "cpu", *SMALL)
    assert "no causal mask" in refused(*EDGE, *SMALL, "--causal")
    assert "is a folder" in refused(*EDGE, *SMALL, "--out", tmp_path)
    assert "is a folder" in refused(*EDGE, *SMALL, "--certificate", tmp_path)
    assert "has no size" in refused(*EDGE, "--set", "M=8")
    assert "bytes" in refused(*EDGE, *SMALL, "--set-arch", "global_buffer.bytes=4")
    assert run(*EDGE, *SMALL, "--time-limit", -1).exit_code == 2


def test_an_interrupted_search_keeps_its_best(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(searching.Search, "_refine", interrupt)
    path = tmp_path / "best.yaml"
    result = run(*EDGE, *SMALL, "--objective", "energy", "--json", "--out", path)
    assert result.exit_code == 130
    found = json.loads(result.stdout)
    assert found["energy_j"] == min(preset_figures("energy_j"))
    assert (found["gap"], found["optimal"]) == (None, False)
    assert path.read_text() == found["mapping"]
    assert "what is shown is the best so far" in result.stderr
    with pytest.raises(KeyboardInterrupt):
        fusemax.map_cascade("attention-3-pass", "flat-edge", "energy", **SIZES)


def test_an_interrupted_explanation_keeps_the_mapping(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(explanation, "gains", interrupt)
    result = run(*EDGE, *SMALL, "--time-limit", 0, "--explain")
    assert result.exit_code == 130
    assert "from the best in the stated space" in result.stdout


def test_a_search_that_has_nothing_yet_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(searching.Search, "_try_presets", interrupt)
    result = run(*EDGE, *SMALL)
    assert result.exit_code == 130
    assert result.stdout == ""
    assert "nothing is kept" in result.stderr


@pytest.mark.slow
def test_a_signal_ends_a_long_search() -> None:
    command = [sys.executable, "-m", "fusemax", "map", "--cascade", "attention-1-pass", "--arch", "fusemax-cloud"]
    command += ["--model", "BERT", "--seq-len", "1024", "--objective", "energy", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(12)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "what is shown is the best so far" in said
    assert json.loads(out)["energy_j"] > 0
