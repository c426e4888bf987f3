"""Kernels beside other threads, in forked children, where no thread can be started, and while Python ends."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from kernels.cpu.threads import _pool, run_in_threads

HEAD = """
import os, sys, threading, warnings
import numpy as np
from einsum_cascades.load import parse_cascade
from kernels import compile_cascade
from kernels.compiler.compiled import Tiling
warnings.simplefilter("ignore")  # Python warns of forks beside threads

X = {"X": np.arange(4096.0).reshape(64, 64)}
def kernel(text):
    cascade = parse_cascade("declaration: {X: [M, P], Z: [P]}\\nexpressions: ['Z[p] = %s']\\n" % text)
    return compile_cascade(cascade, tiling=Tiling(workers=4, rows=4))

K = kernel("X[m, p] * 2")
EXPECTED = X["X"].sum(0) * 2
def right(*_):
    return np.array_equal(K.run(X)["Z"], EXPECTED)

def in_child(work):
    child = os.fork()
    if not child:
        try:
            os._exit(0 if work() else 3)
        finally:
            os._exit(4)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


def output(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", HEAD + code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_kernels_run_in_children_and_at_the_end() -> None:
    code = """
import atexit
atexit.register(lambda: print(right()))
print(right(), in_child(right), in_child(lambda: in_child(right) == 0), right())
"""
    assert output(code) == "True 0 0 True\nTrue\n"


@pytest.mark.slow
def test_children_of_processes_that_are_at_work() -> None:
    code = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from kernels import attention
q = np.random.default_rng(0).normal(size=(2, 256, 64)).astype(np.float32)
same = attention(q, q, q)
def both(*_):
    return right() and np.array_equal(attention(q, q, q), same)
print(both())
enough = threading.Event()
def working():
    while not enough.is_set():
        both()
busy = [threading.Thread(target=working) for _ in range(3)]
[thread.start() for thread in busy]
print({in_child(both) for _ in range(10)})
enough.set()
[thread.join() for thread in busy]
started = threading.Event()
def compiling():
    started.set()
    return np.array_equal(kernel("exp(X[m, p] * 0) + X[m, p]").run(X)["Z"], X["X"].sum(0) + 64)
thread = threading.Thread(target=compiling)
thread.start()
started.wait()
print(in_child(compiling))
thread.join()
with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
    print(all(pool.map(both, range(8))))
"""
    assert output(code) == "True\n{0}\n0\nTrue\n"


def test_kernels_called_by_several_threads_at_once() -> None:
    space: dict[str, object] = {}
    exec(HEAD, space)
    right = space["right"]
    assert callable(right)
    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(right, range(60)))


def test_every_part_is_worked_on_once_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    _pool.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        done: list[int] = []
        run_in_threads(done.append, range(5))
        assert done == [0, 1, 2, 3, 4]
    run_in_threads(done.append, range(5, 9))
    assert sorted(done) == list(range(9))
    _pool.cache_clear()


def test_parts_run_side_by_side_and_their_errors_are_raised() -> None:
    meeting = threading.Barrier(3, timeout=60)
    run_in_threads(lambda _: meeting.wait() and None, range(3))

    def third(part: int) -> None:
        time.sleep(0.01)
        if part == 2:
            raise ValueError("of the third")

    with pytest.raises(ValueError, match="of the third"):
        run_in_threads(third, range(3))
