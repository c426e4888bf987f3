"""Kernels under Triton's interpreter, which runs them on the CPU: each program in a process of its own.

The interpreter reads ``TRITON_INTERPRET`` when Triton is imported, so a process that has imported it for anything else
cannot turn to it. Kernels in Gluon (``one_pass_hopper``) are not Triton and cannot be interpreted.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

needs_triton = pytest.mark.skipif(
    not (find_spec("triton") and find_spec("torch")), reason="Triton or PyTorch is not installed (the extra gpu)"
)

_MENDED = """
import torch
import triton.runtime.interpreter as interpreter

torch.set_num_threads(1)
patch = interpreter._patch_lang_tensor

def patched(tensor, *scope):
    # Triton 3.6 makes loop bounds ints by int(an array of one value), which NumPy 2.4 refuses.
    patch(tensor, *scope)
    tensor.__index__ = lambda self: int(self.handle.data.item())

interpreter._patch_lang_tensor = patched
"""


def check_interpreted(program: str) -> None:
    """Run a program whose kernels are interpreted, and see that it comes to its end without an error."""
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", f"{_MENDED}\n{program}\nprint('right')"],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1:] == ["right"], done.stderr[-3000:]
