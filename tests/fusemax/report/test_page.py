"""The page as text: what its data decode to, that users' text stays text, and that nothing in it is fetched."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest

from einsum_cascades.errors import InputError
from fusemax.report.page import build_page, encode_columns, json_text

EVIL = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>&amp;{{data}}"


def decoded(column: dict[str, object]) -> list[object]:
    """What the page's scripts make of a column."""
    if "data" in column:
        return np.frombuffer(base64.b64decode(str(column["data"])), "<f8").tolist()
    codes = np.frombuffer(base64.b64decode(str(column["codes"])), f"<u{int(str(column['bits'])) // 8}")
    return [column["values"][code] for code in codes.tolist()]  # type: ignore[index]


def test_columns_read_back() -> None:
    rng = np.random.default_rng(0)
    columns = {
        "few": rng.choice([16, 32], 900),
        "many": rng.random(900),
        "gaps": pa.array([None, 0.1, 2.0] * 300),
        "all": [None] * 900,
        "codes": [f"name {n % 300}" for n in range(900)],
        "text": ["a", None, EVIL] * 300,
        "truth": [True, False, None] * 300,
        "infinite": [float("inf"), -float("inf"), 1.0] * 300,
    }
    table = pa.table(columns)
    plain = json.loads(json_text({"columns": encode_columns(table)}))["columns"]
    assert [c["name"] for c in plain] == list(columns)
    back = {c["name"]: decoded(c) for c in plain}
    for name in ("few", "many", "gaps", "all", "codes", "text"):
        assert back[name] == table[name].to_pylist()
    assert back["truth"][:3] == ["True", "False", None]
    assert back["infinite"][:3] == ["Infinity", "-Infinity", 1]
    assert [c.get("bits") for c in plain] == [8, None, 8, 8, 16, 8, 8, 8]


def test_numbers_without_a_value_among_many() -> None:
    table = pa.table({"a": pa.array([None, *np.random.default_rng(0).random(99)])})
    (column,) = encode_columns(table)
    values = decoded(column)
    assert np.isnan(values[0])  # type: ignore[call-overload]
    assert values[1:] == table["a"].to_pylist()[1:]


class Outline(HTMLParser):
    """The elements of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


def test_text_of_users_stays_text() -> None:
    data = {"columns": encode_columns(pa.table({EVIL: [EVIL]}))}
    page = build_page(EVIL, data, summary=EVIL, notes=[(EVIL, (EVIL,))], provenance=[(EVIL, EVIL)], spec=EVIL)
    tags = [tag for tag, _ in Outline(page).elements]
    assert tags.count("script") == 3
    assert "img" not in tags
    held = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert held is not None
    assert json.loads(held[1])["columns"][0]["name"] == EVIL


def test_nothing_is_fetched() -> None:
    page = build_page("mine", {"columns": []})
    outline = Outline(page)
    for tag, attributes in outline.elements:
        assert tag not in ("iframe", "img", "object", "embed", "base")
        assert "src" not in attributes
        assert not attributes.get("href", "").startswith(("http", "//", "/")), attributes  # type: ignore[union-attr]
        assert not any(name.startswith("on") for name in attributes)
    policy = next(a["content"] for t, a in outline.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in rules["script-src"]
    assert not re.search(r"https?:|\*", policy)
    bodies = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(b.encode()).digest()).decode()}'" for b in bodies]
    assert rules["script-src"].split() == hashes
    assert len(hashes) == 2


def test_without_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("plotly", "plotly.offline"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"\[report\]'"):
        build_page("mine", {"columns": []})
