// A depthwise-separable block, forward and backward, in as few passes over its maps as batch norm allows.
//
// Compiled on first use, by compiled.py. Maps are (clips, bands, frames, channels), the channels
// of a place side by side, their number a multiple of LANES; float32, or bfloat16 if HALF is defined, in which case the
// factors of products are rounded to it, too, where the processor can multiply it. All else is float32 in any case.
// Every function works on the clips from `first` up to `last`, so that threads can share a batch; sums are in double,
// and are added to. fused.py puts the functions together.

#include <stdlib.h>
#include <string.h>

#if defined(__AVX512F__)
enum { LANES = 16, WIDE = 4 };
#elif defined(__AVX__)
enum { LANES = 8, WIDE = 2 };
#else
enum { LANES = 4, WIDE = 4 };
#endif
static const long TILE = 96;  // places worked on together: what belongs to them stays in the cache

#define API extern "C"
#define LOOP(c, count) for (long c = 0; c < (count); c += LANES)

typedef float vec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef unsigned uvec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef unsigned short hvec __attribute__((vector_size(LANES * 2), aligned(2), may_alias));

static inline vec all(float x) {
    vec zero = {};
    return zero + x;
}
static inline vec load(const float *p) { return *(const vec *)p; }
static inline void store(float *p, vec v) { *(vec *)p = v; }

#ifdef HALF
typedef unsigned short number;  // bfloat16: the first half of a float32, rounded to nearest
static inline vec load(const number *p) { return (vec)(__builtin_convertvector(*(const hvec *)p, uvec) << 16); }
#if defined(__AVX512BF16__)
#include <immintrin.h>
#define PAIRS 1
static inline hvec rounded(vec v) { return (hvec)_mm512_cvtneps_pbh((__m512)v); }
#else
static inline hvec rounded(vec v) {
    uvec bits = (uvec)v, even = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return __builtin_convertvector(v == v ? even : bits >> 16 | 64, hvec);  // not a number stays one
}
#endif
static inline void store(number *p, vec v) { *(hvec *)p = rounded(v); }
#else
typedef float number;
#endif

// Not a number stays one, so that a loss that is not finite is noticed.
static inline vec relu(vec x) { return x < all(0) ? all(0) : x; }
static inline vec where_open(vec before, vec gradient) { return before <= all(0) ? all(0) : gradient; }

static inline void add_to(double *sums, vec v) {
    for (int lane = 0; lane < LANES; lane++) sums[lane] += v[lane];
}

API long lanes() { return LANES; }

// Room for a product's factors and sums, too much for the stack of a thread
template <typename T>
struct Scratch {
    T *at;
    explicit Scratch(long count) : at((T *)aligned_alloc(64, (sizeof(T) * count + 63) / 64 * 64)) {}
    ~Scratch() { free(at); }
    operator T *() { return at; }
};

// ---- Products of matrices: c (rows, columns) = or += a (rows, k) b (k, columns), a block of c in registers ----

#ifdef PAIRS
// Two bfloat16 that are neighbours along k, the first in the lower half: one instruction does both of their products.
typedef unsigned factor;
typedef uvec factors;
static inline factors every(factor x) {
    factors zero = {};
    return zero + x;
}
static inline vec add_product(vec sum, factors a, factors b) {
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}
static inline factors pair(vec first, vec second) {
    return __builtin_convertvector(rounded(first), uvec) | __builtin_convertvector(rounded(second), uvec) << 16;
}
enum { AT_ONCE = 2 };
#else
typedef float factor;
typedef vec factors;
static inline factors every(factor x) { return all(x); }
static inline vec add_product(vec sum, factors a, factors b) { return sum + a * b; }
enum { AT_ONCE = 1 };
#endif

