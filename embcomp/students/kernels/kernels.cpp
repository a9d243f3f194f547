// A depthwise-separable block, forward and backward, in as few passes over its maps as batch norm allows.
//
// Compiled on first use, by compiled.py. Maps are (clips, bands, frames, channels), the channels
// of a place side by side, their number a multiple of LANES; float32, or bfloat16 if HALF is defined, in which case the
// factors of products are rounded to it, too, where the processor can multiply it. All else is float32 in any case.
// What works on a batch does so on the clips from `first` up to `last`, so that threads can share it; sums are in
// double, and are added to. The batch may be a process's share of one of `whole` clips: `add` then adds up the sums that
// batch norm takes over all processes.

#include "depthwise.h"
#include "ends.h"
#include "norms.h"
#include "pointwise.h"
#ifndef HALF
#include "inputs.h"
#include "temporal.h"
#endif
#include "threads.h"

// Weights, and gradients, are as torch has them: (channels, 1, height, width).

API long lanes() { return LANES; }

// (rows, columns) to (columns, rows)
static void turn(long rows, long columns, const float *from, float *to) {
    for (long i = 0; i < rows; i++)
        for (long j = 0; j < columns; j++) to[j * rows + i] = from[i * columns + j];
}

// Over threads (threads, rows, columns), as (columns, rows) if turned
static void gather(long threads, long rows, long columns, bool turned, const float *parts, float *to) {
    for (long i = 0; i < rows; i++)
        for (long j = 0; j < columns; j++) {
            float sum = 0;
            for (long t = 0; t < threads; t++) sum += parts[(t * rows + i) * columns + j];
            to[turned ? j * rows + i : i * columns + j] = sum;
        }
}

// z1 = depthwise(x), z2 = pointwise(relu(norm1(z1))), out = relu(norm2(z2)) * mask, plus x if skip
API void separable(long threads, long clips, long bands, long frames, long channels, long wide, long stride, long skip,
                   long whole, Add add, const number *x, const float *depthwise_weight, NORM(1),
                   const float *pointwise_weight, NORM(2), const float *mask, number *z1, number *z2, float *norm1,
                   float *norm2, number *out) {
    long high = (bands + stride - 1) / stride, length = (frames + stride - 1) / stride, places = high * length;
    long room = (bands + 2) * (frames + 2) * LANES;
    Scratch<float> kernel(9 * channels), weight(channels * wide), rooms(threads * room);
    Scratch<double> sums1(threads * 2 * channels, true), sums2(threads * 2 * wide, true);
    turn(channels, 9, depthwise_weight, kernel), turn(wide, channels, pointwise_weight, weight);
    share(threads, clips, [&](long t, long first, long last) {
        auto convolution = stride == 1 ? depthwise<1> : depthwise<2>;
        convolution(first, last, bands, frames, channels, x, kernel, mean1, z1, sums1 + t * 2 * channels,
                    rooms + t * room);
    });
    norm_finish(threads, channels, whole * places, sums1, add, weight1, bias1, eps1, share1, mean1, var1, norm1);
    share(threads, clips, [&](long t, long first, long last) {
        pointwise(first, last, places, channels, wide, z1, norm1, weight, mean2, z2, sums2 + t * 2 * wide);
    });
    norm_finish(threads, wide, whole * places, sums2, add, weight2, bias2, eps2, share2, mean2, var2, norm2);
    share(threads, clips, [&](long, long first, long last) {
        activate(first, last, high, length, wide, z2, norm2, mask, skip ? x : 0, out);
    });
}

