// Convolutions over time alone, whose bands are channels: those of a residual block, and the first one.

#pragma once

#include "norms.h"
#include "products.h"
#include "threads.h"

// Of a clip, frames follow each other with zeros before and behind, so that what a convolution sees of them are
// neighbouring numbers: it is a product of matrices whose rows overlap. In such a room channels lie as close as they are;
// elsewhere a frame has room for whole registers, `lane` of the channels, of which the last numbers are zero.

enum { TAPS = 9, BESIDE = TAPS / 2 };

static inline long lane(long channels) { return (channels + LANES - 1) / LANES * LANES; }

// Room for a clip; a store of the last registers of a frame reaches into the next one, which is written after it
struct Room {
    long channels, beside;
    Scratch<float> at;
    Room(long frames, long channels, long beside)
        : channels(channels), beside(beside), at((frames + 2 * beside) * channels + LANES, true) {}
    float *frame(long number) { return at + (number + beside) * channels; }
};

// A batch norm whose numbers fill whole registers; its running statistics are given back with `keep`
struct Padded {
    long channels, wide;
    float *running_mean, *running_var;
    Scratch<float> weight, bias, mean, var;
    Padded(long channels, const float *w, const float *b, float *m, float *v)
        : channels(channels), wide(lane(channels)), running_mean(m), running_var(v), weight(wide, true),
          bias(wide, true), mean(wide, true), var(wide, true) {
        size_t size = channels * sizeof(float);
        memcpy(weight, w, size), memcpy(bias, b, size), memcpy(mean, m, size), memcpy(var, v, size);
    }
    void finish(long threads, double count, double *sums, Add add, double eps, double momentum, float *norm) {
        norm_finish(threads, wide, count, sums, add, weight, bias, eps, momentum, mean, var, norm);
        memcpy(running_mean, mean, channels * sizeof(float)), memcpy(running_var, var, channels * sizeof(float));
    }
};

// As `norm_finish_backward`, of `channels` that fill whole registers
static void padded_finish_backward(long threads, long channels, double count, double *sums, Add add, const float *norm,
                                   float *weight_gradient, float *bias_gradient, float *back) {
    long wide = lane(channels);
    Scratch<float> weight(wide), bias(wide);
    norm_finish_backward(threads, wide, count, sums, add, norm, weight, bias, back);
    memcpy(weight_gradient, weight, channels * sizeof(float)), memcpy(bias_gradient, bias, channels * sizeof(float));
}

// w (out, in, taps) as the right factor of the product that convolves: (taps, in, lane(out))
static void forward_factor(long out, long in, long taps, const float *w, float *to) {
    memset(to, 0, sizeof(float) * taps * in * lane(out));
    for (long o = 0; o < out; o++)
        for (long i = 0; i < in; i++)
            for (long k = 0; k < taps; k++) to[(k * in + i) * lane(out) + o] = w[(o * in + i) * taps + k];
}

// And of the product that takes a gradient back: taps from `first` down by `step`, (count, out, lane(in))
static void backward_factor(long out, long in, long taps, long first, long step, long count, const float *w,
                            float *to) {
    memset(to, 0, sizeof(float) * count * out * lane(in));
    for (long j = 0; j < count; j++)
        for (long o = 0; o < out; o++)
            for (long i = 0; i < in; i++)
                to[(j * out + o) * lane(in) + i] = w[(o * in + i) * taps + first - j * step];
}

// Gradients of the forward factor over threads (threads, taps, in, lane(out)), as (out, in, taps)
static void gather_factor(long threads, long out, long in, long taps, const float *parts, float *to) {
    for (long o = 0; o < out; o++)
        for (long i = 0; i < in; i++)
            for (long k = 0; k < taps; k++) {
                float sum = 0;
                for (long t = 0; t < threads; t++) sum += parts[((t * taps + k) * in + i) * lane(out) + o];
                to[(o * in + i) * taps + k] = sum;
            }
}

