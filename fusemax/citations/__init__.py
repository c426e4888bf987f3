"""What to cite for a cascade, a machine, a model, a mapper or a component table, as BibTeX.

Files say in words where they come from; ``references.bib`` has each of these works once. A text cites a work if it has
its arXiv number, its title, or its first author with "et al.", its series and its year. A file that cites none of them,
such as one of a user's own, is cited by what it says of itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from einsum_cascades.errors import unknown
from einsum_cascades.files import read_text
from einsum_cascades.load import library_names, load_cascade
from einsum_cascades.models import load_model, model_names
from einsum_cascades.yaml_source import Node, parse_yaml
from hw_models.load import architecture_names, load_machine
from mappers.strategies import mapper_names

PAPER: Final = "nayak2024fusemax"
"""The paper whose method this is."""
TABLES: Final = {
    "accelergy": ("wu2019accelergy", PAPER),
    "cacti": ("muralimanohar2009cacti", "balasubramonian2017cacti", "andrulis2024cimloop"),
    "hwcomponents": ("andrulis2024cimloop", "muralimanohar2009cacti", "balasubramonian2017cacti"),
    "technology": ("stillmaker2017scaling", "zhao2006ptm", "sinha2012ptm"),
}
"""What the component tables come from."""

_ENTRY: Final = re.compile(r"^@(?P<type>\w+)\{(?P<key>[^,\s]+),\n(?P<body>.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD: Final = re.compile(r"^ *(?P<name>\w+) *= *\{(?P<value>.*)\},?$", re.MULTILINE)
_SUFFIXES: Final = (".yaml", ".yml", ".json")
_ACCENTS: Final = {r"{\c{c}}": "ç", r"{\'e}": "é", r"{\"a}": "ä", r"{\"u}": "ü", r"{\L}": "Ł"}


@dataclass(frozen=True)
class Reference:
    """A work, as BibTeX has it.

    Attributes:
        kind: such as ``article``.
        fields: BibTeX's, by name.
        bibtex: the entry.
    """

    key: str
    kind: str
    fields: dict[str, str] = field(hash=False)
    bibtex: str

    @property
    def plain(self) -> dict[str, str]:
        """The fields without braces, and accents as letters."""
        return {name: _plain(value) for name, value in self.fields.items()}

    @property
    def text(self) -> str:
        """The work in words: authors, title, where, when."""
        found = self.plain
        names = [" ".join(reversed(name.split(", "))) for name in found.get("author", "").split(" and ")]
        places = [
            found[name] for name in ("booktitle", "journal", "institution", "howpublished", "note") if name in found
        ]
        numbers = [f"arXiv:{found['eprint']}"] if "eprint" in found else []
        numbers += [f"doi:{found['doi']}"] if "doi" in found else []
        parts = [", ".join(filter(None, names)), found["title"], *places, found.get("year", ""), *numbers]
        return ". ".join(filter(None, parts)) + "."

    def place_in(self, text: str) -> int | None:
        """Return where a text in words names the work, or None."""
        found = self.plain
        title = r"[.:,]? +".join(re.escape(word) for word in re.split(r"[.:]? +", found["title"]))
        author = found["author"].partition(",")[0]
        patterns = [rf'(?:^|[.?”"“] *){title}(?=[.,"“”]|$)']
        if "eprint" in found:
            patterns.append(rf"\b{re.escape(found['eprint'])}\b")
        if "series" in found:
            patterns.append(rf'{author} et al\.,(?: "[^"]*",)? {found["series"]} {found["year"]}')
        matches = (re.search(pattern, text, re.IGNORECASE) for pattern in patterns)
        return min((match.start() for match in matches if match), default=None)


@cache
def references() -> dict[str, Reference]:
    """Return the works that files of this package cite, by their keys."""
    text = (Path(__file__).parent / "references.bib").read_text(encoding="utf-8")
    found = {}
    for entry in _ENTRY.finditer(text):
        fields = {m["name"]: m["value"] for m in _FIELD.finditer(entry["body"])}
        found[entry["key"]] = Reference(entry["key"], entry["type"], fields, entry[0])
    return found


def cite(name: str = "") -> tuple[Reference, ...]:
    """Return what to cite.

    Args:
        name: of a cascade, a machine, a model, a component table or a mapper, or a file; the paper if not given.

    Raises:
        InputError: nothing has that name, or the file cannot be read.
    """
    known = references()
    folded = name.casefold()
    if not name:
        return (known[PAPER],)
    if folded in TABLES:
        return tuple(known[key] for key in TABLES[folded])
    if name in mapper_names():
        from fusemax.catalogue import mapper_facts

        facts = mapper_facts(name)
        return _cited(f"{facts['summary']} {facts['about']}") or (known[PAPER],)
    if folded in library_names():
        cascade = load_cascade(name)
        return _cited(cascade.citation) or (_own(cascade.name, cascade.title, cascade.citation),)
    if folded in architecture_names():
        machine = load_machine(name)
        said = getattr(machine, "citation", "") or getattr(machine, "measured", "")
        return _cited(said) or (_own(machine.name, machine.title, said),)
    if folded in model_names():
        model = load_model(name)
        return _cited(model.citation) or (_own(model.name, "", model.citation),)
    if not name.endswith(_SUFFIXES) and not Path(name).exists():
        raise unknown("name", name, citable())
    return _cited_by_file(name)


def citable() -> tuple[str, ...]:
    """Return all names that can be cited."""
    return (*library_names(), *architecture_names(), *model_names(), *TABLES, *mapper_names())


def _cited(text: str) -> tuple[Reference, ...]:
    """Return the works that a text names, in its order."""
    joined = " ".join(text.split())
    places = {key: work.place_in(joined) for key, work in references().items()}
    named = sorted((place, key) for key, place in places.items() if place is not None)
    return tuple(references()[key] for _, key in named)


def _cited_by_file(path: str) -> tuple[Reference, ...]:
    root = parse_yaml(read_text(path), path)
    parts: dict[str, Node] = root.mapping()

    def text(key: str) -> str:
        return " ".join(str(parts[key].value).split()) if key in parts and isinstance(parts[key].value, str) else ""

    said = text("citation") or text("measured")
    return _cited(said) or (_own(text("name") or Path(path).stem, text("title"), said),)


def _own(name: str, title: str, said: str) -> Reference:
    """Return an entry for what cites no known work: what it says of itself."""
    key = re.sub(r"[^A-Za-z0-9-]+", "-", name).strip("-") or "unnamed"
    fields = {"title": f"{{{_escaped(title or name)}}}"} | ({"note": _escaped(said)} if said else {})
    lines = [f"  {label:<9} = {{{value}}}," for label, value in fields.items()]
    return Reference(key, "misc", fields, "\n".join([f"@misc{{{key},", *lines, "}"]))


def _escaped(text: str) -> str:
    """Return a text with what BibTeX reads as commands made plain."""
    plain = " ".join(text.split()).replace("\\", " ").replace("{", "(").replace("}", ")")
    return re.sub(r"([#$%&_])", r"\\\1", plain)


def _plain(value: str) -> str:
    for command, letter in _ACCENTS.items():
        value = value.replace(command, letter)
    return re.sub(r"\\([#$%&_])", r"\1", value).replace("{", "").replace("}", "").replace("--", "–")
