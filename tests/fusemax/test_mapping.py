"""Mappings of one's own: files, places of their faults, counts derived by hand, round trips, mappers from outside."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import fusemax
from einsum_cascades.errors import InputError
from einsum_cascades.load import parse_cascade
from einsum_cascades.loops.text import parse_tree, to_text
from fusemax.cli import app
from fusemax.evaluation import evaluate
from fusemax.loops import Compute, Hold, Loop, LoopTree, Problem, keep
from fusemax.mapping_files import mapping_text, parse_mapping
from mappers.presets import named

runner = CliRunner(env={"COLUMNS": "120", "NO_COLOR": "1"})
LAYER = """
declaration: {X: [K, M], W: [K, N], Y: [M, N], Z: [M, N]}
expressions:
  - Y[m, n] = X[k, m] * W[k, n]
  - Z[m, n] = exp(Y[m, n])
"""
FOUR_LEVELS = """
kind: spatial-array
name: four-levels
frequency_hz: 1000000000
bits: {inputs: 16, accumulators: 32, outputs: 16, W: 8}
nodes:
  dram: {kind: memory, bandwidth_bytes_per_s: 64000000000, component: dram}
  shared: {kind: memory, in: dram, bytes: 256KiB, width_bits: 256}
  local: {kind: memory, in: shared, dimensions: {cores: 2}, bytes: 8KiB, width_bits: 128}
  macs:
    kind: array
    in: local
    dimensions: {rows: 4, columns: 8}
    registers: 3
    units: {mac: {component: mac}}
  vector:
    kind: array
    in: local
    dimensions: {lanes: 8}
    registers: 4
    units: {add: {component: add}, max: {component: max}, exp: {component: exp, cycles: 4}}
"""
TREE = """
  # the weights stay, rows of X go to two cores
  keep W in shared
    for M step 10
      for M step 5 over local.cores
        keep X in local
          for N step 8
            keep W in local
              keep Y in local
                seq
                  for M step 4
                    for M step 1 over macs.rows
                      for N step 1 over macs.columns
                        keep Y in macs
                          for K step 1
                            compute Y on macs
                  for N step 1 over vector.lanes
                    for M step 1
                      compute Z on vector
