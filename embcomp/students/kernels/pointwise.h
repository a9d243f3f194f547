// Pointwise convolution of relu(norm(z)).

#pragma once

#include "products.h"

// out = relu(norm(z)) weight, weight (channels, wide); sums (2, wide) of out - pivot and its square
static void pointwise(long first, long last, long places, long channels, long wide, const number *z, const float *norm,
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
static void pointwise_backward(long first, long last, long bands, long frames, long channels, long wide,
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
