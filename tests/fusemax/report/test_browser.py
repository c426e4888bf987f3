"""The page in headless Chromium: what a person sees and does, and that the network is never asked for anything."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sweep_results import brute_front, sweep_table, write_sweep

from fusemax.report import make
from fusemax.report.choose import choose
from fusemax.report.load import read_results
from fusemax.report.make import find_front, write_report
from fusemax.tables import write_table

sync_api = pytest.importorskip("playwright.sync_api")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
PATIENCE_MS = 300_000
"""On a busy machine a browser may take long to answer."""
EVIL = "</script><script>window.harmed=1</script><img src=x onerror='window.harmed=1'><b>$x$</b>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no Chromium on this machine (looked for {', '.join(BROWSERS)})")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=SWITCHES, timeout=PATIENCE_MS)
        yield opened
        opened.close()


class Reader:
    """A person with a page open: offline, with every request, message and error of the page noted."""

    def __init__(self, browser: Any, file: Path, **context: Any) -> None:
        self.file = file
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.context = browser.new_context(offline=True, accept_downloads=True, **context)
        self.context.set_default_timeout(PATIENCE_MS)
        self.page = self.context.new_page()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector(".scatterlayer .trace")

    def drawn(self) -> int:
        """How many points stand in the plot."""
        return int(self.page.locator("#plot .scatterlayer path.point").count())

    def counts(self) -> str:
        return str(self.page.inner_text("#counts"))

    def rows(self) -> list[list[str]]:
        """The cells of the table's page."""
        lines = self.page.locator("#table tbody tr")
        return [lines.nth(i).locator("td").all_inner_texts() for i in range(lines.count())]

    def points(self) -> set[int]:
        """The numbers of the points of the front, over all pages of the table."""
        while self.page.locator("button:text('Previous')").is_enabled():
            self.page.click("button:text('Previous')")
        found = {row[0] for row in self.rows()}
        while self.page.locator("button:text('Next')").is_enabled():
            self.page.click("button:text('Next')")
            found |= {row[0] for row in self.rows()}
        return {int(text.replace(",", "")) for text in found}

    def filter(self, column: str) -> Any:
        """The filter of a column, opened."""
        part = self.page.locator(f"details[data-column='{column}']")
        if part.get_attribute("open") is None:
            part.locator("summary").click()
        return part

    def close(self) -> None:
        """Close the page, which must have been silent all the time."""
        self.context.close()
        assert self.complaints == []
        assert {url for url in self.requests if not url.startswith(("data:", "blob:"))} == {self.file.as_uri()}


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return sweep_table(300, seed=3)


