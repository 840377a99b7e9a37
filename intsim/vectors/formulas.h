/* The target's formulas in plain C: the numbers in brackets are those of intsim's docs/arithmetic.md.
 *
 * Slow on purpose. Define WIDE before including this where int64_t is too narrow for an accumulator times a multiplier.
 * Compile with -ffp-contract=off: a multiply and an add that are fused round once, and give other integers.
 */
#ifndef INTSIM_FORMULAS_H
#define INTSIM_FORMULAS_H

#include <float.h>
#include <math.h>
#include <stdint.h>

#if FLT_EVAL_METHOD != 0
#error "floats are computed wider than they are stored: on x86 compile for 64 bits, or with -msse2 -mfpmath=sse"
#endif

#ifndef WIDE
#define WIDE int64_t
#endif
typedef WIDE wide;
#define WIDE_BITS ((int)(8 * sizeof(wide)))

enum { FLOOR, CEIL, TO_ZERO, AWAY, HALF_UP, HALF_DOWN, HALF_AWAY, HALF_TO_ZERO, HALF_EVEN, TO_ODD, CARRY_SHIFT };
enum { WRAP, SATURATE, SATURATE_SYM, SATURATE_ZERO, WRAP_SM, FORBID };
enum { FIXED_POINT, POWER_OF_TWO, FLOAT32_SCALE, FLOAT64_SCALE, FLOAT32_REQUANTIZE, THRESHOLDS };
enum { THREE_RESCALES, TWO_MULTIPLIERS, FLOAT32_ADD, SHIFTED_ADD, ALIGNED_ADD, CLIPPED_ADD };
enum { DIVIDE, FACTORS, FLOAT32_AVERAGE, RESCALED_SUM };

/* A register; bits 0: none. fraction_bits: how many of the bits shifted out the rounding sees, 0: all. */
struct cast {
    int bits, is_signed, shift, rounding, overflow, fraction_bits;
};

/* One level of an accumulator; size 0: all items, bits 0: exact. */
struct level {
    int size, bits, overflow, first_only;
};

/* A requantization; `channels` is 1 where all share their numbers. */
struct rescale {
    int lanes, tail, tail_rounding; /* where there are lanes, channels from `tail` on round by the latter */
    int rule, bits, first, rounding, width; /* first -1: rounds once; width: of the registers on the way */
    int product, doubled, sum;              /* widths in which they wrap; 0: exact; sum: of result and zero point */
    struct cast middle;
    int before; /* whether the zero point is added before the rounding */
    int zero_point, low, high, overflow, channels, levels; /* levels: thresholds of a channel */
    const int64_t *multiplier, *exponent, *thresholds;
    const float *f32;
    const double *f64;
};

/* A window over rows, columns and (where there are three axes) planes; axes that are not there have kernel 1. */
struct window {
    int input[4], output[4]; /* shapes, channels last */
    int kernel[3], stride[3], dilation[3], begin[3];
};

struct dot {
    struct window window;
    int group, folded, channel_first, bias_first, levels, end_bits, end_overflow;
    int input_zero_point, weight_zero_points;
    const struct level *level;
    struct cast product, write_back;
    const int64_t *bias, *weight_zero_point;
    const int32_t *table; /* the products, [256][256], where they are not exact */
    struct rescale rescale;
};

/* A sum is scaled by factor / 2^shift. */
struct factor {
    int64_t factor;
    int shift;
};

struct average {
    struct window window;
    int rule, rounding, stages, centred, include_pad, rescaled;
    const struct factor *factors; /* `stages` for every number of values along the axes, from 1 to the kernel */
    int input_zero_point, output_zero_point, low, high;
    float sx, sy;
    struct rescale rescale;
};

struct add {
    int rule, rounding, left_shift, early, fused, subtract; /* early: exponents shift before the multiplication */
    struct rescale inputs, terms; /* the roundings of THREE_RESCALES: of its operands, of their sum */
    int zero_point_a, zero_point_b, zero_point, low, high;
    int64_t multiplier[3], exponent[3];
    float f32[3];
};

/* ---- rounding and registers (1)-(3) ---- */