// sums (2, wide) of z (frames, wide) - pivot and of its square
static void add_sums(long frames, long wide, const float *z, const float *pivot, double *sums) {
    LOOP(c, wide) {
        vec total = all(0), square = all(0), p = load(pivot + c);
        for (long i = 0; i < frames; i++) {
            vec off = load(z + i * wide + c) - p;
            total += off, square += off * off;
        }
        add_to(sums + c, total), add_to(sums + wide + c, square);
    }
}

// A clip (frames, lane(channels)) into a room
static void fill(long frames, const float *x, Room &room) {
    long wide = lane(room.channels);
    for (long i = 0; i < frames; i++) LOOP(c, wide) store(room.frame(i) + c, load(x + i * wide + c));
}

// relu(norm(z)) * mask into a room
static void fill_active(long frames, const float *z, const float *norm, const float *mask, Room &room) {
    long wide = lane(room.channels);
    const float *scale = norm + 2 * wide, *shift = norm + 3 * wide;
    for (long i = 0; i < frames; i++) {
        vec open = all(mask ? mask[i] : 1);
        LOOP(c, wide) store(room.frame(i) + c, relu(load(z + i * wide + c) * load(scale + c) + load(shift + c)) * open);
    }
}

// The gradient of z from that of norm(z), by its batch norm, into a room
static void fill_gradient(long frames, const float *g, const float *z, const float *norm, const float *back,
                          Room &room) {
    long wide = lane(room.channels);
    const float *scale = norm + 2 * wide, *slope = back, *offset = back + wide;
    for (long i = 0; i < frames; i++)
        LOOP(c, wide) {
            long at = i * wide + c;
            vec d = load(scale + c) * load(g + at) + load(slope + c) * (load(z + at) - load(norm + c)) + load(offset + c);
            store(room.frame(i) + c, d);
        }
}

// g = g * mask where relu(norm(z)) was open; sums (2, wide) of g and of g * (z - mean)
static void close_gradient(long frames, long wide, const float *z, const float *norm, const float *mask, float *g,
                           double *sums) {
    LOOP(c, wide) {
        vec sum = all(0), cross = all(0), m = load(norm + c), s = load(norm + 2 * wide + c);
        vec t = load(norm + 3 * wide + c);
        for (long i = 0; i < frames; i++) {
            long at = i * wide + c;
            vec value = load(z + at), gate = where_open(value * s + t, load(g + at)) * all(mask ? mask[i] : 1);
            store(g + at, gate);
            sum += gate, cross += gate * (value - m);
        }
        add_to(sums + c, sum), add_to(sums + wide + c, cross);
    }
}

// What takes the gradient of a convolution over TAPS frames, with a stride of 1 or 2, back to its input: with a stride of
// 2, every other tap belongs to even frames, the others to odd ones.
struct Back {
    long stride, out, in;
    Scratch<float> even, odd;
    Back(long stride, long out, long in, const float *w)
        : stride(stride), out(out), in(in), even(TAPS * out * lane(in)), odd(TAPS * out * lane(in)) {
        backward_factor(out, in, TAPS, 8, stride, stride == 1 ? 9 : 5, w, even);
        if (stride == 2) backward_factor(out, in, TAPS, 7, 2, 4, w, odd);
    }
    // x (frames, lane(in)) from the gradient d
    void operator()(long frames, Room &d, float *x) {
        long wide = lane(in);
        if (stride == 1) {
            product<false>(frames, 9 * out, wide, d.frame(-4), out, 1, even, wide, x, wide);
            return;
        }
        product<false>((frames + 1) / 2, 5 * out, wide, d.frame(-2), out, 1, even, wide, x, 2 * wide);
        product<false>(frames / 2, 4 * out, wide, d.frame(-1), out, 1, odd, wide, x + wide, 2 * wide);
    }
};

