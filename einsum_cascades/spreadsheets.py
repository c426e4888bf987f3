"""Text in CSV files that a spreadsheet may open: it would run a cell that begins with ``=`` as a formula.

Such a text is written with an apostrophe before it, as spreadsheets themselves mark text, and read back without. So
that every text reads back as it was, one that has apostrophes there already is given one more. Numbers stay as they
are.

Source: OWASP, "CSV Injection".
"""

from __future__ import annotations

import re

_ACTIVE = re.compile("'*[=+@\t\r\n\uff1d\uff0b\uff20\uff0d-]")


def guarded(text: str) -> str:
    """Return a text as it is written to a cell."""
    return f"'{text}" if _ACTIVE.match(text) else text


def unguarded(text: str) -> str:
    """Return the text that a cell holds."""
    return text[1:] if text.startswith("'") and _ACTIVE.match(text) else text
