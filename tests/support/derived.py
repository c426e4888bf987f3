"""Derivations, each made once in a process: many tests look at those of the same cascades."""

from __future__ import annotations

from functools import cache

from einsum_cascades import rewrites

derive = cache(rewrites.derive)
