// Depthwise 3x3 convolution, padded by one.

#pragma once

#include "lanes.h"

// The channels of a clip, LANES at a time, are first spread out in a room of (bands + 2) x (frames + 2) x LANES numbers,
// with zeros around.

// For COUNT neighbouring places, whose inputs they share: sum += the nine taps of x from `at` on, times k
template <int STRIDE, int COUNT>
static inline void convolve(const float *at, long row, const vec *k, vec *sum) {
    for (int u = 0; u < 3; u++) {
        vec x[STRIDE * (COUNT - 1) + 3];
        for (int v = 0; v < STRIDE * (COUNT - 1) + 3; v++) x[v] = load(at + u * row + v * LANES);
        for (int place = 0; place < COUNT; place++)
            for (int v = 0; v < 3; v++) sum[place] += x[STRIDE * place + v] * k[3 * u + v];
    }
}

// The same for the gradient of the nine taps, from those of the places, d
template <int STRIDE, int COUNT>
static inline void correlate(const float *at, long row, const float *d, vec *k) {
    for (int u = 0; u < 3; u++) {
        vec x[STRIDE * (COUNT - 1) + 3];
        for (int v = 0; v < STRIDE * (COUNT - 1) + 3; v++) x[v] = load(at + u * row + v * LANES);
        for (int place = 0; place < COUNT; place++)
            for (int v = 0; v < 3; v++) k[3 * u + v] += x[STRIDE * place + v] * load(d + place * STRIDE * LANES);
    }
}

// A lane's channels of the maps from `in` on into the middle of a room
static inline void spread(long bands, long frames, long channels, const number *in, float *room) {
    for (long i = 0; i < bands; i++)
        for (long j = 0; j < frames; j++)
            store(room + ((i + 1) * (frames + 2) + j + 1) * LANES, load(in + (i * frames + j) * channels));
}

enum { TOGETHER = 4 };

// out (clips, bands / STRIDE, frames / STRIDE, channels), rounded up; kernel (9, channels); sums as in `pointwise`
template <int STRIDE>
static void depthwise(long first, long last, long bands, long frames, long channels, const number *x,
                      const float *kernel, const float *pivot, number *out, double *sums, float *room) {
    long high = (bands + STRIDE - 1) / STRIDE, wide = (frames + STRIDE - 1) / STRIDE, row = (frames + 2) * LANES;
    memset(room, 0, sizeof(float) * (bands + 2) * row);
    for (long clip = first; clip < last; clip++)
        LOOP(c, channels) {
            vec k[9], p = load(pivot + c);
            for (int tap = 0; tap < 9; tap++) k[tap] = load(kernel + tap * channels + c);
            spread(bands, frames, channels, x + clip * bands * frames * channels + c, room);
            for (long i = 0; i < high; i++) {
                vec total = all(0), square = all(0);
                const float *at = room + i * STRIDE * row;
                number *to = out + (clip * high + i) * wide * channels + c;
                auto keep = [&](vec sum) {
                    vec off = sum - p;
                    total += off, square += off * off;
                    store(to, sum);
                    to += channels;
                };
                long j = 0;
                for (; j + TOGETHER <= wide; j += TOGETHER, at += TOGETHER * STRIDE * LANES) {
                    vec sum[TOGETHER] = {};
                    convolve<STRIDE, TOGETHER>(at, row, k, sum);
                    for (int place = 0; place < TOGETHER; place++) keep(sum[place]);
                }
                for (; j < wide; j++, at += STRIDE * LANES) {
                    vec sum[1] = {};
                    convolve<STRIDE, 1>(at, row, k, sum);
                    keep(sum[0]);
                }
                add_to(sums + c, total), add_to(sums + channels + c, square);
            }
        }
}

// From g, the gradient of norm(z), with z as `depthwise` made it of x: that of x, plus skip if any, and that of the
// kernel (9, channels), which is added to. `rooms` are two.
template <int STRIDE>
static void depthwise_backward(long first, long last, long bands, long frames, long channels, const number *x,
                               const float *kernel, const number *g, const number *z, const float *norm,
                               const float *back, const number *skip, number *out, float *kernel_gradient,
                               float *rooms) {
    const float *mean = norm, *scale = norm + 2 * channels, *slope = back, *offset = back + channels;
    long high = (bands + STRIDE - 1) / STRIDE, wide = (frames + STRIDE - 1) / STRIDE, row = (frames + 2) * LANES;
    float *of_z = rooms, *of_x = rooms + (bands + 2) * row;
    memset(rooms, 0, sizeof(float) * 2 * (bands + 2) * row);
    for (long clip = first; clip < last; clip++)
        LOOP(c, channels) {
            vec k[9], m = load(mean + c), s = load(scale + c), a = load(slope + c), b = load(offset + c);
            long start = clip * bands * frames * channels + c;
            // The gradient of z, with zeros between where the stride skipped places.
            for (long i = 0; i < high; i++)
                for (long j = 0; j < wide; j++) {
                    long at = ((clip * high + i) * wide + j) * channels + c;
                    vec d = s * load(g + at) + a * (load(z + at) - m) + b;
                    store(of_z + (i * STRIDE + 1) * row + (j * STRIDE + 1) * LANES, d);
                }
            for (int tap = 0; tap < 9; tap++) k[tap] = load(kernel + (8 - tap) * channels + c);
            for (long i = 0; i < bands; i++) {
                const float *at = of_z + i * row;
                long to = start + i * frames * channels, j = 0;
                for (; j + TOGETHER <= frames; j += TOGETHER, at += TOGETHER * LANES) {
                    vec sum[TOGETHER] = {};
                    if (skip)
                        for (int place = 0; place < TOGETHER; place++) sum[place] = load(skip + to + place * channels);
                    convolve<1, TOGETHER>(at, row, k, sum);
                    for (int place = 0; place < TOGETHER; place++, to += channels) store(out + to, sum[place]);
                }
                for (; j < frames; j++, at += LANES, to += channels) {
                    vec sum[1] = {skip ? load(skip + to) : all(0)};
                    convolve<1, 1>(at, row, k, sum);
                    store(out + to, sum[0]);
                }
            }
            spread(bands, frames, channels, x + start, of_x);
            for (int tap = 0; tap < 9; tap++) k[tap] = load(kernel_gradient + tap * channels + c);
            for (long i = 0; i < high; i++) {
                const float *at = of_x + i * STRIDE * row, *d = of_z + (i * STRIDE + 1) * row + LANES;
                long j = 0, step = STRIDE * LANES;
                for (; j + TOGETHER <= wide; j += TOGETHER, at += TOGETHER * step, d += TOGETHER * step)
                    correlate<STRIDE, TOGETHER>(at, row, d, k);
                for (; j < wide; j++, at += step, d += step) correlate<STRIDE, 1>(at, row, d, k);
            }
            for (int tap = 0; tap < 9; tap++) store(kernel_gradient + tap * channels + c, k[tap]);
        }
}
