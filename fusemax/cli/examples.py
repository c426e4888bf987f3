"""One example for each command, which its help shows at the end."""

from __future__ import annotations

from typing import Final

EXAMPLES: Final = {
    "": "fusemax cascades",
    "reproduce": "fusemax reproduce --out results",
    "evaluate": "fusemax evaluate --cascade attention-1-pass --arch fusemax-cloud --mapper fusemax-interleaved "
    "--model BERT --seq-len 65536",
    "map": "fusemax map --cascade attention-3-pass --arch flat-edge --heads 2 --head-dim 16 --seq-len 256 "
    "--time-limit 2 --explain",
    "simulate": "fusemax simulate --cascade attention-1-pass --arch fusemax-cloud --mapper fusemax-interleaved "
    "--model BERT --seq-len 4096 --compare",
    "cascades": "fusemax cascades attention-1-pass --format latex",
    "machines": "fusemax machines fusemax-cloud",
    "models": "fusemax models BERT --format yaml",
    "mappers": "fusemax mappers fusemax-interleaved",
    "schema": "fusemax schema machine",
    "cite": "fusemax cite attention-1-pass h100 cacti",
    "mapping": "fusemax mapping mine.yaml --check",
    "analyze": "fusemax analyze attention-3-pass --set M=4096 --set P=4096 --set E=64 --set F=64 --buffer 1MiB --curve",
    "rewrite": "fusemax rewrite attention-3-pass --out one-pass.yaml",
    "sweep": "fusemax sweep space.yaml --out space --workers 4",
    "report": "fusemax report space --x area_mm2 --y latency_s",
    "validate": "fusemax validate softmax-matmul",
    "measure": "fusemax measure cpu --compare",
    "measure cpu": "fusemax measure cpu --compare",
    "measure gpu": "fusemax measure gpu --compare --plot rates.png",
}
"""By the words after ``fusemax``."""


def epilog(command: str) -> str:
    """Return the last line of a command's help; none for a command without an example."""
    return f"Example: {EXAMPLES[command]}" if command in EXAMPLES else ""
