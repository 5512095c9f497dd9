"""Our array namespace: the functions an op's meaning may use, for NumPy and for jax.numpy.

Raw NumPy and jax.numpy differ where it matters (erf, scatter, out-of-range gathers, random bits,
promotion), so ops are written on these modules and on nothing else.
"""
