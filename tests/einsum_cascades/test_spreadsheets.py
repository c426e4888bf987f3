"""Cells that a spreadsheet would run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from einsum_cascades.spreadsheets import guarded, unguarded

STARTS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"


@given(st.text(alphabet=st.sampled_from("'" + STARTS + "ax1 "), max_size=6) | st.text())
def test_no_cell_begins_as_a_formula_and_all_text_reads_back(text: str) -> None:
    cell = guarded(text)
    assert not cell or cell[0] not in STARTS
    assert unguarded(cell) == text


def test_plain_text_stays_as_it_is() -> None:
    for text in ("attention-1-pass", "", "'tis", "1", "a=b"):
        assert guarded(text) == text
    assert guarded("=1+1") == "'=1+1"
    assert guarded("'=1+1") == "''=1+1"
