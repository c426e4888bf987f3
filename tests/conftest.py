"""How the suite runs: folders of tests on every CPU that is ours, and one thread of BLAS in each process."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

MOST_WORKERS = 8
"""More of them spend longer on imports than on tests."""
BENCHMARKS = Path(__file__).parent / "benchmarks"

for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # waiting threads of BLAS take whole CPUs from the other workers
os.environ.setdefault("MPLBACKEND", "Agg")
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):  # every command that a test starts would compile all its modules
    sys.dont_write_bytecode = False
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell's background jobs ignore it, and so would our children
    signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("any load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
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


def cpus() -> int:
    """Return how many CPUs this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
