"""Simulations: results are the interpreter's, counts the engine's; what cannot be run is refused with the reason."""

from dataclasses import replace

import numpy as np
import pytest
from simulated import CASES, SEQ_LEN, tampered

import fusemax
from einsum_cascades.errors import InputError
from fusemax.evaluation import asked_for, evaluate_request
from fusemax.simulation import on_numbers, simulated
from fusemax.simulation.on_numbers import check_on_numbers, inputs_of

FUSEMAX = ("attention-1-pass", "fusemax-cloud", "fusemax-interleaved")
BERT = {"model": "BERT", "seq_len": 1024}


@pytest.mark.parametrize(
    ("case", "accounting"), [*((case, "physical") for case in CASES), ("serial", "published"), ("flat", "published")]
)
def test_a_mapping_does_what_the_engine_says(case: str, accounting: str) -> None:
    cascade, arch, mapper, sizes = CASES[case]
    found = fusemax.simulate(
        cascade, arch, mapper, accounting=accounting, functional=True, **{"seq_len": SEQ_LEN, **sizes}
    )
    assert found.differences == ()
    assert found.on_numbers is not None
    assert found.on_numbers.passed
    assert found.on_numbers.max_error < 1e-12
    assert found.on_numbers.checked_reads > found.on_numbers.points > 0
    engine = fusemax.evaluate(cascade, arch, mapper, accounting=accounting, **{"seq_len": SEQ_LEN, **sizes})
    data = found.as_dict()
    for key in ("latency_s", "dram_bytes", "energy_j"):
        assert data["engine"][key] == engine.as_dict()[key]
    assert data["simulated"]["dram_bytes"] == engine.cost.dram_bytes


@pytest.mark.parametrize("case", ["serial", "mesh"])
def test_what_is_left_out_would_change_nothing(case: str) -> None:
    cascade, arch, mapper, _ = CASES[case]
    sizes = {"batch": 8, "heads": 12, "head_dim": 64, "seq_len": 1024}
    quick = fusemax.simulate(cascade, arch, mapper, **sizes)
    whole = fusemax.simulate(cascade, arch, mapper, every=True, **sizes)
    assert quick.timed.skips or case == "mesh"
    assert whole.timed.skips == ()
    left_out = {"skipped", "turns"}
    rows = [{key: value for key, value in run.as_dict().items() if key not in left_out} for run in (quick, whole)]
    assert rows[0] == rows[1]


def test_a_count_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    cascade, arch, mapper, sizes = CASES["flat"]
    request = asked_for(cascade, arch, mapper, None, None, None, (), seq_len=SEQ_LEN, **sizes).request()
    wrong = tampered(evaluate_request(request))
    monkeypatch.setattr(simulated, "evaluate_request", lambda _: wrong)
    found = simulated.simulate_request(request, functional=True)
    assert found.on_numbers is not None
    for differences in (found.differences, found.on_numbers.differences):
        (one,) = differences
        assert "read from dram" in one.what
        assert one.engine == one.simulated + 1
    assert found.on_numbers.right
    assert not found.on_numbers.passed
    assert "1 differ from the engine" in found._repr_html_()


def test_a_result_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    cascade, arch, mapper, sizes = CASES["phases"]
    engine = fusemax.evaluate(cascade, arch, mapper, seq_len=SEQ_LEN, **sizes)
    right = on_numbers.reference
    monkeypatch.setattr(on_numbers, "reference", lambda *a: {k: v + 1e-6 for k, v in right(*a).items()})
    found = check_on_numbers(engine)  # type: ignore[arg-type]
    assert not found.right
    assert not found.passed
    assert found.differences == ()


def test_numbers_are_seeded_and_differ_between_instances() -> None:
    space = fusemax.evaluate(*FUSEMAX, heads=3, head_dim=4, seq_len=8).activity.plan.space  # type: ignore[attr-defined]
    first, again, other = (inputs_of(space, seed) for seed in (1, 1, 2))
    assert all((first[name] == again[name]).all() and (first[name] != other[name]).any() for name in first)
    assert {array.shape[0] for array in first.values()} == {3}
    assert len(np.unique(first["Q"])) == first["Q"].size


def test_progress_is_told() -> None:
    told: list[tuple[str, float]] = []
    cascade, arch, mapper, sizes = CASES["flat"]
    fusemax.simulate(
        cascade, arch, mapper, seq_len=15, functional=True, progress=lambda *share: told.append(share), **sizes
    )
    assert {what for what, _ in told} == {"in cycles", "on numbers"}
    for stage in ("in cycles", "on numbers"):
        shares = [share for what, share in told if what == stage]
        assert shares == sorted(shares)
        assert 0 <= shares[0] <= shares[-1] <= 1


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (
            ("attention-1-pass", "h100", "gpu-tiles"),
            "h100 is a GPU, and a simulation",
            "measure gpu",
        ),
        (("attention-1-pass", "cpu", "cpu-tiles"), "cpu is a CPU", "give a spatial array, such as fusemax-cloud"),
        (FUSEMAX, "points would be run one by one, more than 3,000,000", "smaller sizes"),
    ],
)
def test_what_cannot_be_run_is_refused(arguments: tuple[str, ...], message: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        fusemax.simulate(*arguments, functional=True, **BERT)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_without_the_extra_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "numba", None)
    with pytest.raises(InputError, match="a simulation needs numba, which the extra 'kernels' brings"):
        fusemax.simulate(*FUSEMAX, **BERT)


def test_a_simulation_says_in_a_line_what_it_is() -> None:
    found = fusemax.simulate(*FUSEMAX, **BERT)
    assert repr(found).startswith(
        f"<Simulation attention-1-pass on fusemax-cloud, simulated: cycles {found.cycles:,}, by the engine 1,892,352"
    )
    assert "array_1d works" in found._repr_html_()
    assert replace(found) != found


def test_its_recording_is_drawn() -> None:
    found = fusemax.simulate(*FUSEMAX, model="BERT", seq_len=4096)
    assert found.recording.skipped == ()
    assert 0 < found.recording.end < found.cycles
    picture = fusemax.draw_waterfall(found.recording, cycles=found.cycles)
    assert picture.figure.texts[0].get_text().partition(":")[0].endswith(f"of {found.cycles:,}")
    first = {track.name for track in found.recording.tracks} & found.begins.keys()
    assert first == {"array_2d", "array_1d", "dram"}
    assert found.begins["dram"] == 0
    assert found.begins["array_1d"] > found.begins["array_2d"] > 0
