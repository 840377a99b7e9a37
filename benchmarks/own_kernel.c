/* A kernel of your own, for `intsim bench --kernel`.

   Compile it and let intsim check it against its oracle, then time it beside its own kernel and onnxruntime's:

       cc -O3 -march=native -shared -fPIC -o own_kernel.so benchmarks/own_kernel.c
       intsim bench --kernel ./own_kernel.so:own_kernel
       intsim bench --kernel ./own_kernel.so:own_kernel --shape gemm:64x64x64 --shape conv:56x56x64:3x3:64
       intsim bench --kernel ./own_kernel.so:own_kernel --model cnn

   It is given x[m][k] and w[k][n], rows one after the other in memory, and fills out[m][n] with the sums of products.
   Sums wrap around at 32 bits. Nothing is aligned, m, n and k are any positive numbers, and nothing but out may be
   written. This one adds rows of w, scaled by x, so that compilers make vectors of it: a start, not the end. */

#include <stdint.h>

void own_kernel(const uint8_t *x, const int8_t *w, int32_t *out, int64_t m, int64_t n, int64_t k)
{
    for (int64_t i = 0; i < m; i++) {
        uint32_t *sums = (uint32_t *)out + i * n; /* unsigned: wrapping is defined */
        for (int64_t j = 0; j < n; j++)
            sums[j] = 0;
        for (int64_t l = 0; l < k; l++) {
            const int32_t a = x[i * k + l];
            const int8_t *row = w + l * n;
            for (int64_t j = 0; j < n; j++)
                sums[j] += (uint32_t)(a * row[j]);
        }
    }
}