// From the gradient of `separable`'s out, those of x and of all weights
API void separable_backward(long threads, long clips, long bands, long frames, long channels, long wide, long stride,
                            long skip, long whole, Add add, const number *gradient, const number *x,
                            const float *depthwise_weight, const float *pointwise_weight, const float *mask,
                            const number *z1, const number *z2, const float *norm1, const float *norm2, number *of_x,
                            float *of_depthwise, float *of_weight1, float *of_bias1, float *of_pointwise,
                            float *of_weight2, float *of_bias2) {
    long high = (bands + stride - 1) / stride, length = (frames + stride - 1) / stride, places = high * length;
    long rooms = 2 * (bands + 2) * (frames + 2) * LANES;
    Scratch<number> g1(clips * places * channels);
    Scratch<float> kernel(9 * channels), back1(2 * channels), back2(2 * wide), room(threads * rooms);
    Scratch<float> kernels(threads * 9 * channels, true), weights(threads * wide * channels, true);
    Scratch<double> sums1(threads * 2 * channels, true), sums2(threads * 2 * wide, true);
    turn(channels, 9, depthwise_weight, kernel);
    share(threads, clips, [&](long t, long first, long last) {
        activate_backward(first, last, high, length, wide, gradient, z2, norm2, mask, sums2 + t * 2 * wide);
    });
    norm_finish_backward(threads, wide, whole * places, sums2, add, norm2, of_weight2, of_bias2, back2);
    share(threads, clips, [&](long t, long first, long last) {
        pointwise_backward(first, last, high, length, channels, wide, gradient, z2, norm2, back2, mask, z1, norm1,
                           pointwise_weight, g1, weights + t * wide * channels, sums1 + t * 2 * channels);
    });
    norm_finish_backward(threads, channels, whole * places, sums1, add, norm1, of_weight1, of_bias1, back1);
    share(threads, clips, [&](long t, long first, long last) {
        auto convolution = stride == 1 ? depthwise_backward<1> : depthwise_backward<2>;
        convolution(first, last, bands, frames, channels, x, kernel, g1, z1, norm1, back1, skip ? gradient : 0, of_x,
                    kernels + t * 9 * channels, room + t * rooms);
    });
    gather(threads, wide, channels, false, weights, of_pointwise);
    gather(threads, 9, channels, true, kernels, of_depthwise);
}

// z = convolution(x), out = relu(norm(z)) * mask, of the stem, whose x is in float32, or across all bands
API void single(long threads, long clips, long bands, long frames, long channels, long is_stem, long whole, Add add,
                const void *x, const float *weight, NORM(1), const float *mask, number *z, float *norm, number *out) {
    long high = is_stem ? (bands + 1) / 2 : 1, length = is_stem ? (frames + 1) / 2 : frames, taps = is_stem ? 9 : bands;
    Scratch<float> kernel(taps * channels);
    Scratch<double> sums(threads * 2 * channels, true);
    turn(channels, taps, weight, kernel);
    share(threads, clips, [&](long t, long first, long last) {
        double *own = sums + t * 2 * channels;
        if (is_stem) stem(first, last, bands, frames, channels, (const float *)x, kernel, mean1, z, own);
        else across(first, last, bands, frames, channels, (const number *)x, kernel, mean1, z, own);
    });
    norm_finish(threads, channels, whole * high * length, sums, add, weight1, bias1, eps1, share1, mean1, var1, norm);
    share(threads, clips, [&](long, long first, long last) {
        activate(first, last, high, length, channels, z, norm, mask, 0, out);
    });
}

// From the gradient of `single`'s out, those of all weights, and of x unless it is the stem's
API void single_backward(long threads, long clips, long bands, long frames, long channels, long is_stem,
                         long whole, Add add, const number *gradient, const void *x, const float *weight,
                         const float *mask, const number *z, const float *norm, number *of_x, float *of_weight,
                         float *of_weight1, float *of_bias1) {
    long high = is_stem ? (bands + 1) / 2 : 1, length = is_stem ? (frames + 1) / 2 : frames, taps = is_stem ? 9 : bands;
    Scratch<float> kernel(taps * channels), back(2 * channels), kernels(threads * taps * channels, true);
    Scratch<double> sums(threads * 2 * channels, true);
    turn(channels, taps, weight, kernel);
    share(threads, clips, [&](long t, long first, long last) {
        activate_backward(first, last, high, length, channels, gradient, z, norm, mask, sums + t * 2 * channels);
    });
    norm_finish_backward(threads, channels, whole * high * length, sums, add, norm, of_weight1, of_bias1, back);
    share(threads, clips, [&](long t, long first, long last) {
        float *own = kernels + t * taps * channels;
        if (is_stem)
            stem_backward(first, last, bands, frames, channels, (const float *)x, gradient, z, norm, back, mask, own);
        else
            across_backward(first, last, bands, frames, channels, (const number *)x, gradient, z, norm, back, mask, own,
                            kernel, of_x);
    });
    gather(threads, taps, channels, true, kernels, of_weight);
}