template <int ROWS, int COLUMNS, bool ADD>
static void block(long k, const factor *a, long row, long step, const factor *b, float *c, long width) {
    vec sum[ROWS][COLUMNS];
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLUMNS; j++) sum[i][j] = ADD ? load(c + i * width + j * LANES) : all(0);
    for (long p = 0; p < k; p++) {
        factors right[COLUMNS];
        for (int j = 0; j < COLUMNS; j++) right[j] = *(const factors *)(b + p * width + j * LANES);
        for (int i = 0; i < ROWS; i++) {
            factors left = every(a[i * row + p * step]);
            for (int j = 0; j < COLUMNS; j++) sum[i][j] = add_product(sum[i][j], left, right[j]);
        }
    }
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLUMNS; j++) store(c + i * width + j * LANES, sum[i][j]);
}

template <int COLUMNS, bool ADD>
static void strip(long rows, long k, const factor *a, long row, long step, const factor *b, float *c, long width) {
    enum { MOST = COLUMNS <= 2 ? 12 : 6 };  // narrow blocks are taller, or their sums would wait for each other
    for (; rows >= MOST && rows != MOST + 2; rows -= MOST, a += MOST * row, c += MOST * width)
        block<MOST, COLUMNS, ADD>(k, a, row, step, b, c, width);
    for (; rows >= 4; rows -= 4, a += 4 * row, c += 4 * width) block<4, COLUMNS, ADD>(k, a, row, step, b, c, width);
    for (; rows; rows--, a += row, c += width) block<1, COLUMNS, ADD>(k, a, row, step, b, c, width);
}

template <bool ADD>
static void product(long rows, long k, long width, const factor *a, long row, long step, const factor *b, float *c) {
    for (long j = 0; j < width; j += WIDE * LANES) {
        long left = (width - j) / LANES;
        if (left >= 4 && WIDE >= 4) strip<4, ADD>(rows, k, a, row, step, b + j, c + j, width);
        else if (left == 3 && WIDE >= 3) strip<3, ADD>(rows, k, a, row, step, b + j, c + j, width);
        else if (left >= 2) strip<2, ADD>(rows, k, a, row, step, b + j, c + j, width);
        else strip<1, ADD>(rows, k, a, row, step, b + j, c + j, width);
    }
}

// b (rows, width) as the right factor of a product over its rows, and a (rows, width) as the left one over its columns
static const factor *over_rows(long rows, long width, const float *b, factor *room) {
#ifdef PAIRS
    for (long i = 0; i < rows; i += 2)
        LOOP(c, width) {
            vec second = i + 1 < rows ? load(b + (i + 1) * width + c) : all(0);
            *(factors *)(room + i / 2 * width + c) = pair(load(b + i * width + c), second);
        }
    return room;
#else
    (void)rows, (void)width, (void)room;
    return b;
#endif
}
static const factor *over_columns(long rows, long width, const float *a, factor *room) {
#ifdef PAIRS
    LOOP(at, rows * width) store((number *)room + at, load(a + at));
    return room;
#else
    (void)rows, (void)width, (void)room;
    return a;
#endif
}

// ---- Batch norm's statistics, for scale * z + shift forward and scale * g + slope * (z - mean) + offset backward ----

// sums (threads, 2, channels): of z - pivot and of its square. norm (4, channels): mean, 1 / deviation, scale, shift.
API void norm_finish(long threads, long channels, double count, const double *sums, const float *pivot,
                     const float *weight, const float *bias, double eps, double momentum, float *running_mean,
                     float *running_var, float *norm) {
    for (long c = 0; c < channels; c++) {
        double sum = 0, square = 0;
        for (long t = 0; t < threads; t++) sum += sums[2 * t * channels + c], square += sums[(2 * t + 1) * channels + c];
        double off = sum / count, variance = square / count - off * off, mean = pivot[c] + off;
        if (variance < 0) variance = 0;
        double inverse = 1 / __builtin_sqrt(variance + eps);
        norm[c] = mean, norm[channels + c] = inverse;
        norm[2 * channels + c] = weight[c] * inverse;
        norm[3 * channels + c] = bias[c] - mean * weight[c] * inverse;
        running_mean[c] += momentum * (mean - running_mean[c]);
        running_var[c] += momentum * (variance * count / (count - 1) - running_var[c]);
    }
}

