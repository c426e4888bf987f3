"""How the publication's conclusions move when its slips are put right: each headline under both accountings.

Source of the headlines: Nayak et al., "FuseMax", MICRO 2024; of the slips: ``hw_models/accounting.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fusemax.comparison import headline

if TYPE_CHECKING:
    from pandas import DataFrame


def conclusions(published: Mapping[str, DataFrame], physical: Mapping[str, DataFrame]) -> DataFrame:
    """Set the headline figures of two reproductions side by side.

    Args:
        published: the tables of ``fusemax.experiments.reproduce`` under the accounting ``published``.
        physical: those under ``physical``.

    Returns:
        Columns metric, paper (the figure printed there), published and physical (ours, by accounting)
        and change, (physical - published) / published.
    """
    import pandas as pd

    ours, theirs = headline(published), headline(physical)
    return pd.DataFrame(
        {
            "metric": ours["metric"],
            "paper": ours["published"],
            "published": ours["ours"],
            "physical": theirs["ours"],
            "change": (theirs["ours"] - ours["ours"]) / ours["ours"],
        }
    )