static inline wide rounded(wide n, wide d, int mode) {
    wide q = n / d, r = n % d;
    if (r < 0) {
        q -= 1;
        r += d;
    }
    switch (mode) {
    case FLOOR:
        return q;
    case CEIL:
        return q + (r > 0);
    case TO_ZERO:
        return q + (r > 0 && n < 0);
    case AWAY:
        return q + (r > 0 && n > 0);
    case TO_ODD:
        return q + (r > 0 && q % 2 == 0);
    case CARRY_SHIFT:
        if (n < 0)
            return q - (r > d - r || (r == d - r && q % 2 != 0));
        break;
    default:
        break;
    }
    if (r != d - r)
        return q + (r > d - r);
    switch (mode) {
    case HALF_UP:
        return q + 1;
    case HALF_DOWN:
        return q;
    case HALF_AWAY:
        return q + (n > 0);
    case HALF_TO_ZERO:
        return q + (n < 0);
    default:
        return q + (q % 2 != 0);
    }
}

/* x / 2^right; beyond what the type holds, everything is a small fraction. */
static inline wide shifted(wide x, int right, int mode) {
    if (right <= 0)
        return x * ((wide)1 << -right);
    return rounded(x, (wide)1 << (right < WIDE_BITS - 2 ? right : WIDE_BITS - 2), mode);
}

static inline int64_t rounded_real(double v, int mode) {
    double whole = trunc(fmax(fmin(v, 0x1p62), -0x1p62)), rest = fabs(v - whole);
    int64_t q = (int64_t)whole, below = q - (v < whole);
    int sign = v > whole ? 1 : v < whole ? -1 : 0;
    if (fabs(v) >= 0x1p62)
        return q;
    switch (mode) {
    case FLOOR:
        return below;
    case CEIL:
        return q + (sign > 0);
    case TO_ZERO:
        return q;
    case AWAY:
        return q + sign;
    case TO_ODD:
        return sign != 0 && below % 2 == 0 ? below + 1 : below;
    case CARRY_SHIFT:
        if (v < 0)
            return below - (sign != 0 && (rest < 0.5 || (rest == 0.5 && below % 2 != 0)));
        break;
    default:
        break;
    }
    if (rest != 0.5)
        return q + (rest > 0.5 ? sign : 0);
    switch (mode) {
    case HALF_UP:
        return below + 1;
    case HALF_DOWN:
        return below;
    case HALF_AWAY:
        return q + sign;
    case HALF_TO_ZERO:
        return q;
    default:
        return below + (below % 2 != 0);
    }
}

static inline wide modulo(wide x, wide low, wide count) {
    wide r = (x - low) % count;
    return low + (r < 0 ? r + count : r);
}

static inline wide held(wide x, int bits, int overflow, int is_signed) {
    wide low, high;
    if (bits == 0 || bits >= WIDE_BITS)
        return x;
    low = is_signed ? -((wide)1 << (bits - 1)) : 0;
    high = is_signed ? -(low + 1) : ((wide)1 << bits) - 1;
    switch (overflow) {
    case SATURATE:
        return x < low ? low : x > high ? high : x;
    case SATURATE_SYM:
        low = is_signed ? -high : 0;
        return x < low ? low : x > high ? high : x;
    case SATURATE_ZERO:
        return x < low || x > high ? 0 : x;
    case WRAP_SM:
        return modulo(((x >> (bits - 1)) & 1) == ((x >> bits) & 1) ? x : ~x, low, (wide)1 << bits);
    default:
        return modulo(x, low, (wide)1 << bits);
    }
}

static inline wide cast(wide x, const struct cast *to) {
    int unseen = to->fraction_bits && to->shift > to->fraction_bits ? to->shift - to->fraction_bits : 0;
    if (to->bits == 0)
        return x;
    x = shifted(shifted(x, unseen, FLOOR), to->shift - unseen, to->rounding);
    return held(x, to->bits, to->overflow, to->is_signed);
}

static inline wide bounded(wide y, int low, int high, int overflow) {
    if (overflow == WRAP || overflow == FORBID || overflow == WRAP_SM)
        return modulo(y, low, (wide)high - low + 1);
    if (overflow == SATURATE_ZERO)
        return y < low || y > high ? 0 : y;
    return y < low ? low : y > high ? high : y;
}

/* ---- requantization (5)-(10) ---- */

static inline wide last_rounding(wide n, int right, const struct rescale *r, int zero) {
    int inside = r->before && right > 0;
    wide y;
    if (inside)
        n += zero * ((wide)1 << right);
    if (r->rule == FIXED_POINT && r->doubled)
        y = rounded(held(shifted(n, right - 1, FLOOR), r->doubled, WRAP, 1), 2, r->rounding);
    else
        y = shifted(n, right, r->rounding);
    y = cast(y, &r->middle);
    return inside ? y : r->sum ? held(y + zero, r->sum, WRAP, 1) : y + zero;
}

