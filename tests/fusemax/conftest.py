"""The whole published evaluation, computed once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from fusemax.experiments import reproduce

Reproduced = Callable[[str], dict[str, pd.DataFrame]]


@pytest.fixture(scope="session")
def reproduced() -> Reproduced:
    """Return the tables of an accounting."""
    known: dict[str, dict[str, pd.DataFrame]] = {}

    def tables(accounting: str) -> dict[str, pd.DataFrame]:
        if accounting not in known:
            known[accounting] = reproduce(accounting)
        return {name: frame.copy() for name, frame in known[accounting].items()}

    return tables
