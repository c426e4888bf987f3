"""Certificates: those of searches are accepted; those that were changed in any step are rejected, and say which."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small_problems import certified, small_problem

from mappers.check_certificate import WrongStepError, check, main
from mappers.search.certificate import certificate_of, write_certificate
from mappers.search.figures import OBJECTIVES
from mappers.search.search import search

Certificate = dict[str, Any]
SEEDS = (12, 22, 42)


@pytest.fixture(scope="module")
def certificates() -> list[Certificate]:
    found = []
    for seed in SEEDS:
        problem = small_problem(seed)
        assert problem is not None
        found.append(certified(search(problem, OBJECTIVES["latency"])))
    return found


def boxes(certificate: Certificate) -> Iterator[Certificate]:
    """Yield all boxes of a certificate."""
    waiting = [box for entry in certificate["searched"] for box in entry["boxes"].values()]
    while waiting:
        box = waiting.pop()
        yield box
        waiting += [inside for _, inside in box.get("cut", [])]


def one_with(certificate: Certificate, key: str, generator: random.Random) -> Certificate:
    """Return a random box that has a key; if there is none, a preset that has."""
    found = [box for box in boxes(certificate) if key in box]
    return generator.choice(found or [entry for entry in certificate["presets"] if key in entry])


def _figures(c: Certificate, g: random.Random) -> None:
    one_with(c, "figures", g)["figures"][g.randrange(2)] *= g.choice((0.9, 0.99, 1.001))


def _preset(c: Certificate, g: random.Random) -> None:
    g.choice([p for p in c["presets"] if "figures" in p])["figures"][0] *= 1.01


def _refused(c: Certificate, g: random.Random) -> None:
    box = one_with(c, "figures", g)
    del box["figures"]
    box["refused"] = "it does not fit"


def _raised(c: Certificate, g: random.Random) -> None:
    box = one_with(c, "bound", g)
    if "bound" in box:
        box["bound"][0] *= 1.05


def _shortened(c: Certificate, g: random.Random) -> None:
    cut = one_with(c, "cut", g)["cut"]
    cut.pop(g.randrange(len(cut)))


def _renamed(c: Certificate, g: random.Random) -> None:
    g.choice(one_with(c, "cut", g)["cut"])[0] = "other"


def _closed(c: Certificate, g: random.Random) -> None:
    box = one_with(c, "cut", g)
    del box["cut"]
    box["bound"] = [1e9, 1e9, 0]


def _frame(c: Certificate, g: random.Random) -> None:
    found = g.choice(c["searched"])["boxes"]
    del found[g.choice(list(found))]


def _forgotten(c: Certificate, g: random.Random) -> None:
    c["presets"].pop(g.randrange(len(c["presets"])))


def _lower_bound(c: Certificate, _: random.Random) -> None:
    c["answer"]["lower_bound"] *= 1.01


def _answer(c: Certificate, g: random.Random) -> None:
    c["answer"]["mappings"][0]["figures"][g.randrange(2)] *= 0.99


def _sizes(c: Certificate, g: random.Random) -> None:
    sizes = c["question"]["sizes"]
    sizes["instances"] += g.choice((1, 5))


def _segment(c: Certificate, g: random.Random) -> None:
    g.choice(c["searched"])["einsums"].append("ZZ")


CHANGES: dict[str, Callable[[Certificate, random.Random], None]] = {
    change.__name__: change
    for change in (
        _figures, _preset, _refused, _shortened, _renamed, _closed, _frame, _forgotten, _lower_bound, _answer, _sizes,
        _segment, _raised,
    )
}  # fmt: skip


def rejected(certificates: list[Certificate], number: int, change: str) -> None:
    generator = random.Random(number)
    original = certificates[number % len(certificates)]
    changed = copy.deepcopy(original)
    try:
        CHANGES[change](changed, generator)
    except IndexError:
        return  # this one has no such box
    if changed == original:
        return
    with pytest.raises((WrongStepError, KeyError)):
        check(changed)


def test_what_a_search_proves_is_accepted(certificates: list[Certificate]) -> None:
    for certificate in certificates:
        assert "optimal in the stated space" in check(json.loads(json.dumps(certificate)))


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_certificate_is_rejected(certificates: list[Certificate], change: str) -> None:
    rejected(certificates, len(change), change)


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_100_changed_certificates_are_rejected(certificates: list[Certificate], change: str) -> None:
    for number in range(8):
        rejected(certificates, 100 + number, change)


def test_what_is_stopped_early_has_a_gap() -> None:
    problem = small_problem(8)
    assert problem is not None
    answer = search(problem, OBJECTIVES["energy"], time_limit=0.0)
    certificate = certified(answer)
    assert not answer.optimal
    assert certificate["answer"]["gap"] > 0
    assert "within" in check(certificate)
    certificate["answer"]["gap"] = 0.0
    with pytest.raises(WrongStepError, match="the gap is"):
        check(certificate)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problem = small_problem(8)
    assert problem is not None
    answer = search(problem, OBJECTIVES["latency"], time_limit=0.0)
    path = tmp_path / "proof.json"
    machine = certified(answer)["question"]
    write_certificate(answer, machine, path)
    assert main([str(path)]) == 0
    assert capsys.readouterr().out.startswith("accepted: latency ")
    changed = certificate_of(answer, machine["arch"], machine["set_arch"])
    changed["presets"][0]["figures"] = [1.0, 1.0, 1]
    path.write_text(json.dumps(changed))
    assert main([str(path)]) == 1
    assert capsys.readouterr().out.startswith("rejected: preset fusemax-interleaved, tree 0: it costs ")
    path.write_text("{}")
    assert main([str(path)]) == 2
    assert main([str(tmp_path / "none")]) == 2
    assert main([]) == 2
