// Pointwise convolution of relu(norm(z)).

#pragma once

#include "products.h"

// out = relu(norm(z)) weight, weight (channels, wide); sums (2, wide) of out - pivot and its square
static void pointwise(long first, long last, long places, long channels, long wide, const number *z, const float *norm,
                      const float *weight, const float *pivot, number *out, double *sums) {
    const float *scale = norm + 2 * channels, *shift = norm + 3 * channels;
    Factors<OVER_COLUMNS> y(channels);
    Scratch<float> found(TILE * wide);
    Scratch<factor> room(channels * wide / 2);
    const factor *right = packed(channels, wide, weight, room);
    for (long from = first * places; from < last * places; from += TILE) {
        long count = last * places - from < TILE ? last * places - from : TILE;
        for (long i = 0; i < count; i += 2)
            LOOP(c, channels) {
                vec s = load(scale + c), t = load(shift + c);
                const number *at = z + (from + i) * channels + c;
                y.put(i, c, relu(load(at) * s + t), i + 1 < count ? relu(load(at + channels) * s + t) : all(0));
            }
        product<false>(count, channels / AT_ONCE, wide, y.over_columns(), channels / AT_ONCE, 1, right, found);
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
static void pointwise_backward(long first, long last, long bands, long frames, long channels, long wide,
                               const number *gradient, const number *z2, const float *norm2, const float *back2,
                               const float *mask, const number *z1, const float *norm1, const float *weight, number *g1,
                               float *weight_gradient, double *sums) {
    const float *mean2 = norm2, *scale2 = norm2 + 2 * wide, *shift2 = norm2 + 3 * wide;
    const float *slope2 = back2, *offset2 = back2 + wide;
    const float *mean1 = norm1, *scale1 = norm1 + 2 * channels, *shift1 = norm1 + 3 * channels;
    Factors<OVER_ROWS> y(channels);
    Factors<OVER_COLUMNS | OVER_ROWS> d(wide);
    Scratch<float> g(TILE * channels);
    Scratch<factor> room(channels * wide / 2);
    const factor *w = packed(wide, channels, weight, room);
    long places = bands * frames;
    for (long from = first * places; from < last * places; from += TILE) {
        long count = last * places - from < TILE ? last * places - from : TILE;
        for (long i = 0; i < count; i += 2) {
            long place = from + i;
            bool two = i + 1 < count;
            vec open = all(1), next_open = all(two);
            if (mask) {
                open = all(mask[place / places * frames + place % frames]);
                if (two) next_open = all(mask[(place + 1) / places * frames + (place + 1) % frames]);
            }
            LOOP(c, wide) {
                vec mean = load(mean2 + c), scale = load(scale2 + c), shift = load(shift2 + c);
                vec slope = load(slope2 + c), offset = load(offset2 + c);
                // The gradient of z2 through its batch norm
                auto through = [&](long at, vec open) {
                    vec value = load(z2 + at);
                    vec gate = where_open(value * scale + shift, load(gradient + at)) * open;
                    return scale * gate + slope * (value - mean) + offset;
                };
                long at = place * wide + c;
                d.put(i, c, through(at, open), two ? through(at + wide, next_open) : all(0));
            }
            LOOP(c, channels) {
                vec s = load(scale1 + c), t = load(shift1 + c);
                const number *at = z1 + place * channels + c;
                y.put(i, c, relu(load(at) * s + t), two ? relu(load(at + channels) * s + t) : all(0));
            }
        }
        product<false>(count, wide / AT_ONCE, channels, d.over_columns(), wide / AT_ONCE, 1, w, g);
        product<true>(wide, (count + AT_ONCE - 1) / AT_ONCE, channels, d.over_rows(), 1, wide, y.over_rows(),
                      weight_gradient);
        LOOP(c, channels) {
            vec sum = all(0), cross = all(0), m = load(mean1 + c), s = load(scale1 + c), t = load(shift1 + c);
            for (long i = 0; i < count; i++) {
                long at = (from + i) * channels + c;
                vec value = load(z1 + at), gate = where_open(value * s + t, load(g + i * channels + c));
                store(g1 + at, gate);
                sum += gate, cross += gate * (value - m);
            }
            add_to(sums + c, sum), add_to(sums + channels + c, cross);
        }
    }
}