static inline wide fixed_pointed(wide acc, const struct rescale *r, int64_t m, int64_t e, int zero) {
    wide h;
    if (r->first < 0)
        return last_rounding(held(acc * m, r->product, WRAP, 1), r->bits - (int)e, r, zero);
    h = held(acc * ((wide)1 << (e > 0 ? e : 0)), r->width, WRAP, 1);
    h = held(shifted(h * m, r->bits, r->first), r->width, SATURATE, 1);
    return last_rounding(h, e < 0 ? (int)-e : 0, r, zero);
}

static inline wide requantized(wide acc, const struct rescale *r, int channel) {
    int c = r->channels > 1 ? channel : 0, zero = r->zero_point;
    wide y = 0;
    switch (r->rule) {
    case FIXED_POINT: {
        struct rescale end = *r;
        if (r->lanes && channel >= r->tail)
            end.rounding = r->tail_rounding;
        y = fixed_pointed(acc, &end, r->multiplier[c], r->exponent[c], zero);
        break;
    }
    case POWER_OF_TWO:
        y = last_rounding(acc, (int)-r->exponent[c], r, zero);
        break;
    case FLOAT32_SCALE: {
        float v = (float)acc * r->f32[c];
        if (r->before)
            v = v + (float)zero;
        y = rounded_real(v, r->rounding) + (r->before ? 0 : zero);
        break;
    }
    case FLOAT64_SCALE: {
        double v = (double)acc * r->f64[c];
        if (r->before)
            v = v + (double)zero;
        y = rounded_real(v, r->rounding) + (r->before ? 0 : zero);
        y = r->sum ? held(y, r->sum, WRAP, 1) : y;
        break;
    }
    case FLOAT32_REQUANTIZE: {
        float v = (float)acc * r->f32[0];
        v = v / r->f32[1];
        y = rounded_real(v, HALF_EVEN) + zero;
        break;
    }
    default: {
        const int64_t *t = r->thresholds + (int64_t)c * r->levels;
        for (int i = 0; i < r->levels; i++)
            y += acc >= t[i];
        return r->low + y;
    }
    }
    return bounded(y, r->low, r->high, r->overflow);
}

/* ---- accumulation (4) ---- */

static inline wide accumulated(wide *items, int count, const struct dot *d, const wide *start) {
    for (int i = 0; i < count; i++)
        items[i] = cast(items[i], &d->product);
    for (int l = 0; l < d->levels; l++) {
        const struct level *level = &d->level[l];
        int sums = 0, i = 0;
        do {
            int end = level->size == 0 || level->size > count - i ? count : i + level->size;
            wide total = 0;
            if (level->size == 0 && start)
                total = held(*start, level->bits, level->overflow, 1);
            for (; i < end; i++)
                total = held(total + items[i], level->bits, level->overflow, 1);
            items[sums++] = total;
        } while (i < count && !level->first_only);
        while (i < count)
            items[sums++] = items[i++];
        count = sums;
    }
    return cast(items[0], &d->write_back);
}

/* Where a tap of a place lies in the input, without the channel; -1: in the padding. */
static inline int64_t tap_at(const struct window *w, const int place[3], const int tap[3]) {
    int64_t at = 0;
    for (int a = 0; a < 3; a++) {
        int i = place[a] * w->stride[a] - w->begin[a] + tap[a] * w->dilation[a];
        if (i < 0 || i >= w->input[a])
            return -1;
        at = at * w->input[a] + i;
    }
    return at * w->input[3];
}

#define PLACES(w, p)                                                                                                   \
    for (p[0] = 0; p[0] < (w)->output[0]; p[0]++)                                                                      \
        for (p[1] = 0; p[1] < (w)->output[1]; p[1]++)                                                                  \
            for (p[2] = 0; p[2] < (w)->output[2]; p[2]++)

#define TAPS(w, t)                                                                                                     \
    for (t[0] = 0; t[0] < (w)->kernel[0]; t[0]++)                                                                      \
        for (t[1] = 0; t[1] < (w)->kernel[1]; t[1]++)                                                                  \
            for (t[2] = 0; t[2] < (w)->kernel[2]; t[2]++)

