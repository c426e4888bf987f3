"""Runs killed at random moments and resumed: the dataset is that of a run which was never stopped."""

from __future__ import annotations

import random
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from small_sweep import WRITE, SmallSweep, evaluate, expected, gone, start_run

from fusemax.sweep import open_store, run


def kill(running: subprocess.Popen[str], folder: Path, after_s: float) -> None:
    """Kill a run some time after it has taken the folder, and see that nothing of it lives on."""
    mine = f"process {running.pid} "
    while not (folder / "lock").exists() or not (folder / "lock").read_text().startswith(mine):
        assert running.poll() is None, running.communicate()
        time.sleep(0.002)
    time.sleep(after_s)
    started = [child.pid for child in psutil.Process(running.pid).children(recursive=True)]
    running.kill()
    running.communicate()
    assert gone(started)


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments(tmp_path: Path, kills: int) -> None:
    """Most of them while threads do nothing but fill the store, every fifth also while processes are started."""
    sweep = SmallSweep(3000 * kills, point_s=2e-4)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    moments, progress = random.Random(kills), [0]
    for number in range(kills):
        if number % 5 == 4:
            kill(start_run(broken, sweep, workers=2, batch_points=100), broken, moments.uniform(0, 1.5))
        else:
            kill(start_run(broken, sweep, WRITE, batch_points=100), broken, moments.uniform(0, 0.4))
        progress.append(open_store(broken).points_done if (broken / "sweep.json").exists() else 0)
    assert progress == sorted(progress), "nothing that was written is lost"
    assert 0 < progress[-1] < sweep.points, "the kills fall into the work"
    for folder in (broken, whole):
        with ThreadPoolExecutor(2) as executor:
            run(replace(sweep, point_s=0.0), folder, executor=executor, batch_points=100, evaluate=evaluate)
    assert open_store(broken).table() == expected(sweep)
    assert not (broken / "damaged").exists()
    names = sorted(path.name for path in (whole / "points").iterdir())
    assert sorted(path.name for path in (broken / "points").iterdir()) == names
    assert all((whole / "points" / name).read_bytes() == (broken / "points" / name).read_bytes() for name in names)
