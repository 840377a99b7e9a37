"""Loops as one writes them first: what the kernels are measured against."""

import numpy as np

from intsim_kernels.compiled import kernel


@kernel
def table_product(x, w, entries, out):
    """out[m, n] = sum over k of entries[x[m, k], w[k, n]], modulo 2^32; x and w uint8, entries and out int32."""
    for m in range(x.shape[0]):
        sums = out[m]
        sums[:] = 0
        for k in range(x.shape[1]):
            row, weights = entries[x[m, k]], w[k]
            for n in range(w.shape[1]):
                sums[n] = np.int32(sums[n] + row[weights[n]])