"""
HEAD = "cascade: layer.yaml\nmachine: machine.yaml\naccounting: physical\nsizes: {K: 40, M: 36, N: 20}\n"
POINTS = 36 * 40 * 20
COUNTS = {
    ("dram", "W"): (800, 0),  # 40 x 20, once
    ("dram", "X"): (1440, 0),  # 40 x 36, once
    ("dram", "Z"): (0, 720),
    ("shared", "W"): (3200, 800),  # M in tiles of 10: four times, for both cores at once
    ("local", "X"): (3 * 1440, 1440),  # once for each of N's three tiles: columns share a read
    ("local", "W"): (15 * 800, 2 * 3200),  # M in each core: 5 as 4 and 1, seven times; 1, once
    ("local", "Y"): (720, 720),
    ("macs", "Y"): (POINTS - 720 + 720, POINTS),  # read back but the first time; then once on its way out
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "layer.yaml").write_text(LAYER)
    (tmp_path / "machine.yaml").write_text(FOUR_LEVELS)
    (tmp_path / "mapping.yaml").write_text(f"{HEAD}tree: |{TREE}")
    return tmp_path


def run(*arguments: object) -> Result:
    return runner.invoke(app, [str(argument) for argument in arguments])


def data(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert "Traceback" not in result.stderr
    return result.stderr


def test_counts_of_four_levels_two_arrays_and_weights_of_8_bits(folder: Path) -> None:
    found = data("mapping", folder / "mapping.yaml", "--check")
    assert {(row["memory"], row["tensor"]): (row["reads"], row["writes"]) for row in found["accesses"]} == COUNTS
    assert {peak["memory"]: (peak["bytes"], peak["capacity_bytes"]) for peak in found["peaks"]} == {
        "shared": (800, 256 * 1024),  # W in single bytes
        "local": (2 * 40 * 5 + 40 * 8 + 4 * 5 * 8, 8192),  # X of 2 bytes, W of 1, Y of 4
        "macs": (4, 12),
    }
    assert found["dram_bytes"] == 800 + 2 * 1440 + 2 * 720
    cycles = {row["einsum"]: (row["points"], row["cycles"]) for row in found["per_einsum"]}
    assert cycles == {"Y": (POINTS, 4 * 3 * 2 * 40), "Z": (720, 4 * 3 * 5 * 4)}  # by the first core, which has most


def test_cost_of_four_levels(folder: Path) -> None:
    found = data("evaluate", "--mapping", folder / "mapping.yaml")
    assert found["latency_s"] == pytest.approx((960 + 240) / 1e9, rel=1e-12)
    assert found["bound"] == "macs"
    assert (found["util_2d"], found["util_1d"]) == (None, None)
    assert found["utilization"]["macs"] == pytest.approx(POINTS / (2 * 32 * 1200), rel=1e-12)
    assert found["energy_parts_j"].keys() >= {"dram", "shared", "local", "macs", "vector", "mac", "exp"}
    assert sum(found["energy_parts_j"].values()) == pytest.approx(found["energy_j"], rel=1e-14)
    assert found["energy_parts_j"]["dram"] == pytest.approx(5120 * 31.2e-12, rel=1e-12)
    assert (found["mapper"], found["accounting"]) == (str(folder / "mapping.yaml"), "physical")
    text = run("evaluate", "--mapping", folder / "mapping.yaml").stdout
    assert "cycles of macs" in text
    assert "macs used" in text


def test_options_say_what_a_file_leaves_out_and_replace_what_it_says(folder: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.txt"
    bare.write_text(TREE)
    given = ["--cascade", folder / "layer.yaml", "--arch", folder / "machine.yaml", "--accounting", "physical"]
    sizes = ["--set", "K=40", "--set", "M=36", "--set", "N=20"]
    whole = data("evaluate", "--mapping", folder / "mapping.yaml")
    assert data("evaluate", "--mapping", bare, *given, *sizes) == whole | {"mapper": str(bare)}
    assert data("evaluate", "--mapping", folder / "mapping.yaml", "--set", "M=72")["sizes"]["M"] == 72
    several = folder / "several.yaml"
    several.write_text(f"{HEAD}tree: |\n  for instances step 1\n" + TREE.replace("\n  ", "\n    "))
    six = data("evaluate", "--mapping", several, "--batch", "2", "--heads", "3")
    assert (six["batch"], six["heads"], six["dram_bytes"]) == (2, 3, 6 * whole["dram_bytes"])
    assert "the cascade is missing" in refused("evaluate", "--arch", "fusemax-cloud", "--mapper", "unfused")
    assert "says no cascade" in refused("evaluate", "--mapping", bare)
    assert "says no machine" in refused("evaluate", "--mapping", bare, "--cascade", folder / "layer.yaml")
    assert "a mapper and a mapping are given" in refused("evaluate", "--mapping", bare, *given, "--mapper", "unfused")
    assert "neither a mapper nor a mapping" in refused("evaluate", *given, *sizes)


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("compute Z on vector", "compute Q on vector", (23, 23), "'Q' is no Einsum of layer"),
        ("keep X in local", "keep X in lokal", (10, 9), "did you mean 'local'"),
        ("keep Y in local", "kep Y in local", (13, 15), "did you mean 'keep'"),
        ("for N step 8", "for N step 8.5", (11, 22), "8.5"),
        ("for M step 5 over", "for M step 4 over", (9, 7), "local.cores"),
        ("compute Z on vector", "compute Z on local", (23, 23), "local computes nothing"),
        ("  keep W in shared\n    for", "  keep W in shared\n  for", (8, 3), "root"),
    ],
)
def test_faults_point_at_their_place_in_the_file(
    folder: Path, old: str, new: str, place: tuple[int, int], message: str
) -> None:
    path = folder / "mapping.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    for arguments in (("mapping", path, "--check"), ("evaluate", "--mapping", path)):
        shown = refused(*arguments)
        assert message in shown
        if "root" not in message:
            assert f"{path}:{place[0]}:{place[1]}: " in shown
            assert "^" in shown
    said = json.loads(run("mapping", path, "--check", "--json").stderr)
    assert said.keys() >= {"error", "where", "hint"}


def test_what_does_not_fit_says_where_and_what_would(folder: Path) -> None:
    shown = refused("mapping", folder / "mapping.yaml", "--check", "--set-arch", "local.bytes=512")
    assert "local has 512 bytes, and the mapping needs 880" in shown
    assert "raise local.bytes" in shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tree: ''\n", "expected text"),
        ("cascade: x\n", "missing key 'tree'"),
        ("tree: |\n  compute Z on a\nmappings: 1\n", "unknown key 'mappings'"),
        ("sizes: {M: 0}\ntree: |\n  compute Z on a\n", "expected at least 1"),
        ("[1]\n", "expected a mapping"),
        ("tree: {a: 1}\n", "expected text"),
        ("", "expected a mapping"),
    ],
)
def test_files_that_are_no_mapping(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_mapping(text, "mine.yaml")


def test_a_file_reads_back_to_what_it_was_written_from() -> None:
    tree = parse_tree("split M0 16\nfor M step 16\n  keep A in b (31/32 of it)\n    compute A on u\n")
    written = mapping_text(
        tree,
        cascade="c d.yaml",
        machine="m",
        accounting="physical",
        set_arch=("a.b=1",),
        sizes={"M": 64, "instances": 2},
    )
    found = parse_mapping(written, "here/mine.yaml")
    assert (found.tree, found.cascade, found.machine) == (tree, "here/c d.yaml", "m")
    assert (found.accounting, found.set_arch, found.sizes) == ("physical", ("a.b=1",), {"M": 64, "instances": 2})


@pytest.mark.parametrize("mapper", sorted(named.PRESETS))
def test_what_is_shown_costs_the_same(mapper: str, tmp_path: Path) -> None:
    path = tmp_path / "shown.yaml"
    pair = ("attention-1-pass", "fusemax-cloud") if "fusemax" in mapper else ("attention-3-pass", "flat-cloud")
    asked = ["--cascade", pair[0], "--arch", pair[1], "--set-arch", "global_buffer.bytes=8MiB"]
    asked += ["--mapper", mapper, "--model", "T5", "--seq-len", "5000"]
    expected = data("evaluate", *asked, "--out", path)
    shown = run("evaluate", *asked, "--show-mapping").stdout
    assert shown == path.read_text()
    assert data("evaluate", *asked, "--show-mapping")["mapping"] == shown
    found = data("evaluate", "--mapping", path)
    same = expected.keys() - {"mapper", "model", "batch", "heads"}
    assert {key: found[key] for key in same} == {key: expected[key] for key in same}
    assert data("mapping", path, "--check")["accesses"] == expected["accesses"]
    printed = run("mapping", path).stdout
    assert parse_tree(printed) == parse_mapping(shown).tree


def rows_of_columns(problem: Problem) -> LoopTree:
    """A mapper of one's own: one product, its rows and columns in the array."""
    body = keep("Z", "array_2d", Loop("K", 1, Compute("Z", "array_2d")))
    for rank, dimension in (("N", "columns"), ("M", "rows")):
        body = Loop(rank, 1, body, f"array_2d.{dimension}")
    for rank, tile in (("N", 256), ("M", 256)):
        body = Loop(rank, min(tile, problem.size(rank)), body)
    return LoopTree(Hold("B", "global_buffer", body))