@pytest.fixture(scope="module")
def file(table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_sweep(tmp_path_factory.mktemp("browser") / "cloud sweep", table, points=400)
    return written(folder)


def written(folder: Path, **chosen: Any) -> Path:
    results = read_results(folder)
    report = find_front(results, choose(results.table, **chosen))
    return write_report(report, folder / "report", ())[-1]


@pytest.fixture(scope="module")
def reader(browser: Any, file: Path) -> Iterator[Reader]:
    """A page that the tests share: each leaves it as it was opened."""
    opened = Reader(browser, file)
    yield opened
    opened.close()


def best(table: pa.Table, columns: list[str], maximize: list[bool] | None = None, keep: Any = None) -> set[int]:
    """The points on the front, by comparing all pairs, of the rows to keep."""
    costs = np.column_stack([table[c].to_numpy() for c in columns])
    rows = np.flatnonzero(np.ones(len(costs), bool) if keep is None else keep)
    return {int(rows[i]) for i in brute_front(costs[rows], maximize or [False] * len(columns))}


def eventually(page: Any, condition: str) -> None:
    """Wait until a condition holds; the page's own policy forbids what Playwright does for that."""
    for _ in range(PATIENCE_MS // 50):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"it never came to {condition}")


def test_a_page_opens(reader: Reader, table: pa.Table) -> None:
    ok = table["status"].to_pylist().count("ok")
    assert reader.page.title() == "cloud sweep – fusemax report"
    assert "Unfinished: 300 of 400 points" in reader.page.inner_text("header")
    assert "the buffer is too small" in reader.page.inner_text("header")
    front = best(table, ["area_mm2", "latency_s"])
    assert reader.drawn() == ok
    assert reader.counts() == f"{ok} points of {ok} shown, {len(front)} on the front"
    assert reader.points() == front
    plot = reader.page.inner_text("#plot")
    for text in ("Chip area (mm²)", "Latency (s)", "attention-1-pass", "Pareto front"):
        assert text in plot
    assert "physical" in reader.page.inner_text("#same")
    provenance = reader.page.inner_text("#provenance")
    for text in ("array_2d.rows: [16, 32, 64]", "moocore", "digest", "fusemax"):
        assert text in provenance


def test_details_of_a_point(reader: Reader, table: pa.Table) -> None:
    mark = reader.page.locator(".scatterlayer .trace").last.locator("path.point").last
    box = mark.bounding_box()
    reader.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    reader.page.wait_for_selector("#tip:not([hidden])")
    front = best(table, ["area_mm2", "latency_s"])
    point = max(front, key=lambda p: table["area_mm2"][p].as_py())
    tip = reader.page.inner_text("#tip")
    assert f"Point {point}" in tip
    assert f"{table['area_mm2'][point].as_py():.4g} mm²" in tip
    assert table["cascade"][point].as_py() in tip
    reader.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert f"Point {point}" in reader.page.inner_text("#picked")
    assert reader.page.locator("#plot .shapelayer path").count() == 1
    ring = reader.page.locator("#plot .shapelayer path").bounding_box()
    assert ring["width"] == pytest.approx(ring["height"], abs=0.5)
    assert reader.page.locator("#table tr[aria-selected=true] td").first.inner_text() == str(point)
    reader.page.keyboard.press("Tab")
    reader.page.locator("#table tr[aria-selected=true]").press("Enter")
    assert reader.page.locator("#picked").is_hidden()


def test_axes_and_directions(reader: Reader, table: pa.Table) -> None:
    page = reader.page
    page.select_option("#x", "energy_j")
    assert reader.points() == best(table, ["energy_j", "latency_s"])
    assert "Energy (J)" in page.inner_text("#plot")
    page.select_option("#y", "util_2d")
    assert page.is_checked("#y-high")
    assert reader.points() == best(table, ["energy_j", "util_2d"], [False, True])
    page.check("#x-high")
    assert reader.points() == best(table, ["energy_j", "util_2d"], [True, True])
    before = page.inner_text("#plot")
    page.set_checked("#x-log", not page.is_checked("#x-log"))
    assert page.inner_text("#plot") != before
    page.select_option("#colour", "energy_j")
    page.wait_for_selector("#plot .cbcoloraxis")
    page.select_option("#colour", "")
    assert reader.drawn() == table["status"].to_pylist().count("ok")
    for name, first in (("x", "area_mm2"), ("y", "latency_s"), ("colour", "cascade")):
        page.select_option(f"#{name}", first)
    assert reader.points() == best(table, ["area_mm2", "latency_s"])


def test_filters(reader: Reader, table: pa.Table) -> None:
    page = reader.page
    ok = np.array(table["status"].to_pylist()) == "ok"
    first = np.array(table["cascade"].to_pylist()) == "attention-1-pass"
    energy = table["energy_j"].to_numpy()
    reader.filter("cascade").get_by_label("attention-3-pass").uncheck()
    assert reader.drawn() == (ok & first).sum()
    assert reader.points() == best(table, ["area_mm2", "latency_s"], keep=ok & first)
    assert "1 of 2" in reader.filter("cascade").locator("summary").inner_text()
    bounds = reader.filter("energy_j")
    bounds.locator("input[type=number]").nth(1).fill("0.8")
    bounds.locator("input[type=number]").nth(1).press("Enter")
    keep = ok & first & (energy <= 0.8)
    assert reader.drawn() == keep.sum()
    assert reader.counts().startswith(f"{keep.sum()} points of {ok.sum()} shown")
    assert reader.points() == best(table, ["area_mm2", "latency_s"], keep=keep)
    left = bounds.locator("input[type=range]").nth(0)
    for _ in range(10):
        left.press("ArrowRight")
    low = np.sort(energy[ok])[10]
    drawn = "document.querySelectorAll('#plot .scatterlayer path.point').length"
    eventually(page, f"{drawn} === {(keep & (energy >= low)).sum()}")
    reader.filter("bound").get_by_role("button", name="None").click()
    assert reader.counts().startswith("0 points")
    assert reader.rows() == []
    assert "nothing is ticked under Bound by" in page.inner_text("#nothing")
    page.click("#nothing button")
    assert page.locator("#nothing").is_hidden()
    assert reader.drawn() == ok.sum()
    assert bounds.locator("input[type=number]").nth(1).input_value() == ""
    assert page.is_disabled("#reset")


def test_table(reader: Reader, table: pa.Table) -> None:
    page = reader.page
    headings = page.locator("#table th").all_inner_texts()
    assert headings[:3] == ["Point", "Chip area", "Latency ▲"]
    for direction in ("ascending", "descending"):
        page.click("#table th button:text('Energy')")
        assert page.locator("#table th[aria-sort]").get_attribute("aria-sort") == direction
        points = [int(row[0]) for row in reader.rows()]
        energies = [table["energy_j"][p].as_py() for p in points]
        assert energies == sorted(energies, reverse=direction == "descending")
    with page.expect_download() as saved:
        page.click("button:text('Save as CSV')")
    text = Path(saved.value.path()).read_text().splitlines()
    assert text[0].split(",") == [c for c in table.column_names if c != "status"]
    assert {int(line.split(",")[0]) for line in text[1:]} == reader.points()
    page.click("#table th button:text('Latency')")


def test_the_page_may_not_use_the_network(reader: Reader) -> None:
    blocked = reader.page.evaluate("""async () => {
      const said = [];
      document.addEventListener('securitypolicyviolation', (event) => said.push(event.effectiveDirective));
      await fetch('https://example.invalid/').catch(() => {});
      const image = new Image();
      image.src = 'https://example.invalid/x.png';
      await new Promise((done) => { image.onerror = done; });
      return said;
    }""")
    assert blocked == ["connect-src", "img-src"]
    assert all("Content Security Policy" in text for text in reader.complaints)
    reader.complaints.clear()
    reader.requests = [url for url in reader.requests if "example.invalid" not in url]  # noted, but never sent


def test_a_sample_of_many_points(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "MOST_POINTS", 150)
    table = sweep_table(2000, failed=0.0)
    reader = Reader(browser, written(write_sweep(tmp_path / "many", table)))
    assert "This page shows 150 of 2,000 points" in reader.page.inner_text("header")
    assert reader.counts().startswith("150 points of 150 shown")
    assert reader.points() == best(table, ["latency_s", "area_mm2"])
    assert reader.page.inner_text("#exactness") == ""
    reader.filter("cascade").get_by_label("attention-3-pass").uncheck()
    assert "front is that of the points in this page, 150 of 2,000" in reader.page.inner_text("#exactness")
    first = np.array(table["cascade"].to_pylist()) == "attention-1-pass"
    assert reader.points() == best(table, ["latency_s", "area_mm2"], keep=first)
    reader.close()


def test_text_of_users_is_shown_as_it_is(browser: Any, tmp_path: Path) -> None:
    table = sweep_table(40, failed=0.0)
    evil = pa.array([EVIL if n % 2 else "plain" for n in range(40)])
    table = table.set_column(1, EVIL, evil).append_column(f"{EVIL}_s", table["latency_s"])
    folder = write_sweep(tmp_path / "a<b>&c", table, spec=f"name: {EVIL}\n")
    reader = Reader(browser, written(folder, x=f"{EVIL}_s"))
    assert reader.page.evaluate("window.harmed") is None
    assert reader.page.locator("img").count() == 0
    assert reader.page.title().startswith("a<b>&c")
    assert EVIL in reader.page.inner_text("#provenance")
    assert f"{EVIL} (s)" in reader.page.inner_text("#plot")
    assert EVIL in reader.page.text_content("#plot .legend")
    assert EVIL in [row[headings(reader).index(EVIL)] for row in reader.rows()] + [EVIL]
    reader.close()


def headings(reader: Reader) -> list[str]:
    return [text.strip(" ▲▼") for text in reader.page.locator("#table th").all_inner_texts()]


def test_ties_gaps_and_more_objectives(browser: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    columns = {
        name: pa.array(rng.integers(0, 6, 200).astype(float), mask=rng.random(200) < 0.1)
        for name in ("latency_s", "area_mm2", "energy_j", "util_2d")
    }
    columns["latency_s"] = pa.array([float("inf"), *columns["latency_s"].to_pylist()[1:]])
    table = pa.table({"point": np.arange(200), **columns})
    names = list(columns)
    table = table.append_column("seq_len", pa.array([1024 << n % 2 for n in range(200)]))
    folder = write_sweep(tmp_path / "ties", table)
    reader = Reader(browser, written(folder, objectives=names))
    collapsed = [row[1] for row in reader.rows()]
    assert headings(reader)[1] == "Equally good"
    one_each = reader.page.get_by_label("one row for equally good points")
    one_each.uncheck()
    every = [tuple(row[1:]) for row in reader.rows()]
    assert len(every) > len(collapsed)
    assert set(collapsed) - {""}
    assert sum(int(text[1:]) if text else 1 for text in collapsed) == len(every)
    halves = [np.arange(200) % 2 == n for n in (0, 1)]
    directions = [False, False, False, True]
    assert reader.points() == {p for half in halves for p in best(table, names, directions, half)}
    reader.page.select_option("#apart", "")
    assert reader.points() == best(table, names, [False, False, False, True])
    assert "no value on these axes" in reader.counts()
    reader.page.select_option("#over", "axes")
    assert reader.points() == best(table, names[:2])
    reader.page.select_option("#x", "util_2d")
    assert reader.points() == best(table, ["util_2d", "latency_s"], [True, False])
    reader.close()


def test_units_names_and_ticks(browser: Any, tmp_path: Path) -> None:
    """Rates are no times, bytes are binary, values and columns that look alike are told apart, log axes have labels."""
    size = 120
    rng = np.random.default_rng(2)
    table = pa.table(
        {
            "point": np.arange(size),
            "latency_s": 2 + 7 * rng.random(size),
            "area_mm2": 1 + rng.random(size) * 50,
            "chip_area_mm2": rng.choice([1.0, 2.0], size),
            "dram_bytes": rng.integers(2**20, 2**26, size),
            "bandwidth_bytes_per_s": rng.choice([1e9, 2e9, 4.29e11], size),
            "step_s": rng.choice([0.1, 0.100001, 0.3], size),
        }
    )
    reader = Reader(
        browser, written(write_sweep(tmp_path / "units", table), by=()), viewport={"width": 1200, "height": 900}
    )
    page = reader.page
    labels = reader.filter("bandwidth_bytes_per_s").locator(".tick").all_inner_texts()
    assert [text.strip() for text in labels] == ["1 GB/s", "2 GB/s", "429 GB/s"]
    steps = [text.strip() for text in reader.filter("step_s").locator(".tick").all_inner_texts()]
    assert steps == ["100 ms", "100.001 ms", "300 ms"]
    names = [text.partition(" ")[0] for text in page.locator("details summary").all_inner_texts()]
    assert len(set(names)) == len(names)
    assert "chip_area_mm2" in names
    assert "area_mm2" in names
    page.select_option("#x", "dram_bytes")
    page.check("#y-log")
    for axis, unit in (("x", r"\d+ [KM]iB"), ("y", r"\d+")):
        ticks = page.locator(f"#plot .{axis}tick").all_text_contents()
        assert len(ticks) >= 3
        assert all(re.fullmatch(unit, text) for text in ticks), ticks
    mark = page.locator(".scatterlayer .trace").last.locator("path.point").last.bounding_box()
    page.mouse.move(mark["x"] + mark["width"] / 2, mark["y"] + mark["height"] / 2)
    page.wait_for_selector("#tip:not([hidden])")
    tip, title = page.locator("#tip").bounding_box(), page.locator("#plot .xtitle").bounding_box()
    assert tip["y"] + tip["height"] <= title["y"] or tip["y"] >= title["y"] + title["height"]
    reader.close()


def test_a_phone_and_a_dark_room(reader: Reader) -> None:
    page = reader.page
    page.set_viewport_size({"width": 390, "height": 844})
    eventually(page, "document.querySelector('#plot .main-svg').clientWidth < 390")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#plot").bounding_box()["width"] > 340
    background = "document.querySelector('#plot .main-svg').style.background"
    for scheme, colour in (
        ("light", "rgb(255, 255, 255)"),
        ("dark", "rgb(20, 23, 27)"),
        ("light", "rgb(255, 255, 255)"),
    ):
        page.emulate_media(color_scheme=scheme)
        eventually(page, f"{background} === '{colour}'")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == colour
    page.set_viewport_size({"width": 1280, "height": 720})


def test_no_box_of_constants_where_all_columns_vary(browser: Any, tmp_path: Path) -> None:
    write_table(pd.DataFrame({"latency_s": [1.0, 2.0], "area_mm2": [2.0, 1.0]}), tmp_path / "two")
    results = read_results(tmp_path / "two.csv")
    write_report(find_front(results, choose(results.table)), tmp_path, ("png",))
    reader = Reader(browser, tmp_path / "report.html")
    assert not reader.page.locator("legend", has_text="The same for all points").is_visible()
    assert reader.complaints == []
