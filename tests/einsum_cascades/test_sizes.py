"""Sizes as people write them: every spelling by hand, and a law: what is written reads back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einsum_cascades.errors import InputError
from einsum_cascades.sizes import PATTERNS, SUFFIXES, Unit, as_size, read_size

WRITTEN = [
    ("8192", 8192, 8192),
    ("65_536", 65536, 65536),
    ("2**16", 65536, 65536),
    ("8K", 8192, 8192),
    ("128k", 131072, 131072),
    ("1M", 1048576, 1048576),
    ("1.5M", 1572864, 1572864),
    (" 64 K ", 65536, 65536),
    ("2G", 2**31, 2**31),
    ("-7", -7, -7),
    ("256KiB", None, 262144),
    ("16MiB", None, 2**24),
    ("0.5 GiB", None, 2**29),
    ("1GB", None, 10**9),
    ("64kB", None, 64000),
    ("64KB", None, 64000),
    ("512B", None, 512),
]


@pytest.mark.parametrize(("text", "count", "size"), WRITTEN)
def test_every_spelling(text: str, count: int | None, size: int) -> None:
    assert read_size(text, "bytes") == size
    if count is None:
        with pytest.raises(InputError, match="is no suffix of one") as caught:
            read_size(text)
        assert "8K" in caught.value.hint
        assert "K, M, G, T" in caught.value.hint
    else:
        assert read_size(text) == count


@pytest.mark.parametrize(
    "text", ["", "K", "8Kb", "8kib", "1e3", "nan", "0x10", "1__0", "4.2", "1/2", "2**9999", "eight"]
)
@pytest.mark.parametrize("unit", ["count", "bytes"])
def test_what_is_no_size(text: str, unit: Unit) -> None:
    with pytest.raises(InputError, match="is no ") as caught:
        read_size(text, unit)
    assert ("256KiB" in caught.value.hint) == (unit == "bytes")


@given(st.integers(0, 2**40), st.sampled_from(["count", "bytes"]), st.data())
def test_what_is_written_reads_back_and_fits_the_pattern(number: int, unit: Unit, data: st.DataObject) -> None:
    suffix = data.draw(st.sampled_from(["", *SUFFIXES[unit]]))
    written = f"{number}{suffix}"
    assert read_size(written, unit) == number * SUFFIXES[unit].get(suffix, 1)
    assert re.fullmatch(PATTERNS[unit], written)


def test_numbers_pass_and_an_error_says_of_what() -> None:
    assert as_size(7, "seq_len") == 7
    assert as_size("7K", "seq_len") == 7168
    with pytest.raises(InputError, match="seq_len: '7KiB' is no size"):
        as_size("7KiB", "seq_len")