// z1 = conv1(x), z2 = conv2(relu(norm1(z1)) * mask), z3 = shortcut(x), out = relu(norm2(z2) + beside) * mask, where
// beside is relu(norm3(z3)) * mask, or x where there is no shortcut, and no third norm.
// x (clips, frames, lane(channels)), all else (clips, frames / stride, lane(wide)), rounded up
API void residual(long threads, long clips, long frames, long channels, long wide, long stride, long whole, Add add,
                  const float *x, const float *conv1, NORM(1), const float *conv2, NORM(2), const float *shortcut,
                  NORM(3), const float *mask, float *z1, float *z2, float *z3, float *norm1, float *norm2,
                  float *norm3, float *out) {
    long length = (frames + stride - 1) / stride, in = lane(channels), size = lane(wide), of_clip = length * size;
    Scratch<float> w1(TAPS * channels * size), w2(TAPS * wide * size), w3(channels * size);
    Scratch<double> sums1(threads * 2 * size, true), sums2(threads * 2 * size, true), sums3(threads * 2 * size, true);
    Padded first_norm(wide, weight1, bias1, mean1, var1), second_norm(wide, weight2, bias2, mean2, var2);
    Padded third_norm(shortcut ? wide : 0, weight3, bias3, mean3, var3);
    forward_factor(wide, channels, TAPS, conv1, w1), forward_factor(wide, wide, TAPS, conv2, w2);
    if (shortcut) forward_factor(wide, channels, 1, shortcut, w3);
    share(threads, clips, [&](long t, long first, long last) {
        Room room(frames, channels, BESIDE);
        for (long clip = first; clip < last; clip++) {
            float *to = z1 + clip * of_clip, *beside = z3 + clip * of_clip;
            fill(frames, x + clip * frames * in, room);
            product<false>(length, TAPS * channels, size, room.frame(-BESIDE), stride * channels, 1, w1, size, to, size);
            add_sums(length, size, to, first_norm.mean, sums1 + t * 2 * size);
            if (!shortcut) continue;
            product<false>(length, channels, size, room.frame(0), stride * channels, 1, w3, size, beside, size);
            add_sums(length, size, beside, third_norm.mean, sums3 + t * 2 * size);
        }
    });
    first_norm.finish(threads, whole * length, sums1, add, eps1, share1, norm1);
    if (shortcut) third_norm.finish(threads, whole * length, sums3, add, eps3, share3, norm3);
    share(threads, clips, [&](long t, long first, long last) {
        Room room(length, wide, BESIDE);
        for (long clip = first; clip < last; clip++) {
            float *to = z2 + clip * of_clip;
            fill_active(length, z1 + clip * of_clip, norm1, mask ? mask + clip * length : 0, room);
            product<false>(length, TAPS * wide, size, room.frame(-BESIDE), wide, 1, w2, size, to, size);
            add_sums(length, size, to, second_norm.mean, sums2 + t * 2 * size);
        }
    });
    second_norm.finish(threads, whole * length, sums2, add, eps2, share2, norm2);
    share(threads, clips, [&](long, long first, long last) {
        for (long place = first * length; place < last * length; place++) {
            vec open = all(mask ? mask[place] : 1);
            LOOP(c, size) {
                long at = place * size + c;
                vec y = load(z2 + at) * load(norm2 + 2 * size + c) + load(norm2 + 3 * size + c), beside;
                if (shortcut) beside = relu(load(z3 + at) * load(norm3 + 2 * size + c) + load(norm3 + 3 * size + c)) * open;
                else beside = load(x + at);
                store(out + at, relu(y + beside) * open);
            }
        }
    });
}