/* One accumulator, from `count` pairs of an input and a weight in the machine's order; `items` is room for them. */
static inline wide accumulator(const struct dot *d, const int *x, const int *w, int count, int o, wide *items) {
    int zx = d->input_zero_point;
    int64_t zw = d->weight_zero_point[d->weight_zero_points > 1 ? o : 0];
    wide owed = d->bias[o], total;
    for (int i = 0; i < count; i++) {
        wide a = x[i], b = w[i], centred = (a - zx) * (b - zw);
        if (d->folded)
            owed += centred - a * b;
        if (!d->folded) {
            a -= zx;
            b -= zw;
        }
        items[i] = d->table ? d->table[((int)a & 255) * 256 + ((int)b & 255)] : a * b;
    }
    if (d->bias_first)
        return accumulated(items, count, d, &owed);
    total = accumulated(items, count, d, 0);
    return held(total + owed, d->end_bits, d->end_overflow, 1);
}

/* All accumulators of a layer, places outside, output channels inside. X and W: the types of inputs and weights. */
#define DEFINE_DOT(NAME, X, W, DEPTH)                                                                                  \
    static void NAME(const struct dot *d, const X *in, const W *weight, wide *out) {                                   \
        static int x[DEPTH], w[DEPTH];                                                                                 \
        static wide items[DEPTH];                                                                                      \
        const struct window *v = &d->window;                                                                           \
        int outputs = v->output[3], each = outputs / d->group, depth = v->input[3] / d->group;                         \
        int taps = v->kernel[0] * v->kernel[1] * v->kernel[2], p[3], t[3];                                             \
        PLACES(v, p)                                                                                                   \
        for (int o = 0; o < outputs; o++) {                                                                            \
            int k = 0;                                                                                                 \
            TAPS(v, t) {                                                                                               \
                int64_t at = tap_at(v, p, t);                                                                          \
                for (int c = 0; c < depth; c++) {                                                                      \
                    int i = d->channel_first ? c * taps + k : k * depth + c;                                           \
                    x[i] = at < 0 ? d->input_zero_point : (int)in[at + o / each * depth + c];                          \
                    w[i] = (int)weight[((int64_t)o * taps + k) * depth + c];                                           \
                }                                                                                                      \
                k++;                                                                                                   \
            }                                                                                                          \
            *out++ = accumulator(d, x, w, taps * depth, o, items);                                                     \
        }                                                                                                              \
    }

/* ---- pools (18)-(21) ---- */

static inline int averaged(const struct average *a, const int *values, int n, const int counts[3]) {
    wide sum = 0, mean = 0;
    for (int i = 0; i < n; i++)
        sum += values[i];
    switch (a->rule) {
    case RESCALED_SUM:
        return (int)requantized(sum - (wide)n * a->input_zero_point, &a->rescale, 0);
    case FLOAT32_AVERAGE: {
        float total = 0;
        for (int i = 0; i < n; i++) {
            float term = a->sx * (float)(values[i] - a->input_zero_point);
            total = total + term;
        }
        total = total / (float)n;
        total = total / a->sy;
        total = total + (float)a->output_zero_point;
        return (int)bounded(rounded_real(total, HALF_EVEN), a->low, a->high, SATURATE);
    }
    case DIVIDE:
        mean = a->centred ? rounded(sum - (wide)n * a->input_zero_point, n, a->rounding)
                          : rounded(sum, n, a->rounding) - a->input_zero_point;
        break;
    default: {
        const int *k = a->window.kernel;
        int64_t at = ((int64_t)(counts[0] - 1) * k[1] + counts[1] - 1) * k[2] + counts[2] - 1;
        mean = a->centred ? sum - (wide)n * a->input_zero_point : sum;
        for (const struct factor *f = a->factors + at * a->stages; f < a->factors + (at + 1) * a->stages; f++)
            mean = shifted(mean * f->factor, f->shift, a->rounding);
        mean -= a->centred ? 0 : a->input_zero_point;
        break;
    }
    }
    if (a->rescaled)
        return (int)requantized(mean, &a->rescale, 0);
    return (int)bounded(mean + a->input_zero_point, a->low, a->high, SATURATE);
}

