"""The one exception for unusable input: what is wrong, where, what would be right, the nearest known names."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Location:
    """Where in a user's text something stands.

    Attributes:
        file: name shown to the user, such as a path or ``<text>``.
        line: 1-based line, or 0 when only the file is known.
        column: 1-based column, or 0 when only the line is known.
        text: the source line itself, for the caret.
        width: how many characters the caret underlines.
    """

    file: str
    line: int = 0
    column: int = 0
    text: str = ""
    width: int = 1

    def __str__(self) -> str:
        numbers = [str(n) for n in (self.line, self.column) if n]
        return ":".join([self.file, *numbers])


class InputError(ValueError):
    """Raised for every kind of unusable input; the command line prints it and exits with status 2.

    Args:
        message: what is wrong, quoting the offending value.
        location: where it stands, if it came from a text.
        hint: what would be right.
    """

    def __init__(self, message: str, *, location: Location | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.location = location
        self.hint = hint

    def at(self, location: Location) -> InputError:
        """Return the same error with a place, unless it has one already."""
        return self if self.location else InputError(self.message, location=location, hint=self.hint)

    def __str__(self) -> str:
        lines = [f"{self.location}: {self.message}" if self.location else self.message]
        if self.location and self.location.text and self.location.column:
            text = self.location.text.expandtabs(1)
            room = max(1, len(text) - self.location.column + 1)
            lines += [f"  {text}", "  " + " " * (self.location.column - 1) + "^" * min(self.location.width, room)]
        if self.hint:
            lines.append(f"  {self.hint}")
        return "\n".join(lines)


class JoinedInputError(InputError):
    """Several faults of one input, told together; it has the message, place and hint of the first."""

    def __init__(self, faults: Sequence[InputError]) -> None:
        first = faults[0]
        super().__init__(first.message, location=first.location, hint=first.hint)
        self.faults = tuple(faults)

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults))


def all_of(errors: Iterable[InputError]) -> InputError:
    """Return one error that tells of all of these in their order, each once.

    Args:
        errors: at least one.
    """
    faults = {str(fault): fault for error in errors for fault in getattr(error, "faults", (error,))}
    found = list(faults.values())
    return found[0] if len(found) == 1 else JoinedInputError(found)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the known names nearest to ``name``, in any case, or all when none is near."""
    names = sorted(set(known))
    folded: dict[str, list[str]] = {}
    for one in names:
        folded.setdefault(one.casefold(), []).append(one)
    near = difflib.get_close_matches(name[:80].casefold(), folded, n=3, cutoff=0.5)
    if close := [one for match in near for one in folded[match]][:3]:
        return "did you mean " + " or ".join(f"'{c}'" for c in close) + "?"
    listed = names[:20] + ["..."] * (len(names) > 20)
    return "known names: " + ", ".join(listed) if names else ""


def unknown(kind: str, name: object, known: Iterable[str], *, location: Location | None = None) -> InputError:
    """Return the error for a name that is not in a table, or for what is no name at all."""
    said = f"'{short(name, 60)}'" if isinstance(name, str) else quoted(name)
    return InputError(f"unknown {kind} {said}", location=location, hint=nearest(str(name), known))


def check_name(kind: str, name: object, known: Collection[str]) -> None:
    """Check that a name is in a table.

    Raises:
        InputError: it is not, or is no text.
    """
    if not isinstance(name, str) or name not in known:
        raise unknown(kind, name, known)


def check_type(what: str, value: object, kind: type | tuple[type, ...], hint: str) -> None:
    """Check that a value that a program gives is of a kind.

    Args:
        what: what it is, for the error.
        hint: what would be right.

    Raises:
        InputError: it is not.
    """
    if not isinstance(value, kind):
        raise InputError(f"{what} is {quoted(value)}", hint=hint)


def short(text: str, length: int) -> str:
    """Return a text cut to a length."""
    return text if len(text) <= length else text[: length - 3] + "..."


def quoted(value: object) -> str:
    """Return a value as an error quotes it, however large it is."""
    if isinstance(value, int) and value.bit_length() >= 200:
        return "a number of over 60 digits"
    return short(repr(value), 60)