// sums (threads, 2, channels): of g and of g * (z - mean). back (2, channels): slope, offset.
API void norm_finish_backward(long threads, long channels, double count, const double *sums, const float *norm,
                              float *weight_gradient, float *bias_gradient, float *back) {
    for (long c = 0; c < channels; c++) {
        double sum = 0, cross = 0;
        for (long t = 0; t < threads; t++) sum += sums[2 * t * channels + c], cross += sums[(2 * t + 1) * channels + c];
        double inverse = norm[channels + c], scale = norm[2 * channels + c];
        weight_gradient[c] = cross * inverse, bias_gradient[c] = sum;
        back[c] = -scale * inverse * inverse * cross / count;
        back[channels + c] = -scale * sum / count;
    }
}

// ---- Batch norm, ReLU and mask ----

// out = relu(norm(z)) * mask + skip, mask (clips, frames) or null, skip or null
API void activate(long first, long last, long bands, long frames, long channels, const number *z, const float *norm,
                  const float *mask, const number *skip, number *out) {
    const float *scale = norm + 2 * channels, *shift = norm + 3 * channels;
    for (long row = first * bands; row < last * bands; row++)
        for (long frame = 0; frame < frames; frame++) {
            long at = (row * frames + frame) * channels;
            vec open = all(mask ? mask[row / bands * frames + frame] : 1);
            LOOP(c, channels) {
                vec y = relu(load(z + at + c) * load(scale + c) + load(shift + c)) * open;
                store(out + at + c, skip ? vec(y + load(skip + at + c)) : y);
            }
        }
}

// sums (2, channels) of g = gradient * mask where the ReLU was open, and of g * (z - mean)
API void activate_backward(long first, long last, long bands, long frames, long channels, const number *gradient,
                           const number *z, const float *norm, const float *mask, double *sums) {
    const float *mean = norm, *scale = norm + 2 * channels, *shift = norm + 3 * channels;
    for (long row = first * bands; row < last * bands; row++) {
        const float *open = mask ? mask + row / bands * frames : 0;
        LOOP(c, channels) {
            vec sum = all(0), cross = all(0), m = load(mean + c), s = load(scale + c), t = load(shift + c);
            for (long frame = 0; frame < frames; frame++) {
                long at = (row * frames + frame) * channels + c;
                vec value = load(z + at), g = where_open(value * s + t, load(gradient + at));
                if (open) g *= all(open[frame]);
                sum += g, cross += g * (value - m);
            }
            add_to(sums + c, sum), add_to(sums + channels + c, cross);
        }
    }
}

// ---- Pointwise convolution of relu(norm(z)) ----

// out = relu(norm(z)) weight, weight (channels, wide); sums (2, wide) of out - pivot and its square
API void pointwise(long first, long last, long places, long channels, long wide, const number *z, const float *norm,
                   const float *weight, const float *pivot, number *out, double *sums) {
    const float *scale = norm + 2 * channels, *shift = norm + 3 * channels;
    Scratch<float> y(TILE * channels), found(TILE * wide);
    Scratch<factor> left(TILE * channels / 2), right(channels * wide / 2);
    const factor *b = over_rows(channels, wide, weight, right);
    for (long from = first * places; from < last * places; from += TILE) {
        long count = last * places - from < TILE ? last * places - from : TILE;
        for (long i = 0; i < count; i++)
            LOOP(c, channels)
                store(y + i * channels + c,
                      relu(load(z + (from + i) * channels + c) * load(scale + c) + load(shift + c)));
        const factor *a = over_columns(count, channels, y, left);
        product<false>(count, channels / AT_ONCE, wide, a, channels / AT_ONCE, 1, b, found);
        LOOP(c, wide) {
            vec sum = all(0), square = all(0), p = load(pivot + c);
            for (long i = 0; i < count; i++) {
                vec value = load(found + i * wide + c), off = value - p;
                store(out + (from + i) * wide + c, value);
                sum += off, square += off * off;
            }
            add_to(sums + c, sum), add_to(sums + wide + c, square);
        }
    }
}

