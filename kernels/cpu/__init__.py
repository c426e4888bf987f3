"""Attention on this machine's CPU: four hand-tuned kernels, one per published cascade, over Numba.

All tensors of a query tile lie as their cascade writes them, with the query last: ``QK[m, p]``, ``SNV[f, p]``. The
queries of a tile are the lanes of the vector unit, so maxima, sums and rescaling over keys go lane by lane, without
any reduction across a vector. Few queries, as in decoding, would leave most lanes idle: there the keys are the lanes.
"""
