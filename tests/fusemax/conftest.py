"""The whole published evaluation, computed once for all tests of this folder."""

from __future__ import annotations

import fcntl
import os
import pickle
from collections.abc import Callable

import pandas as pd
import pytest

from fusemax.experiments import reproduce

Reproduced = Callable[[str], dict[str, pd.DataFrame]]


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Reproduced:
    """Return the tables of an accounting; the workers of one run share a folder, and the first that asks fills it."""
    own = tmp_path_factory.getbasetemp()
    folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    known: dict[str, dict[str, pd.DataFrame]] = {}

    def tables(accounting: str) -> dict[str, pd.DataFrame]:
        if accounting not in known:
            path = folder / f"reproduced-{accounting}"
            with open(f"{path}.lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not path.exists():
                    path.write_bytes(pickle.dumps(reproduce(accounting)))
            known[accounting] = pickle.loads(path.read_bytes())
        return {name: frame.copy() for name, frame in known[accounting].items()}

    return tables