MATMUL = """
name: matmul
declaration: {A: [K, M], B: [K, N], Z: [M, N]}
expressions:
  - Z[m, n] = A[k, m] * B[k, n]
"""
SIZES = {"K": 128, "M": 1000, "N": 512}


def test_a_function_is_a_mapper() -> None:
    cascade = parse_cascade(MATMUL)
    found = evaluate(cascade, "fusemax-cloud", rows_of_columns, sizes=SIZES).as_dict()
    assert found["mapper"] == "rows_of_columns"
    assert found["dram_bytes"] == 2 * (2 * 128 * 1000 + 128 * 512 + 1000 * 512)  # A for each tile of N
    by_tree = evaluate(cascade, "fusemax-cloud", mapping=_tree(cascade), sizes=SIZES).as_dict()
    assert by_tree == found | {"mapper": "mapping"}
    with pytest.raises(InputError, match="returned 1"):
        evaluate(cascade, "fusemax-cloud", lambda _: 1, sizes=SIZES)  # type: ignore[arg-type, return-value]
    with pytest.raises(InputError, match="a function maps onto a spatial array, and h100 is a GPU"):
        evaluate("attention-1-pass", "h100", rows_of_columns, heads=1, head_dim=64, seq_len=64)
    with pytest.raises(InputError, match="a mapping is for a spatial array, and cpu is a CPU"):
        evaluate("attention-1-pass", "cpu", mapping=_tree(cascade), heads=1, head_dim=64, seq_len=64)


