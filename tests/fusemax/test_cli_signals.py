"""Commands that are ended from outside, and outputs that nobody takes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_sweep import environment

from fusemax.cli.group import run_commands
from fusemax.cli.signals import INTERRUPTED, TERMINATED, TerminatedError, farewell, kept

WAITING = """
import sys, time
import fusemax.evaluation
from fusemax.cli import main

def evaluate(*_, **__):
    try:
        print("begun", file=sys.stderr, flush=True)
        time.sleep(60)
    finally:
        if {stubborn}:
            print("tidying up", file=sys.stderr, flush=True)
            time.sleep(60)

fusemax.evaluation.evaluate_request = evaluate
sys.argv[1:] = ["evaluate", "--cascade", "attention-1-pass", "--arch", "fusemax-cloud", "--mapper", "fusemax-serial"]
sys.argv += ["--model", "BERT", "--seq-len", "1024"]
main()
"""


def waiting(stubborn: bool) -> subprocess.Popen[str]:
    """Start a command that waits for its end, and return it once its work has begun."""
    code = WAITING.format(stubborn=stubborn)
    running = subprocess.Popen(
        [sys.executable, "-c", code], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stderr is not None
    assert running.stderr.readline() == "begun\n"
    return running


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_with_a_message(number: signal.Signals, status: int) -> None:
    running = waiting(stubborn=False)
    running.send_signal(number)
    output, errors = running.communicate(timeout=120)
    assert (running.returncode, output) == (status, "")
    assert errors == "stopped: nothing is kept; the same command starts anew\n"


def test_a_second_signal_ends_it_at_once() -> None:
    running = waiting(stubborn=True)
    running.send_signal(signal.SIGTERM)
    assert running.stderr is not None
    assert running.stderr.readline() == "tidying up\n"
    running.send_signal(signal.SIGINT)
    assert running.communicate(timeout=120) == ("", "")
    assert running.returncode == -signal.SIGINT


def test_a_signal_before_a_command_is_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def commands(prog_name: str) -> None:
        raise TerminatedError

    monkeypatch.setattr("fusemax.cli.group.catch_signals", lambda: None)
    with pytest.raises(SystemExit) as ended:
        run_commands(commands)
    assert ended.value.code == TERMINATED
    assert capsys.readouterr() == ("", "stopped: nothing is kept; the same command starts anew\n")


def test_what_is_kept_is_said() -> None:
    with pytest.raises(KeyboardInterrupt) as caught, kept(lambda: "half is there"):
        raise TerminatedError
    assert farewell(caught.value) == ("stopped: half is there", TERMINATED)
    assert farewell(KeyboardInterrupt()) == ("stopped: nothing is kept; the same command starts anew", INTERRUPTED)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_help_that_cannot_be_written() -> None:
    command = [sys.executable, "-m", "fusemax", "--help"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (2, "error: No space left on device\n")
    left = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert left.stdout is not None
    left.stdout.close()
    assert left.stderr is not None
    assert left.stderr.read() == ""
    assert left.wait(timeout=120) == 141
    left.stderr.close()


def test_a_closed_output_is_an_error() -> None:
    shell = f"exec '{sys.executable}' -m fusemax cascades >&-"
    done = subprocess.run(["sh", "-c", shell], env=environment(), stderr=subprocess.PIPE, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (2, "error: standard output is closed\n")


SWALLOWING = """
import os, signal, sys, time
import fusemax.cli.signals as signals
import fusemax.evaluation
from fusemax.cli import main

signals.PATIENCE_S = 1.0

class Careless:
    def __del__(self):
        print("begun", file=sys.stderr, flush=True)
        time.sleep(60)

def evaluate(*_, **__):
    thing = Careless()
    del thing
    try:
        time.sleep(60)
    finally:
        if {stubborn}:
            time.sleep(60)

sys.unraisablehook = lambda _: None
fusemax.evaluation.evaluate_request = evaluate
sys.argv[1:] = ["evaluate", "--cascade", "attention-1-pass", "--arch", "fusemax-cloud", "--mapper", "fusemax-serial"]
sys.argv += ["--model", "BERT", "--seq-len", "1024"]
main()
"""


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_signal_that_a_destructor_drops_is_told_again(stubborn: bool) -> None:
    code = SWALLOWING.format(stubborn=stubborn)
    command = [sys.executable, "-c", code]
    running = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    assert running.stderr.readline() == "begun\n"
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=50)
    assert running.returncode == INTERRUPTED
    assert errors == "stopped: nothing is kept; the same command starts anew\n"
