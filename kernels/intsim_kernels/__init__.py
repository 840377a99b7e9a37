"""Numbers in, numbers out: the integer kernels. They know numpy, numba and math, and nothing of intsim."""
