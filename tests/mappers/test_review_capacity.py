"""No mapping holds more in the global buffer than the machine has."""

from __future__ import annotations

import pytest

from fusemax import evaluate


@pytest.mark.parametrize(
    ("cascade", "arch", "model", "seq_len"),
    [
        ("attention-3-pass", "flat-cloud", "bert", 1048576),
        ("linear-layers", "flat-cloud", "xlm", 512),
        ("attention-3-pass", "flat-edge", "xlm", 2048),
        ("attention-3-pass", "fusemax-cloud", "t5", 262144),
    ],
)
def test_unfused_products_stay_within_the_buffer(cascade: str, arch: str, model: str, seq_len: int) -> None:
    found = evaluate(cascade, arch, "unfused", model=model, seq_len=seq_len)
    assert found.cost.buffer_bytes <= found.architecture.global_buffer.bytes