// From the gradient of relu(norm2(z2)) * mask, with z2 as `pointwise` made it of z1: g1, that of norm1(z1), and its
// sums as in `activate_backward`; weight (wide, channels), and its gradient, which is added to.
API void pointwise_backward(long first, long last, long bands, long frames, long channels, long wide,
                            const number *gradient, const number *z2, const float *norm2, const float *back2,
                            const float *mask, const number *z1, const float *norm1, const float *weight, number *g1,
                            float *weight_gradient, double *sums) {
    const float *mean2 = norm2, *scale2 = norm2 + 2 * wide, *shift2 = norm2 + 3 * wide;
    const float *slope = back2, *offset = back2 + wide;
    const float *mean1 = norm1, *scale1 = norm1 + 2 * channels, *shift1 = norm1 + 3 * channels;
    Scratch<float> y(TILE * channels), d(TILE * wide), g(TILE * channels);
    Scratch<factor> of_weight(channels * wide / 2), of_y(TILE * channels / 2);
    Scratch<factor> of_d(TILE * wide / 2), across_d(TILE * wide / 2);
    const factor *w = over_rows(wide, channels, weight, of_weight);
    long places = bands * frames;
    for (long from = first * places; from < last * places; from += TILE) {
        long count = last * places - from < TILE ? last * places - from : TILE;
        for (long i = 0; i < count; i++) {
            long place = from + i;
            vec open = all(mask ? mask[place / places * frames + place % frames] : 1);
            LOOP(c, wide) {
                vec value = load(z2 + place * wide + c), scale = load(scale2 + c);
                vec gate = where_open(value * scale + load(shift2 + c), load(gradient + place * wide + c)) * open;
                store(d + i * wide + c, scale * gate + load(slope + c) * (value - load(mean2 + c)) + load(offset + c));
            }
            LOOP(c, channels)
                store(y + i * channels + c,
                      relu(load(z1 + place * channels + c) * load(scale1 + c) + load(shift1 + c)));
        }
        const factor *left = over_columns(count, wide, d, across_d);
        product<false>(count, wide / AT_ONCE, channels, left, wide / AT_ONCE, 1, w, g);
        const factor *a = over_rows(count, wide, d, of_d), *b = over_rows(count, channels, y, of_y);
        product<true>(wide, (count + AT_ONCE - 1) / AT_ONCE, channels, a, 1, wide, b, weight_gradient);
        LOOP(c, channels) {
            vec sum = all(0), cross = all(0), m = load(mean1 + c);
            for (long i = 0; i < count; i++) {
                long at = (from + i) * channels + c;
                vec gate = where_open(load(y + i * channels + c), load(g + i * channels + c));
                store(g1 + at, gate);
                sum += gate, cross += gate * (load(z1 + at) - m);
            }
            add_to(sums + c, sum), add_to(sums + channels + c, cross);
        }
    }
}

// ---- Depthwise 3x3 convolution, padded by one ----
// A lane's channels of a clip are first spread out in a room of (bands + 2) x (frames + 2) x LANES numbers, zero around.

// out (clips, bands / stride, frames / stride, channels), rounded up; kernel (9, channels); sums as in `pointwise`
API void depthwise(long first, long last, long bands, long frames, long channels, long stride, const number *x,
                   const float *kernel, const float *pivot, number *out, double *sums, float *room) {
    long high = (bands + stride - 1) / stride, wide = (frames + stride - 1) / stride, row = (frames + 2) * LANES;
    memset(room, 0, sizeof(float) * (bands + 2) * row);
    for (long clip = first; clip < last; clip++)
        LOOP(c, channels) {
            vec k[9], p = load(pivot + c);
            for (int tap = 0; tap < 9; tap++) k[tap] = load(kernel + tap * channels + c);
            const number *in = x + clip * bands * frames * channels + c;
            for (long i = 0; i < bands; i++)
                for (long j = 0; j < frames; j++)
                    store(room + (i + 1) * row + (j + 1) * LANES, load(in + (i * frames + j) * channels));
            for (long i = 0; i < high; i++) {
                vec total = all(0), square = all(0);
                for (long j = 0; j < wide; j++) {
                    const float *at = room + i * stride * row + j * stride * LANES;
                    vec sum = all(0);
                    for (int u = 0; u < 3; u++)
                        for (int v = 0; v < 3; v++) sum += load(at + u * row + v * LANES) * k[3 * u + v];
                    store(out + ((clip * high + i) * wide + j) * channels + c, sum);
                    vec off = sum - p;
                    total += off, square += off * off;
                }
                add_to(sums + c, total), add_to(sums + channels + c, square);
            }
        }
}