#define DEFINE_AVERAGE(NAME, X, Y, DEPTH)                                                                              \
    static void NAME(const struct average *a, const X *in, Y *out) {                                                   \
        static int values[DEPTH];                                                                                      \
        const struct window *v = &a->window;                                                                           \
        int p[3], t[3];                                                                                                \
        PLACES(v, p)                                                                                                   \
        for (int c = 0; c < v->output[3]; c++) {                                                                       \
            int n = 0, counts[3];                                                                                      \
            TAPS(v, t) {                                                                                               \
                int64_t at = tap_at(v, p, t);                                                                          \
                if (at >= 0 || a->include_pad)                                                                         \
                    values[n++] = at < 0 ? a->input_zero_point : (int)in[at + c];                                      \
            }                                                                                                          \
            for (int axis = 0; axis < 3; axis++) {                                                                     \
                counts[axis] = 0;                                                                                      \
                for (int k = 0; k < v->kernel[axis]; k++) {                                                            \
                    int i = p[axis] * v->stride[axis] - v->begin[axis] + k * v->dilation[axis];                        \
                    counts[axis] += a->include_pad || (i >= 0 && i < v->input[axis]);                                  \
                }                                                                                                      \
            }                                                                                                          \
            *out++ = (Y)averaged(a, values, n, counts);                                                                \
        }                                                                                                              \
    }

#define DEFINE_MAX(NAME, X, Y)                                                                                         \
    static void NAME(const struct window *v, const X *in, Y *out) {                                                    \
        int p[3], t[3];                                                                                                \
        PLACES(v, p)                                                                                                   \
        for (int c = 0; c < v->output[3]; c++) {                                                                       \
            int seen = 0;                                                                                              \
            Y most = 0;                                                                                                \
            TAPS(v, t) {                                                                                               \
                int64_t at = tap_at(v, p, t);                                                                          \
                if (at >= 0 && (!seen || (Y)in[at + c] > most)) {                                                      \
                    seen = 1;                                                                                          \
                    most = (Y)in[at + c];                                                                              \
                }                                                                                                      \
            }                                                                                                          \
            *out++ = most;                                                                                             \
        }                                                                                                              \
    }

/* ---- sums of two activations (13)-(17) ---- */

static inline float multiply_add(int x, float m, float addend, int fused) {
    float product;
    if (fused)
        return fmaf((float)x, m, addend);
    product = (float)x * m;
    return product + addend;
}

static inline int added(int a, int b, const struct add *d) {
    wide y, x[2], sign = d->subtract ? -1 : 1;
    x[0] = (wide)a - d->zero_point_a;
    x[1] = (wide)b - d->zero_point_b;
    if (d->subtract)
        b = -b;
    switch (d->rule) {
    case THREE_RESCALES:
        for (int i = 0; i < 2; i++) {
            int left = d->left_shift + (d->early ? (int)d->exponent[i] : 0);
            x[i] = shifted(x[i], -left, FLOOR);
            x[i] = fixed_pointed(x[i], &d->inputs, d->multiplier[i], d->early ? 0 : d->exponent[i], 0);
        }
        y = fixed_pointed(x[0] + sign * x[1], &d->terms, d->multiplier[2], d->exponent[2], 0) + d->zero_point;
        break;
    case TWO_MULTIPLIERS:
        y = shifted(d->multiplier[0] * x[0] + sign * d->multiplier[1] * x[1], (int)d->exponent[0], d->rounding);
        y = cast(y, &d->terms.middle) + d->zero_point;
        break;
    case FLOAT32_ADD:
        y = rounded_real(
            d->fused ? multiply_add(a, d->f32[0], multiply_add(b, d->f32[1], d->f32[2], 1), 1)
                     : multiply_add(b, d->f32[1], multiply_add(a, d->f32[0], d->f32[2], 0), 0),
            HALF_EVEN);
        break;
    case SHIFTED_ADD:
        y = shifted(x[0], (int)d->exponent[0], d->rounding) + sign * shifted(x[1], (int)d->exponent[1], d->rounding);
        y += d->zero_point;
        break;
    case ALIGNED_ADD:
        y = shifted(x[0], (int)-d->exponent[0], FLOOR) + sign * shifted(x[1], (int)-d->exponent[1], FLOOR);
        y = shifted(y, (int)-d->exponent[2], d->rounding) + d->zero_point;
        break;
    default:
        y = d->zero_point;
        for (int i = 0; i < 2; i++)
            y += (i ? sign : 1) * bounded(rounded_real((float)x[i] * d->f32[i], HALF_EVEN), d->low, d->high, SATURATE);
        break;
    }
    return (int)bounded(y, d->low, d->high, SATURATE);
}

#endif
