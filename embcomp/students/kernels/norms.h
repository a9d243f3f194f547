// Batch norm: scale * z + shift forward, scale * g + slope * (z - mean) + offset backward; then ReLU and mask.

#pragma once

#include "lanes.h"

// A batch norm in training: weight, bias, and running statistics, which follow. share is the next batch's in them.
#define NORM(n) \
    const float *weight##n, const float *bias##n, float *mean##n, float *var##n, double eps##n, double share##n

// Adds up numbers over the processes that a batch is divided among, in place; null where it is whole.
typedef void (*Add)(double *numbers, long count);

// sums (threads, count), into the first row
static void over_threads(long threads, long count, double *sums) {
    for (long t = 1; t < threads; t++)
        for (long i = 0; i < count; i++) sums[i] += sums[t * count + i];
}

// sums (threads, 2, channels): of z - running mean and of its square; count is of the whole batch. norm (4, channels):
// mean, 1 / deviation, scale, shift.
static void norm_finish(long threads, long channels, double count, double *sums, Add add, const float *weight,
                        const float *bias, double eps, double momentum, float *running_mean, float *running_var,
                        float *norm) {
    over_threads(threads, 2 * channels, sums);
    if (add) add(sums, 2 * channels);
    for (long c = 0; c < channels; c++) {
        double sum = sums[c], square = sums[channels + c];
        double off = sum / count, variance = square / count - off * off, mean = running_mean[c] + off;
        if (variance < 0) variance = 0;
        double inverse = 1 / __builtin_sqrt(variance + eps);
        norm[c] = mean, norm[channels + c] = inverse;
        norm[2 * channels + c] = weight[c] * inverse;
        norm[3 * channels + c] = bias[c] - mean * weight[c] * inverse;
        running_mean[c] += momentum * (mean - running_mean[c]);
        running_var[c] += momentum * (variance * count / (count - 1) - running_var[c]);
    }
}

// sums (threads, 2, channels): of g and of g * (z - mean). back (2, channels): slope, offset. The gradients of weight and
// bias are those of the process's own clips.
static void norm_finish_backward(long threads, long channels, double count, double *sums, Add add, const float *norm,
                                 float *weight_gradient, float *bias_gradient, float *back) {
    over_threads(threads, 2 * channels, sums);
    for (long c = 0; c < channels; c++)
        weight_gradient[c] = sums[channels + c] * norm[channels + c], bias_gradient[c] = sums[c];
    if (add) add(sums, 2 * channels);
    for (long c = 0; c < channels; c++) {
        double sum = sums[c], cross = sums[channels + c], inverse = norm[channels + c], scale = norm[2 * channels + c];
        back[c] = -scale * inverse * inverse * cross / count;
        back[channels + c] = -scale * sum / count;
    }
}

// out = relu(norm(z)) * mask + skip, mask (clips, frames) or null, skip or null
static void activate(long first, long last, long bands, long frames, long channels, const number *z, const float *norm,
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
static void activate_backward(long first, long last, long bands, long frames, long channels, const number *gradient,
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
