// Batch norm: scale * z + shift forward, scale * g + slope * (z - mean) + offset backward; then ReLU and mask.

#pragma once

#include "lanes.h"

// sums (threads, 2, channels): of z - running mean and of its square. norm (4, channels): mean, 1 / deviation, scale,
// shift.
static void norm_finish(long threads, long channels, double count, const double *sums, const float *weight,
                        const float *bias, double eps, double momentum, float *running_mean, float *running_var,
                        float *norm) {
    for (long c = 0; c < channels; c++) {
        double sum = 0, square = 0;
        for (long t = 0; t < threads; t++)
            sum += sums[2 * t * channels + c], square += sums[(2 * t + 1) * channels + c];
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

// sums (threads, 2, channels): of g and of g * (z - mean). back (2, channels): slope, offset.
static void norm_finish_backward(long threads, long channels, double count, const double *sums, const float *norm,
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
