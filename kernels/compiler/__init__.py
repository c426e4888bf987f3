"""A compiler from cascades of Einsums to loops: `compile_cascade` turns any cascade into a kernel for this CPU.

The stages, one per file: `normalise` (one operator per reduction), `dependences` (which Einsums may share a
loop), `plan` (loops, parallel rows), `storage` (what stays live), `source` (the text), `compiled` (the run).
"""