// From g, the gradient of norm(z), with z as `depthwise` made it of x: that of x, plus skip if any, and that of the
// kernel (9, channels), which is added to. `rooms` are two.
API void depthwise_backward(long first, long last, long bands, long frames, long channels, long stride, const number *x,
                            const float *kernel, const number *g, const number *z, const float *norm,
                            const float *back, const number *skip, number *out, float *kernel_gradient, float *rooms) {
    const float *mean = norm, *scale = norm + 2 * channels, *slope = back, *offset = back + channels;
    long high = (bands + stride - 1) / stride, wide = (frames + stride - 1) / stride, row = (frames + 2) * LANES;
    float *of_z = rooms, *of_x = rooms + (bands + 2) * row;
    memset(rooms, 0, sizeof(float) * 2 * (bands + 2) * row);
    for (long clip = first; clip < last; clip++)
        LOOP(c, channels) {
            vec k[9], m = load(mean + c), s = load(scale + c), a = load(slope + c), b = load(offset + c);
            // The gradient of z, with zeros between where the stride skipped places.
            for (long i = 0; i < high; i++)
                for (long j = 0; j < wide; j++) {
                    long at = ((clip * high + i) * wide + j) * channels + c;
                    vec d = s * load(g + at) + a * (load(z + at) - m) + b;
                    store(of_z + (i * stride + 1) * row + (j * stride + 1) * LANES, d);
                }
            for (int tap = 0; tap < 9; tap++) k[tap] = load(kernel + (8 - tap) * channels + c);
            for (long i = 0; i < bands; i++)
                for (long j = 0; j < frames; j++) {
                    long to = ((clip * bands + i) * frames + j) * channels + c;
                    vec sum = skip ? load(skip + to) : all(0);
                    const float *at = of_z + i * row + j * LANES;
                    for (int u = 0; u < 3; u++)
                        for (int v = 0; v < 3; v++) sum += load(at + u * row + v * LANES) * k[3 * u + v];
                    store(out + to, sum);
                    store(of_x + (i + 1) * row + (j + 1) * LANES, load(x + to));
                }
            for (int tap = 0; tap < 9; tap++) k[tap] = load(kernel_gradient + tap * channels + c);
            for (long i = 0; i < high; i++)
                for (long j = 0; j < wide; j++) {
                    const float *at = of_x + i * stride * row + j * stride * LANES;
                    vec d = load(of_z + (i * stride + 1) * row + (j * stride + 1) * LANES);
                    for (int u = 0; u < 3; u++)
                        for (int v = 0; v < 3; v++) k[3 * u + v] += load(at + u * row + v * LANES) * d;
                }
            for (int tap = 0; tap < 9; tap++) store(kernel_gradient + tap * channels + c, k[tap]);
        }
}

// ---- The first convolution, 3x3 with stride 2, padded by one, of maps with one channel ----

// x (clips, bands, frames) in float32; out (clips, bands / 2, frames / 2, channels), rounded up; kernel (9, channels);
// sums as in `pointwise`
API void stem(long first, long last, long bands, long frames, long channels, const float *x, const float *kernel,
              const float *pivot, number *out, double *sums) {
    long high = (bands + 1) / 2, wide = (frames + 1) / 2;
    for (long row = first * high; row < last * high; row++) {
        long band = row % high * 2 - 1;
        const float *in = x + (row / high * bands + band) * frames;
        LOOP(c, channels) {
            vec k[9], p = load(pivot + c), total = all(0), square = all(0);
            for (int tap = 0; tap < 9; tap++) k[tap] = load(kernel + tap * channels + c);
            for (long j = 0; j < wide; j++) {
                vec sum = all(0);
                for (int u = 0; u < 3; u++)
                    for (int v = 0; v < 3; v++) {
                        long frame = 2 * j - 1 + v;
                        if (band + u >= 0 && band + u < bands && frame >= 0 && frame < frames)
                            sum += all(in[u * frames + frame]) * k[3 * u + v];
                    }
                store(out + (row * wide + j) * channels + c, sum);
                vec off = sum - p;
                total += off, square += off * off;
            }
            add_to(sums + c, total), add_to(sums + channels + c, square);
        }
    }
}

