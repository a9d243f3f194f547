// What stands at the ends of the student: the first convolution, and the one across all bands.

#pragma once

#include "lanes.h"

// x (clips, bands, frames) in float32; out (clips, bands / 2, frames / 2, channels), rounded up; kernel (9, channels);
// sums as in `pointwise`
static void stem(long first, long last, long bands, long frames, long channels, const float *x, const float *kernel,
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
static void stem_backward(long first, long last, long bands, long frames, long channels, const float *x,
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

// out (clips, 1, frames, channels), kernel (bands, channels); sums as in `pointwise`
static void across(long first, long last, long bands, long frames, long channels, const number *x, const float *kernel,
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
static void across_backward(long first, long last, long bands, long frames, long channels, const number *x,
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
