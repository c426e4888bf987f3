"""Small cases for simulations: a cascade, a machine, a mapper and sizes, which are run in a second or two."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fusemax.evaluated import SpatialEvaluation

Case = tuple[str, str, str, dict[str, Any]]

CASES: dict[str, Case] = {
    "serial": ("attention-1-pass", "fusemax-cloud", "fusemax-serial", {"heads": 1, "head_dim": 3, "kv_len": 7}),
    "flat": ("attention-3-pass", "flat-cloud", "flat", {"heads": 2, "head_dim": 4}),
    "phases": ("attention-3-pass", "flat-edge", "unfused", {"heads": 1, "head_dim": 4}),
    "bits": ("attention-2-pass", "phone-npu", "flat-searched", {"heads": 2, "head_dim": 4}),
    "masked": ("attention-causal", "tpu-v4i", "flat-searched", {"heads": 2, "head_dim": 4}),
    "mesh": ("attention-1-pass", "flat-attention-mesh", "flat-searched", {"heads": 2, "head_dim": 4}),
}
"""By what is special; queries are left to ``seq_len``."""
SEQ_LEN = 11


def tampered(found: SpatialEvaluation) -> SpatialEvaluation:
    """Return an evaluation whose engine has counted one read too many."""
    rows = list(found.activity.rows)
    place = next(i for i, row in enumerate(rows) if row.action == "read" and row.node == found.architecture.root.name)
    rows[place] = rows[place]._replace(count=rows[place].count + 1)
    return replace(found, activity=replace(found.activity, rows=tuple(rows)))