// From the gradient of relu(norm(z)) * mask, that of the kernel (9, channels), which is added to
API void stem_backward(long first, long last, long bands, long frames, long channels, const float *x,
                       const number *gradient, const number *z, const float *norm, const float *back,
                       const float *mask, float *kernel_gradient) {
    const float *mean = norm, *scale = norm + 2 * channels, *shift = norm + 3 * channels;
    long high = (bands + 1) / 2, wide = (frames + 1) / 2;
    for (long row = first * high; row < last * high; row++) {
        long band = row % high * 2 - 1;
        const float *in = x + (row / high * bands + band) * frames, *open = mask ? mask + row / high * wide : 0;
        LOOP(c, channels) {
            vec k[9], m = load(mean + c), s = load(scale + c), t = load(shift + c);
            vec slope = load(back + c), offset = load(back + channels + c);
            for (int tap = 0; tap < 9; tap++) k[tap] = load(kernel_gradient + tap * channels + c);
            for (long j = 0; j < wide; j++) {
                long at = (row * wide + j) * channels + c;
                vec value = load(z + at), g = where_open(value * s + t, load(gradient + at));
                if (open) g *= all(open[j]);
                vec d = s * g + slope * (value - m) + offset;
                for (int u = 0; u < 3; u++)
                    for (int v = 0; v < 3; v++) {
                        long frame = 2 * j - 1 + v;
                        if (band + u >= 0 && band + u < bands && frame >= 0 && frame < frames)
                            k[3 * u + v] += all(in[u * frames + frame]) * d;
                    }
            }
            for (int tap = 0; tap < 9; tap++) store(kernel_gradient + tap * channels + c, k[tap]);
        }
    }
}

// ---- Depthwise convolution across all bands ----

// out (clips, 1, frames, channels), kernel (bands, channels); sums as in `pointwise`
API void across(long first, long last, long bands, long frames, long channels, const number *x, const float *kernel,
                const float *pivot, number *out, double *sums) {
    for (long clip = first; clip < last; clip++)
        LOOP(c, channels) {
            vec p = load(pivot + c), total = all(0), square = all(0);
            for (long j = 0; j < frames; j++) {
                vec sum = all(0);
                for (long i = 0; i < bands; i++)
                    sum += load(x + ((clip * bands + i) * frames + j) * channels + c) * load(kernel + i * channels + c);
                store(out + (clip * frames + j) * channels + c, sum);
                vec off = sum - p;
                total += off, square += off * off;
            }
            add_to(sums + c, total), add_to(sums + channels + c, square);
        }
}

// From the gradient of relu(norm(z)) * mask: that of x, and that of the kernel, which is added to
API void across_backward(long first, long last, long bands, long frames, long channels, const number *x,
                         const number *gradient, const number *z, const float *norm, const float *back,
                         const float *mask, float *kernel_gradient, const float *kernel, number *out) {
    const float *mean = norm, *scale = norm + 2 * channels, *shift = norm + 3 * channels;
    for (long clip = first; clip < last; clip++)
        LOOP(c, channels) {
            vec m = load(mean + c), s = load(scale + c), t = load(shift + c);
            vec slope = load(back + c), offset = load(back + channels + c);
            for (long j = 0; j < frames; j++) {
                long place = clip * frames + j;
                vec value = load(z + place * channels + c);
                vec g = where_open(value * s + t, load(gradient + place * channels + c));
                if (mask) g *= all(mask[place]);
                vec d = s * g + slope * (value - m) + offset;
                for (long i = 0; i < bands; i++) {
                    long at = ((clip * bands + i) * frames + j) * channels + c;
                    float *k = kernel_gradient + i * channels + c;
                    store(k, load(k) + load(x + at) * d);
                    store(out + at, load(kernel + i * channels + c) * d);
                }
            }
        }
}