// From the gradient of `residual`'s out, those of x and of all weights
API void residual_backward(long threads, long clips, long frames, long channels, long wide, long stride, long whole,
                           Add add, const float *gradient, const float *x, const float *conv1, const float *conv2,
                           const float *shortcut, const float *mask, const float *z1, const float *z2, const float *z3,
                           const float *norm1, const float *norm2, const float *norm3, const float *out, float *of_x,
                           float *of_conv1, float *of_weight1, float *of_bias1, float *of_conv2, float *of_weight2,
                           float *of_bias2, float *of_shortcut, float *of_weight3, float *of_bias3) {
    long length = (frames + stride - 1) / stride, in = lane(channels), size = lane(wide), of_clip = length * size;
    long many1 = TAPS * channels * size, many2 = TAPS * wide * size, many3 = channels * size;
    Scratch<float> back1(2 * size), back2(2 * size), back3(2 * size), w3(wide * in);
    Scratch<float> g1(clips * of_clip), g2(clips * of_clip), g3(shortcut ? clips * of_clip : 1);
    Scratch<float> found1(threads * many1, true), found2(threads * many2, true), found3(threads * many3, true);
    Scratch<double> sums1(threads * 2 * size, true), sums2(threads * 2 * size, true), sums3(threads * 2 * size, true);
    Back to_x(stride, wide, channels, conv1), to_y(1, wide, wide, conv2);
    if (shortcut) backward_factor(wide, channels, 1, 0, 1, 1, shortcut, w3);
    share(threads, clips, [&](long t, long first, long last) {
        for (long clip = first; clip < last; clip++) {
            long from = clip * of_clip;
            const float *open = mask ? mask + clip * length : 0;
            // What the mask set to zero is as closed as what the ReLU did.
            for (long at = from; at < from + of_clip; at += LANES)
                store(g2 + at, where_open(load(out + at), load(gradient + at)));
            if (shortcut) {
                memcpy(g3 + from, g2 + from, sizeof(float) * of_clip);
                close_gradient(length, size, z3 + from, norm3, open, g3 + from, sums3 + t * 2 * size);
            }
            double *sums = sums2 + t * 2 * size;
            LOOP(c, size) {
                vec sum = all(0), cross = all(0), m = load(norm2 + c);
                for (long i = 0; i < length; i++) {
                    vec g = load(g2 + from + i * size + c);
                    sum += g, cross += g * (load(z2 + from + i * size + c) - m);
                }
                add_to(sums + c, sum), add_to(sums + size + c, cross);
            }
        }
    });
    padded_finish_backward(threads, wide, whole * length, sums2, add, norm2, of_weight2, of_bias2, back2);
    if (shortcut) padded_finish_backward(threads, wide, whole * length, sums3, add, norm3, of_weight3, of_bias3, back3);
    share(threads, clips, [&](long t, long first, long last) {
        Room d(length, wide, BESIDE), y(length, wide, BESIDE);
        for (long clip = first; clip < last; clip++) {
            long from = clip * of_clip;
            const float *open = mask ? mask + clip * length : 0;
            fill_gradient(length, g2 + from, z2 + from, norm2, back2, d);
            fill_active(length, z1 + from, norm1, open, y);
            product<true>(TAPS * wide, length, size, y.frame(-BESIDE), 1, wide, d.frame(0), wide, found2 + t * many2,
                          size);
            to_y(length, d, g1 + from);
            close_gradient(length, size, z1 + from, norm1, open, g1 + from, sums1 + t * 2 * size);
        }
    });
    padded_finish_backward(threads, wide, whole * length, sums1, add, norm1, of_weight1, of_bias1, back1);
    share(threads, clips, [&](long t, long first, long last) {
        Room d(length, wide, BESIDE), d3(length, wide, 0), seen(frames, channels, BESIDE);
        for (long clip = first; clip < last; clip++) {
            long from = clip * of_clip;
            float *to = of_x + clip * frames * in;
            fill(frames, x + clip * frames * in, seen);
            fill_gradient(length, g1 + from, z1 + from, norm1, back1, d);
            product<true>(TAPS * channels, length, size, seen.frame(-BESIDE), 1, stride * channels, d.frame(0), wide,
                          found1 + t * many1, size);
            to_x(frames, d, to);
            if (!shortcut) {
                for (long at = 0; at < of_clip; at += LANES) store(to + at, load(to + at) + load(g2 + from + at));
                continue;
            }
            fill_gradient(length, g3 + from, z3 + from, norm3, back3, d3);
            product<true>(channels, length, size, seen.frame(0), 1, stride * channels, d3.frame(0), wide,
                          found3 + t * many3, size);
            product<true>(length, wide, in, d3.frame(0), wide, 1, w3, in, to, stride * in);
        }
    });
    gather_factor(threads, wide, channels, TAPS, found1, of_conv1);
    gather_factor(threads, wide, wide, TAPS, found2, of_conv2);
    if (shortcut) gather_factor(threads, wide, channels, 1, found3, of_shortcut);
}

