"""How the suite runs: folders of tests on every CPU that is ours, the longest of the slow ones first, and one thread of
BLAS in each process."""

from __future__ import annotations

import os
import signal
import sys
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

MOST_WORKERS = 8
"""More of them spend longer on imports than on tests."""
BENCHMARKS = Path(__file__).parent / "benchmarks"
LONG_S = {
    "test_wheel.py": 250,
    "test_evaluate.py": 120,
    "test_loads.py": 150,
    "test_notation.py": 90,
    "test_interpreted_cases.py": 80,
    "test_any_cascade.py": 70,
    "test_notebooks.py": 80,
    "test_cli_reproduce.py": 60,
    "test_readme.py": 60,
    "test_engine_above_bound.py": 50,
    "test_exponential.py": 50,
    "test_interpreted.py": 40,
}
"""About how long the slow tests of some files take on one CPU, in seconds; those of the others take less."""

for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # waiting threads of BLAS take whole CPUs from the other workers
os.environ.setdefault("MPLBACKEND", "Agg")
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):  # every command that a test starts would compile all its modules
    sys.dont_write_bytecode = False
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell's background jobs ignore it, and so would our children
    signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("any load", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any load")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Spread whole folders over workers, unless ``-n`` says otherwise; files, measurements and ``--pdb`` run here."""
    if hasattr(config, "workerinput") or not config.pluginmanager.hasplugin("xdist"):
        return
    option = config.option
    if option.numprocesses is not None or option.dist != "no" or option.tx or option.usepdb or option.collectonly:
        return
    paths = [(config.invocation_params.dir / argument).resolve() for argument in config.args]
    workers = min(cpus(), MOST_WORKERS)
    if workers > 1 and all(path.is_dir() and path != BENCHMARKS for path in paths):
        option.numprocesses, option.dist = workers, "worksteal"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let every worker begin with long files, so that none is left to the end, where others have no more to do.

    A worker is given as many tests as another, one after the other, and at last takes from the end of another's.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers < 2 or not any(item.get_closest_marker("slow") for item in items):
        return
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path.name, []).append(item)
    rooms = [len(items) // workers + (number >= workers - len(items) % workers) for number in range(workers)]
    shares: list[list[pytest.Item]] = [[] for _ in rooms]
    seconds = [0.0] * workers
    for name in sorted(files, key=lambda name: -LONG_S.get(name, 0)):
        able = [number for number, room in enumerate(rooms) if len(shares[number]) + len(files[name]) <= room]
        if name in LONG_S and able:
            first = min(able, key=seconds.__getitem__)
            seconds[first] += LONG_S[name]
            shares[first] += files.pop(name)
    left = iter([item for own in files.values() for item in own])
    for share, room in zip(shares, rooms, strict=True):
        share += islice(left, room - len(share))
    items[:] = [item for share in shares for item in share]


def cpus() -> int:
    """Return how many CPUs this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
