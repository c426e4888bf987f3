"""Tables and sentences at any width: no character is lost, no line is too long, no number loses its unit."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from fusemax.cli import output
from fusemax.cli.layout import GLUE, glued, wrapped

WORD = st.sampled_from(
    ["attention-3-pass", "M", "[m,", "p]", "values", "of", "13.39 ms", "38,654,705,664 bytes", "é字"]
)
CELL = st.lists(WORD, max_size=6).map(" ".join) | st.just("") | st.just("two\nlines")
FIGURE = st.sampled_from(["", "1,234", "13.39 ms", "99.9 %", "208.1 KiB"])
ROWS = st.lists(st.tuples(CELL, FIGURE, CELL, FIGURE), min_size=1, max_size=5)
QUANTITY = re.compile(r"(?:13\.39 ms|38,654,705,664 bytes|99\.9 %|208\.1 KiB)")


def printed(rows: list[tuple[str, ...]], width: int, capsys: pytest.CaptureFixture[str], title: str = "") -> str:
    view = output.table(title)
    for number, heading in enumerate(("name", "how much", "what it is", "bytes_per_s")):
        view.add_column(heading, justify="right" if number % 2 else "left")
    for row in rows:
        view.add_row(*row)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        output.show(view)
    return capsys.readouterr().out


def words(text: str) -> dict[str, int]:
    found = text.replace("─", " ").split()
    return {word: found.count(word) for word in found}


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(20, 200))
@example([("attention-3-pass", "13.39 ms", "[m, p] [/] [bold]", "99.9 %")], 20)
def test_nothing_is_lost_at_any_width(rows: list[tuple[str, ...]], width: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        written: list[str] = []
        patch.setattr(output, "write", written.append)
        patch.setenv("COLUMNS", str(width))
        view = output.table()
        for number, heading in enumerate(("name", "much", "what", "rate")):
            view.add_column(heading, justify="right" if number % 2 else "left")
        for row in rows:
            view.add_row(*row)
        output.show(view)
    shown = "\n".join(written)
    assert "…" not in shown
    counted = words(shown)
    for word, times in words(" ".join(cell for row in rows for cell in row)).items():
        assert counted.get(word, 0) >= times, word
    flat = [match[0] for row in rows for cell in row for match in QUANTITY.finditer(cell)]
    assert sorted(match[0] for match in QUANTITY.finditer(shown)) == sorted(flat)
    longest = max(map(cell_len, QUANTITY.sub(lambda m: m[0].replace(" ", "_"), shown).split()), default=0)
    assert all(cell_len(line) <= max(width, longest + 3) for line in shown.splitlines())


def test_text_wraps_and_figures_do_not(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("a name of some words", "13.39 ms", "a longer text about it", "1,234")]
    wide = printed(rows, 100, capsys, "The title").splitlines()
    assert wide[0] == "The title"
    assert any("a name of some words  13.39 ms  a longer text about it" in line for line in wide)
    narrow = printed(rows, 50, capsys).splitlines()
    assert all(len(line) <= 50 for line in narrow)
    assert sum("13.39 ms" in line for line in narrow) == 1


def test_rows_are_stacked_where_columns_have_no_room(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("attention-3-pass", "13.39 ms", "in one pass", "1,234"), ("other", "", "text", "5")]
    lines = [line.strip() for line in printed(rows, 30, capsys).splitlines()]
    assert lines == [
        *(
            "",
            "name         attention-3-pass",
            "how much     13.39 ms",
            "what it is   in one pass",
            "bytes_per_s  1,234",
        ),
        *("", "name         other", "what it is   text", "bytes_per_s  5"),
    ]


def test_a_table_without_headings_stacks_its_values(capsys: pytest.CaptureFixture[str]) -> None:
    view = output.table("a on b", header=False)
    view.add_column(style="dim")
    view.add_column()
    view.add_row("off-chip traffic", output.byte_size(38654705664))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "28")
        output.show(view)
    assert capsys.readouterr().out.splitlines() == [
        *("a on b", " off-chip traffic", "   36 GiB", "   (38,654,705,664 bytes)"),
    ]


@given(st.lists(WORD, max_size=12).map(" ".join), st.integers(5, 60), st.integers(0, 4))
def test_sentences_wrap_between_words(text: str, width: int, hanging: int) -> None:
    lines = wrapped(glued(text), width, hanging).plain.replace(GLUE, " ").split("\n")
    assert " ".join(" ".join(lines).split()) == " ".join(text.split())
    assert not any(re.match(r" *(ms|bytes)", line) for line in lines)
    for line in lines:
        assert cell_len(line) <= width or len(re.findall(r"[^ ]+", str(glued(line.strip())))) == 1


def test_sentences_stay_whole_in_a_pipe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = "word " * 60 + "end"
    monkeypatch.delenv("COLUMNS", raising=False)
    output.say(text)
    assert capsys.readouterr().out == text + "\n"
    monkeypatch.setenv("COLUMNS", "40")
    output.say(text)
    assert all(len(line) <= 40 for line in capsys.readouterr().out.splitlines())


def test_styles_survive_the_breaks() -> None:
    text = Text("one two ") + Text("three four", style="dim")
    found = wrapped(text, 9)
    assert found.plain == "one two\nthree\nfour"
    assert {found.plain[span.start : span.end].strip() for span in found.spans} >= {"three", "four"}