def _tree(cascade: fusemax.Cascade) -> LoopTree:
    from fusemax.evaluation import problem_of
    from hw_models.accounting import PUBLISHED
    from hw_models.load import load_architecture

    workload = fusemax.Workload(tuple(SIZES.items()))
    return rows_of_columns(problem_of(cascade, load_architecture("fusemax-cloud"), workload, PUBLISHED))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package from outside the repository that offers a mapper, and one that cannot be loaded."""
    (tmp_path / "own_mappers.py").write_text(
        '"""Keep it simple.\n\nAll of it."""\n'
        "from fusemax.loops import Compute, LoopTree\n\n\n"
        "def plain(problem):\n"
        '    """Each point by itself."""\n'
        '    return LoopTree(Compute("Z", "array_2d"))\n'
    )
    info = tmp_path / "own_mappers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-mappers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fusemax.mappers]\nplain = own_mappers:plain\nbroken = own_mappers:gone\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    named.offered.cache_clear()
    yield "plain"
    named.offered.cache_clear()
    sys.modules.pop("own_mappers", None)


def test_a_mapper_of_another_package(package: str, tmp_path: Path) -> None:
    path = tmp_path / "matmul.yaml"
    path.write_text(MATMUL)
    sizes = [part for rank, size in SIZES.items() for part in ("--set", f"{rank}={size}")]
    asked = ["--cascade", path, "--arch", "fusemax-cloud", *sizes]
    found = data("evaluate", *asked, "--mapper", package)
    points = 128 * 1000 * 512
    assert found["dram_bytes"] == 2 * (2 * points + points + points - 1000 * 512)
    assert package in fusemax.mapper_names()
    listed = run("mappers").stdout
    assert re.search(r"plain +spatial arrays +Keep it simple", listed)
    assert re.search(r"broken +spatial arrays +the mapper 'broken'", listed)
    assert data("mappers", package)["machines"] == ["spatial-array"]
    assert "cannot be loaded" in refused("evaluate", *asked, "--mapper", "broken")
    shown = run("evaluate", *asked, "--mapper", package, "--show-mapping").stdout
    assert to_text(parse_mapping(shown).tree) == "compute Z on array_2d\n"


def test_accelforge(folder: Path) -> None:
    tree = f"{HEAD}tree: |{TREE}"
    out = folder / "out"
    (folder / "mapping.yaml").write_text(tree)
    found = data("mapping", folder / "mapping.yaml", "--accelforge", out)
    assert {Path(path).name for path in found["files"]} == {"arch.yaml", "workload.yaml", "mapping.yaml"}
    assert any("the operators of Z" in text for text in found["not_carried"])
    arch, workload, mapping = ((out / f"{name}.yaml").read_text() for name in ("arch", "workload", "mapping"))
    assert "!Fork" in arch
    assert "name: local\n    spatial:\n    - {name: cores, fanout: 2}\n    size: 65536" in arch
    assert "rank_sizes: {M: 36, N: 20, K: 40}" in workload
    assert "bits_per_value: {X: 16, W: 8, Y: 32, Z: 16}" in workload
    assert "!Spatial {rank_variable: m, tile_shape: 5, name: cores, component: local}" in mapping
    assert "!Compute {einsum: Z, component: vector}" in mapping


def test_accelforge_says_what_it_cannot_carry(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    asked = ["--cascade", "attention-1-pass", "--arch", "fusemax-cloud", "--mapper", "fusemax-interleaved"]
    assert run("evaluate", *asked, "--model", "BERT", "--seq-len", "1K", "--out", path).exit_code == 0
    found = data("mapping", path, "--accelforge", tmp_path / "out")
    assert [Path(file).name for file in found["files"]] == ["arch.yaml"]
    assert any("rank M1 is iterative" in text for text in found["not_carried"])
    assert any("'late'" in text for text in found["not_carried"])
