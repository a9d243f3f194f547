// Depthwise 3x3 convolution, padded by one.

#pragma once

#include "lanes.h"

// A lane's channels of a clip are first spread out in a room of (bands + 2) x (frames + 2) x LANES numbers, zero around.

// out (clips, bands / stride, frames / stride, channels), rounded up; kernel (9, channels); sums as in `pointwise`
static void depthwise(long first, long last, long bands, long frames, long channels, long stride, const number *x,
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
static void depthwise_backward(long first, long last, long bands, long frames, long channels, long stride, const number *x,
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
