"""The command as a whole: help, version, exit statuses, streams, and what it imports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fusemax
from fusemax.cli import app
from fusemax.cli.output import percent, quantity

ROOT = Path(fusemax.__file__).parents[1]
EVALUATE = ["evaluate", "--cascade", "attention-1-pass", "--arch", "fusemax-cloud", "--mapper", "fusemax-serial"]
WORKLOAD = ["--model", "BERT", "--seq-len", "1024"]
HEAVY = ("matplotlib", "networkx", "pandas", "pyarrow", "sympy")

runner = CliRunner()


def environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "200", "NO_COLOR": "1"}


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fusemax", *arguments],
        capture_output=True,
        encoding="utf-8",
        env=environment(),
        timeout=600,
    )


def test_help_lists_the_commands() -> None:
    result = process("--help")
    assert result.returncode == 0
    assert all(command in result.stdout for command in ("reproduce", "evaluate", "cascades"))
    assert result.stderr == ""


@pytest.mark.parametrize("command", ["reproduce", "evaluate", "cascades", "sweep"])
def test_every_command_has_help(command: str) -> None:
    result = runner.invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "--json" in result.stdout


def test_version() -> None:
    result = runner.invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"fusemax {fusemax.__version__}\n")


def test_unusable_input_is_one_message_and_status_2() -> None:
    result = process(*EVALUATE, "--model", "BRT", "--seq-len", "1024")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: unknown model 'BRT'\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["evaluat"],
        ["evaluate"],
        [*EVALUATE, "--nothing"],
        [*EVALUATE, "--model"],
        [*EVALUATE, "--seq-len", "many"],
        ["cascades", "--format", "html"],
        ["cascades", "one", "two"],
    ],
)
def test_usage_errors_have_status_2(arguments: list[str]) -> None:
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("arguments", "unneeded"),
    [
        (["--help"], (*HEAVY, "numpy", "pydantic", "lark", "ruamel")),
        (["cascades"], HEAVY),
        ([*EVALUATE, *WORKLOAD], HEAVY),
    ],
)
def test_imports_only_what_is_needed(arguments: list[str], unneeded: tuple[str, ...]) -> None:
    script = (
        "import sys\n"
        "from fusemax.cli import app\n"
        f"app({arguments!r}, standalone_mode=False)\n"
        f"print('loaded', [m for m in {unneeded!r} if m in sys.modules])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, encoding="utf-8", env=environment(), timeout=600
    )
    assert result.stdout.splitlines()[-1:] == ["loaded []"], result.stdout + result.stderr


def test_ctrl_c_is_status_130(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusemax.evaluation.evaluate_request", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        result = runner.invoke(app, [*EVALUATE, *WORKLOAD])
    finally:
        signal.signal(signal.SIGINT, before)
    assert (result.exit_code, result.stderr) == (130, "stopped: nothing is kept; the same command starts anew\n")


@pytest.mark.parametrize("error", [RecursionError, MemoryError])
def test_hopeless_input_is_status_2(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("fusemax.evaluation.evaluate_request", fail)
    result = runner.invoke(app, [*EVALUATE, *WORKLOAD])
    assert result.exit_code == 2
    assert "too large or too deeply nested" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break in another way there")
def test_a_reader_who_leaves_is_no_error() -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "fusemax", "cascades", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.close()
    complaint = running.stderr.read()
    running.stderr.close()
    assert running.wait(timeout=600) == 141
    assert complaint == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_output_that_cannot_be_written_is_status_2() -> None:
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "fusemax", "cascades"],
            stdout=full,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=environment(),
            timeout=600,
        )
    assert result.returncode == 2
    assert result.stderr == "error: No space left on device\n"


def test_an_ascii_terminal_is_enough() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "fusemax", *EVALUATE, *WORKLOAD],
        capture_output=True,
        env={**environment(), "PYTHONIOENCODING": "ascii"},
        timeout=600,
    )
    assert result.returncode == 0
    assert result.stdout.isascii()


def test_control_characters_do_not_reach_the_terminal() -> None:
    result = runner.invoke(app, ["cascades", "\x1b[31mred\x07"])
    assert result.exit_code == 2
    assert "\x1b" not in result.stderr
    assert "\x07" not in result.stderr


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.013386, "s", "13.39 ms"),
        (2.0, "s", "2 s"),
        (7402.6, "J", "7.403 kJ"),
        (999.96, "J", "1 kJ"),
        (3.2e-8, "s", "32 ns"),
        (512, "B", "512 B"),
        (6845104128, "B", "6.375 GiB"),
        (1023, "B", "1023 B"),
        (2**20 - 1, "B", "1 MiB"),
        (6845104128, "B/s", "6.845 GB/s"),
        (0, "J", "0 J"),
        (1e40, "B", "8.272e+15 YiB"),
        (1e-20, "s", "1e-05 fs"),
    ],
)
def test_quantities(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


def test_percentages() -> None:
    assert percent(0.99264) == "99.3 %"
