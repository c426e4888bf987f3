"""The README: what it shows is what the commands print, and what it links to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_pictures_are_small() -> None:
    for picture in (ROOT / "docs").glob("*.png"):
        assert picture.stat().st_size < 150_000, picture


@pytest.mark.slow
def test_commands_print_what_the_readme_shows() -> None:
    from readme_runner import refreshed

    assert refreshed(TEXT).splitlines() == TEXT.splitlines(), "the README is behind: run 'make readme'"
