"""Fused GPU kernels from cascades: `compiled` turns any cascade that is like attention into one.

The stages, one per file: `unfold` (the result over its inputs, with `terms`), `recognise` (the normal form of `form`, with
`masks`), `bounds` (which keys are seen), `emit` (text), `build` (functions), `fused` (the launch), `compiled` (the call).
"""
