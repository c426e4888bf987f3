"""Result tables on disk and in the terminal."""

import io
import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from einsum_cascades.errors import InputError
from fusemax.comparison import TABLES, compare, headline
from fusemax.published import published
from fusemax.summary import summary
from fusemax.tables import format_csv, parse_csv, read_table, write_table


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return published("attention")


@pytest.fixture(scope="module")
def written(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_table(frame, tmp_path_factory.mktemp("tables") / "attention")


def test_both_formats_read_back_exactly(frame: pd.DataFrame, written: tuple[Path, Path]) -> None:
    assert [p.name for p in written] == ["attention.csv", "attention.parquet"]
    for path in written:
        pd.testing.assert_frame_equal(read_table(path), frame, check_exact=True)


def test_gaps_in_integers_and_text_survive(tmp_path: Path) -> None:
    comparison = compare({name: published(name) for name in TABLES})
    for path in write_table(comparison, tmp_path / "comparison"):
        back = read_table(path)
        assert str(back["seq_len"].dtype) == str(back["pe_dim"].dtype) == "Int64"
        assert (back["seq_len"].isna() == comparison["seq_len"].isna()).all()
        assert back["einsum"].isna().sum() == comparison["einsum"].isna().sum()
        assert (back["ours"] == comparison["ours"]).all()


def test_same_table_same_bytes(frame: pd.DataFrame, written: tuple[Path, Path], tmp_path: Path) -> None:
    again = write_table(frame.copy(), tmp_path / "attention")
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in written]


def test_the_index_and_the_name_with_a_dot_do_not_matter(frame: pd.DataFrame, tmp_path: Path) -> None:
    paths = write_table(frame.set_index(frame.index + 7), tmp_path / "run.2")
    assert [p.name for p in paths] == ["run.2.csv", "run.2.parquet"]
    assert all(list(read_table(p).columns) == list(frame.columns) for p in paths)


def test_integers_beyond_64_bits_are_exact_in_csv(tmp_path: Path) -> None:
    huge = pd.DataFrame({"dram_bytes": [2**70 + 1, 3]}, dtype=object)
    exact, rounded = write_table(huge, tmp_path / "huge")
    assert read_table(exact)["dram_bytes"].tolist() == [2**70 + 1, 3]
    assert read_table(rounded)["dram_bytes"].tolist() == [float(2**70), 3.0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=8))
def test_floats_round_trip_through_csv(values: list[float]) -> None:
    back = parse_csv(format_csv(pd.DataFrame({"latency_s": values})), "x.csv")["latency_s"].tolist()
    assert [math.copysign(1, v) for v in back] == [math.copysign(1, v) for v in values]
    assert back == values


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1), max_size=5))
def test_text_with_commas_quotes_and_line_breaks_round_trips(values: list[str]) -> None:
    rows = [v + "x" for v in values]
    frame = pd.DataFrame({"cascade": pd.Series(rows, dtype="str"), "seq_len": 1})
    assert parse_csv(format_csv(frame), "x.csv")["cascade"].tolist() == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the table is empty"),
        ("# only a comment\n", "the table is empty"),
        ("a,b\n1,2\n3", "x.csv:3: cannot read this table: the last line has no end"),
        ("a,b\n1,2\n3\n", "x.csv:3: cannot read this table: expected 2 fields, found 1"),
        ("# c\na,b\n1,2,3\n", "x.csv:3: cannot read this table: expected 2 fields, found 3"),
        ("a,a\n1,2\n", "stands twice"),
        ("a,\n1,2\n", "is empty"),
        ("config,latency_s\nflat,0.1e\n", "x.csv:2: cannot read this table: '0.1e' in column 'latency_s'"),
        ("config,seq_len\nflat,1_024\n", "is not a number"),
        ('a,b\n"1,2\n', "unexpected end of data"),
        ("a\n\n", "expected 1 fields, found 0"),
    ],
)
def test_damaged_csv(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert message in str(caught.value)


def test_damaged_bytes(written: tuple[Path, Path], tmp_path: Path) -> None:
    text, binary = (path.read_bytes() for path in written)
    broken = tmp_path / "a.csv"
    broken.write_bytes(text[:300] + b"\xff" + text[301:])
    with pytest.raises(InputError, match="not UTF-8 text: byte 300 is 0xff"):
        read_table(broken)
    broken = tmp_path / "a.parquet"
    middle = len(binary) // 4
    for data in (
        b"",
        b"PAR1",
        binary[:-9],
        binary[:middle] + bytes([binary[middle] ^ 1]) + binary[middle + 1 :],
    ):
        broken.write_bytes(data)
        with pytest.raises(InputError, match="cannot read this table"):
            read_table(broken)


def test_missing_and_foreign_files(written: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"did you mean 'attention\.csv'"):
        read_table(written[0].with_name("atention.csv"))
    with pytest.raises(InputError, match="no such file"):
        read_table(tmp_path / "nowhere" / "a.csv")
    with pytest.raises(InputError, match=r"ending in \.csv or \.parquet"):
        read_table(tmp_path / "a.xlsx")


def test_a_place_that_cannot_be_written_leaves_nothing(frame: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(InputError, match="cannot write"):
        write_table(frame, tmp_path / "file" / "a")
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(InputError, match="cannot write"):
        write_table(frame, tmp_path / "a")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "file"]


def test_summary_shows_headlines_and_deviations() -> None:
    tables = {name: published(name) for name in TABLES}
    tables["attention"]["latency_s"] *= 1.5
    console = Console(file=io.StringIO(), width=80)
    console.print(summary(tables, headline(tables)))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert all(len(line) <= 80 for line in lines)
    assert any("pareto 256 latency s" in x and "118.3" in x and "-0.02%" in x for x in lines)
    assert any("attention.latency_s, largest of 60" in x and "+50.00%" in x for x in lines)
    assert any("pareto.area_mm2, largest of 6" in x for x in lines)
