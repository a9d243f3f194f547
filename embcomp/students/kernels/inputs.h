// What is done to log-mels (clips, bands, frames) before the first layer: augmentation, and normalisation of each clip.

#pragma once

#include <math.h>
#include "lanes.h"
#include "threads.h"

static double sum_of(const float *x, long count) {
    vec sum = all(0);
    long i = 0;
    for (; i + LANES <= count; i += LANES) sum += load(x + i);
    double total = 0;
    for (int lane = 0; lane < LANES; lane++) total += sum[lane];
    for (; i < count; i++) total += x[i];
    return total;
}

// Parts of an axis, (masks, 2, clips): where each begins and ends, in places that need not be whole
struct Parts {
    long masks, clips;
    const float *at;
    // Calls with the first place of each part of a clip and the one behind its last
    template <typename Each>
    void of(long clip, long size, const Each &each) const {
        for (long mask = 0; mask < masks; mask++) {
            const float *begin = at + 2 * mask * clips + clip;
            long first = (long)ceilf(begin[0]), last = (long)ceilf(begin[clips]);
            each(first < 0 ? 0 : first, last < size ? last : size);
        }
    }
};

// out = x, raised by gain (clips) and curve (clips, bands), its `lengths` valid frames turned round by `turns` (clips), and
// parts of these hidden under the clip's mean; what is null is left out.
API void change(long threads, long clips, long bands, long frames, const float *x, const long long *lengths,
                const float *gain, const float *curve, const long long *turns, long band_masks,
                const float *hidden_bands, long frame_masks, const float *hidden_frames, float *out) {
    Parts of_bands = {band_masks, clips, hidden_bands}, of_frames = {frame_masks, clips, hidden_frames};
    Scratch<char> covered(threads * bands);
    share(threads, clips, [&](long t, long first, long last) {
        char *cover = covered + t * bands;
        for (long clip = first; clip < last; clip++) {
            const float *from = x + clip * bands * frames;
            long length = lengths[clip], turn = turns ? ((long)turns[clip] % length + length) % length : 0;
            float up = gain ? gain[clip] : 0;
            double sum = 0;
            for (long band = 0; band < bands; band++)
                sum += sum_of(from + band * frames, length) + length * ((double)up + (curve ? curve[clip * bands + band] : 0));
            float mean = sum / (length * bands);
            memset(cover, 0, bands);
            of_bands.of(clip, bands, [&](long begin, long end) {
                for (long band = begin; band < end; band++) cover[band] = 1;
            });
            for (long band = 0; band < bands; band++) {
                const float *in = from + band * frames;
                float *to = out + (clip * bands + band) * frames, bend = curve ? curve[clip * bands + band] : 0;
                auto fill = [&](long begin, long end) {
                    for (long i = begin; i < end; i++) to[i] = mean;
                };
                for (long i = length; i < frames; i++) to[i] = in[i] + up + bend;
                if (cover[band]) {
                    fill(0, length);
                    continue;
                }
                for (long i = 0; i < turn; i++) to[i] = in[i + length - turn] + up + bend;
                for (long i = turn; i < length; i++) to[i] = in[i - turn] + up + bend;
                of_frames.of(clip, length, fill);
            }
        }
    });
}

// out = (x - mean) / (deviation + smallest) of each clip, over all bands and the frames where mask (clips, frames) is 1;
// zero elsewhere. A variance counts for no less than `flat`.
API void normalise(long threads, long clips, long bands, long frames, const float *x, const float *mask, double smallest,
                   double flat, float *out) {
    share(threads, clips, [&](long, long first, long last) {
        for (long clip = first; clip < last; clip++) {
            const float *from = x + clip * bands * frames, *open = mask ? mask + clip * frames : 0;
            float *to = out + clip * bands * frames;
            double sum = 0, square = 0, count = (open ? sum_of(open, frames) : frames) * bands;
            for (long band = 0; band < bands; band++) {
                const float *in = from + band * frames;
                float *masked = to + band * frames;
                for (long i = 0; i < frames; i++) masked[i] = open ? in[i] * open[i] : in[i];
                sum += sum_of(masked, frames);
            }
            float mean = sum / count;
            for (long band = 0; band < bands; band++) {
                float *at = to + band * frames;
                const float *in = from + band * frames;
                vec squares = all(0);
                long i = 0;
                for (; i + LANES <= frames; i += LANES) {
                    vec off = load(in + i) - all(mean);
                    if (open) off *= load(open + i);
                    store(at + i, off);
                    squares += off * off;
                }
                for (int lane = 0; lane < LANES; lane++) square += squares[lane];
                for (; i < frames; i++) {
                    at[i] = (in[i] - mean) * (open ? open[i] : 1);
                    square += at[i] * at[i];
                }
            }
            double variance = square / count;
            float deviation = (float)sqrt(variance > flat ? variance : flat) + (float)smallest;
            for (long i = 0; i < bands * frames; i++) to[i] /= deviation;
        }
    });
}
