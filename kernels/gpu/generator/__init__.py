"""Fused GPU kernels from cascades: `compiled` turns any cascade that is like attention into one.

The stages, one per file: `unfold` (the result over its inputs, in `terms`), `recognise` (the normal form, `form`, with
`masks`), `bounds` (which keys are seen), `emit` and `expressions` (text, after `prelude`), `build` (functions), `fused`
(arguments and launch), `compiled` (the call).
"""