enum { STEM_TAPS = 3 };

// z = convolution over STEM_TAPS frames of x (clips, bands, frames), whose bands are its channels, and
// out = relu(norm(z)) * mask. As a factor, x is read across its bands, and need not be turned.
API void temporal_stem(long threads, long clips, long bands, long frames, long wide, long whole, Add add, const float *x,
                     const float *weight, NORM(1), const float *mask, float *z, float *norm, float *out) {
    long size = lane(wide), of_clip = frames * size, of_tap = bands * size;
    Scratch<float> w(STEM_TAPS * of_tap);
    Scratch<double> sums(threads * 2 * size, true);
    Padded padded(wide, weight1, bias1, mean1, var1);
    forward_factor(wide, bands, STEM_TAPS, weight, w);
    share(threads, clips, [&](long t, long first, long last) {
        for (long clip = first; clip < last; clip++) {
            float *to = z + clip * of_clip;
            const float *from = x + clip * bands * frames;
            product<false>(frames, bands, size, from, 1, frames, w + of_tap, size, to, size);
            product<true>(frames - 1, bands, size, from, 1, frames, w, size, to + size, size);
            product<true>(frames - 1, bands, size, from + 1, 1, frames, w + 2 * of_tap, size, to, size);
            add_sums(frames, size, to, padded.mean, sums + t * 2 * size);
        }
    });
    padded.finish(threads, whole * frames, sums, add, eps1, share1, norm);
    share(threads, clips, [&](long, long first, long last) {
        activate(first, last, 1, frames, size, z, norm, mask, 0, out);
    });
}

// From the gradient of `temporal_stem`'s out, those of all weights
API void temporal_stem_backward(long threads, long clips, long bands, long frames, long wide, long whole, Add add,
                              const float *gradient, const float *x, const float *mask, const float *z,
                              const float *norm, float *of_weight, float *of_weight1, float *of_bias1) {
    long size = lane(wide), of_clip = frames * size, of_tap = bands * size, many = STEM_TAPS * of_tap;
    Scratch<float> found(threads * many, true), g(clips * of_clip), back(2 * size);
    Scratch<double> sums(threads * 2 * size, true);
    memcpy(g, gradient, sizeof(float) * clips * of_clip);
    share(threads, clips, [&](long t, long first, long last) {
        for (long clip = first; clip < last; clip++)
            close_gradient(frames, size, z + clip * of_clip, norm, mask ? mask + clip * frames : 0, g + clip * of_clip,
                           sums + t * 2 * size);
    });
    padded_finish_backward(threads, wide, whole * frames, sums, add, norm, of_weight1, of_bias1, back);
    share(threads, clips, [&](long t, long first, long last) {
        Room d(frames, wide, 0);
        float *own = found + t * many;
        for (long clip = first; clip < last; clip++) {
            const float *from = x + clip * bands * frames;
            fill_gradient(frames, g + clip * of_clip, z + clip * of_clip, norm, back, d);
            product<true>(bands, frames - 1, size, from, frames, 1, d.frame(1), wide, own, size);
            product<true>(bands, frames, size, from, frames, 1, d.frame(0), wide, own + of_tap, size);
            product<true>(bands, frames - 1, size, from + 1, frames, 1, d.frame(0), wide, own + 2 * of_tap, size);
        }
    });
    gather_factor(threads, wide, bands, STEM_TAPS, found, of_weight);
}
