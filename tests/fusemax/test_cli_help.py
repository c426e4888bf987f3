"""The help of every command: it ends with an example, and the example works."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from commands import COMMANDS, parse
from typer.testing import CliRunner

from fusemax.cli import app
from fusemax.cli.examples import EXAMPLES

SLOW = ("analyze", "validate", "measure gpu")
"""Commands whose example takes longer than a second or two."""
ELSEWHERE = ("reproduce",)
"""Commands whose example is run by the tests of the README and of the wheel."""
NEED_FILES = ("mapping", "sweep", "report")
"""Commands whose example works on files of the user's; their own tests run them."""

runner = CliRunner()


@pytest.mark.parametrize("words", COMMANDS)
def test_help_says_what_it_does_and_shows_an_example(words: str) -> None:
    command = COMMANDS[words]
    shown = runner.invoke(app, [*words.split(), "--help"], env={"COLUMNS": "100"})
    assert shown.exit_code == 0
    assert len(command.help or command.callback.__doc__ or "") > 20
    assert f"Example: {EXAMPLES[words]}" in " ".join(shown.stdout.split())
    for option in command.params:
        assert option.name == "help" or getattr(option, "help", ""), f"{words} {option.name} has no help"


@pytest.mark.parametrize("words", [w for w in COMMANDS if w])
def test_an_example_is_that_command_with_options_that_it_has(words: str) -> None:
    assert parse(EXAMPLES[words]).startswith(words)


@pytest.mark.parametrize("words", [w for w in COMMANDS if w not in (*SLOW, *ELSEWHERE, *NEED_FILES)])
def test_an_example_runs(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = runner.invoke(app, shlex.split(EXAMPLES[words])[1:])
    assert shown.exit_code == 0, shown.output


@pytest.mark.slow
@pytest.mark.parametrize("words", SLOW)
def test_a_long_example_runs(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = runner.invoke(app, shlex.split(EXAMPLES[words])[1:])
    assert shown.exit_code == 0, shown.output
