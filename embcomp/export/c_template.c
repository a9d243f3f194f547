/* @TITLE@
 *
 * One clip in, probabilities out: C99 and <math.h>, without allocation. Written by `embcomp export --to c`;
 * change the template and export again rather than this file.
 *
 *     float probabilities[EMBCOMP_CLASSES];
 *     int label = embcomp_predict(samples, count, probabilities);
 *
 * gives the likeliest class, embcomp_labels[label], or -1 where count is not in 1 ... EMBCOMP_MAX_SAMPLES.
 * Samples: @SAMPLES@, @RATE@ Hz, one channel.
 *
 * Scratch memory is static, @RAM@ bytes: one call at a time. Weights and tables: @FLASH@ bytes.
 * `cc -O3 -DEMBCOMP_TEST FILE.c -lm` makes a program that compares itself with the test vectors at the end.
 */
#include <math.h>
#include <stdint.h>

#define EMBCOMP_CLASSES @CLASSES@
#define EMBCOMP_MAX_SAMPLES @MAX_SAMPLES@
#define MULTI_LABEL @MULTI_LABEL@ /* each class has a probability of its own */
#define INT8 @INT8@               /* weights are 8-bit numbers with a scale for each output channel */
#define N_FFT @N_FFT@
#define HALF (N_FFT / 2)
#define HOP @HOP@
#define N_MELS @N_MELS@
#define FLOOR @FLOOR@ /* added to the energy of a band before the logarithm */
#define PER_CLIP @PER_CLIP@ /* the clip's own mean and deviation are taken out; else those of the training clips */
#define SMALLEST 1e-2f
#define STEM @STEM@
#define WIDEST @WIDEST@
#define PLACES 4 /* of a map, at a time */
#define BLOCKS @N_BLOCKS@
#define LAST_BANDS @LAST_BANDS@
#define LAST @LAST@
#define EMBEDDING @EMBEDDING@

typedef @SAMPLE@ embcomp_sample;
#if INT8
typedef int8_t weight;
#else
typedef float weight;
#endif

/* A layer: weights; what they are multiplied by, by output channel, if they are 8-bit numbers; biases. Batch norms are folded
 * into them. Output channels are side by side in the weights, as they are in maps: inner loops run over them, one of
 * independent sums, for which a compiler finds vector instructions. */
typedef struct {
    const weight *weights;
    const float *scales, *biases;
} Layer;

/* Depthwise 3x3, then pointwise 1x1, each with ReLU; with `skip` the input is added to the output. */
typedef struct {
    Layer depthwise, pointwise;
    int in, out, stride, skip;
} Block;

const char *const embcomp_labels[EMBCOMP_CLASSES] = {@LABELS@};

/* ---- tables ---- */
@TABLES@

/* ---- memory: two maps, each of which is read while the other is written ---- */
static float even_map[@EVEN@], odd_map[@ODD@];
static float real[HALF], imaginary[HALF], power[HALF + 1];
static float rows[PLACES][WIDEST], mixed[PLACES][WIDEST];

/* ---- front end ---- */

/* Fast Fourier transform of N_FFT real numbers (Cooley, Lewis & Welch 1970). Even ones come in `real`, odd ones in
 * `imaginary`: one complex transform of half the size, Cooley and Tukey's with radix 2, holds both spectra, which the last
 * loop takes apart. Leaves the power of bins 0 ... N_FFT / 2 in `power`. */
static void transform(void)
{
    for (int i = 1, j = 0; i < HALF; i++) { /* order of reversed bits */
        int bit = HALF >> 1;
        for (; j & bit; bit >>= 1) j ^= bit;
        j ^= bit;
        if (i < j) {
            float swap = real[i];
            real[i] = real[j], real[j] = swap;
            swap = imaginary[i], imaginary[i] = imaginary[j], imaginary[j] = swap;
        }
    }
    for (int size = 2; size <= HALF; size <<= 1) {
        int half = size / 2, turn = N_FFT / size;
        for (int k = 0; k < half; k++) {
            float c = cosines[k * turn], s = sines[k * turn];
            for (int a = k; a < HALF; a += size) {
                int b = a + half;
                float re = real[b] * c + imaginary[b] * s, im = imaginary[b] * c - real[b] * s;
                real[b] = real[a] - re, imaginary[b] = imaginary[a] - im;
                real[a] += re, imaginary[a] += im;
            }
        }
    }
    for (int k = 0, j = 0; k <= HALF / 2; k++, j = HALF - k) { /* bins k and HALF - k */
        float even_re = (real[k] + real[j]) / 2, even_im = (imaginary[k] - imaginary[j]) / 2;
        float odd_re = (imaginary[k] + imaginary[j]) / 2, odd_im = (real[j] - real[k]) / 2;
        float re = odd_re * cosines[k] + odd_im * sines[k], im = odd_im * cosines[k] - odd_re * sines[k];
        power[k] = (even_re + re) * (even_re + re) + (even_im + im) * (even_im + im);
        power[HALF - k] = (even_re - re) * (even_re - re) + (even_im - im) * (even_im - im);
    }
}

/* Log-mel spectrogram (N_MELS, frames): frame t is centred on sample t * HOP, with zeros around the clip. */
static void log_mel(const embcomp_sample *samples, int count, int frames, float *map)
{
    for (int t = 0; t < frames; t++) {
        for (int i = 0; i < N_FFT; i++) {
            int at = t * HOP - HALF + i;
            float x = at >= 0 && at < count ? (float)samples[at] * (@SCALE@) * window[i] : 0;
            *(i % 2 ? &imaginary[i / 2] : &real[i / 2]) = x;
        }
        transform();
        const float *filter = filters;
        for (int band = 0; band < N_MELS; band++) {
            float energy = 0;
            for (int bin = filter_begin[band]; bin < filter_end[band]; bin++)
                energy += *filter++ * power[bin];
            map[band * frames + t] = logf(energy + FLOOR);
        }
    }
}

static void normalise(float *map, int frames)
{
#if PER_CLIP
    float bands[N_MELS], clip = 0, variance = 0;
    for (int band = 0; band < N_MELS; band++) {
        bands[band] = 0;
        for (int t = 0; t < frames; t++) bands[band] += map[band * frames + t];
        bands[band] /= (float)frames;
        clip += bands[band] / N_MELS;
    }
    for (int band = 0; band < N_MELS; band++) {
        float mean = clip + norm_a[band] * (bands[band] - clip); /* norm_a: how much of the band's own mean goes */
        for (int t = 0; t < frames; t++) {
            float *x = &map[band * frames + t];
            *x -= mean;
            variance += *x * *x;
        }
    }
    float scale = 1 / (sqrtf(variance / ((float)frames * N_MELS)) + SMALLEST);
    for (int i = 0; i < N_MELS * frames; i++) map[i] *= scale;
#else
    for (int band = 0; band < N_MELS; band++)
        for (int t = 0; t < frames; t++)
            map[band * frames + t] = (map[band * frames + t] - norm_a[band]) / norm_b[band];
#endif
}

/* ---- network: a map is (bands, frames, channels), the channels of a place side by side ---- */

/* Scale, bias and, if wanted, ReLU of the sums of all output channels of a place. */
static void finish(Layer layer, float *sums, int channels, int relu)
{
    for (int c = 0; c < channels; c++) {
#if INT8
        float x = sums[c] * layer.scales[c] + layer.biases[c];
#else
        float x = sums[c] + layer.biases[c];
#endif
        sums[c] = relu && x < 0 ? 0 : x;
    }
}

/* A dense layer at PLACES places: sums[p][o] = sum of in[p][i] * weights[i][o], four i at a time. */
static void mix(Layer layer, float in[PLACES][WIDEST], int wide, float sums[PLACES][WIDEST], int narrow)
{
    for (int p = 0; p < PLACES; p++)
        for (int o = 0; o < narrow; o++) sums[p][o] = 0;
    const weight *w = layer.weights;
    for (int i = 0; i + 4 <= wide; i += 4, w += 4 * narrow) {
        for (int o = 0; o < narrow; o++) {
            float w0 = w[o], w1 = w[narrow + o], w2 = w[2 * narrow + o], w3 = w[3 * narrow + o];
            for (int p = 0; p < PLACES; p++)
                sums[p][o] += in[p][i] * w0 + in[p][i + 1] * w1 + in[p][i + 2] * w2 + in[p][i + 3] * w3;
        }
    }
    for (int i = wide / 4 * 4; i < wide; i++, w += narrow)
        for (int o = 0; o < narrow; o++)
            for (int p = 0; p < PLACES; p++) sums[p][o] += in[p][i] * (float)w[o];
}

/* Adds the 3x3 patch about (y, x), channel by channel; outside of the map are zeros. */
static void depthwise(Layer layer, const float *map, int bands, int frames, int channels, int y, int x, float *sums)
{
    for (int c = 0; c < channels; c++) sums[c] = 0;
    for (int dy = -1; dy <= 1; dy++) {
        for (int dx = -1; dx <= 1; dx++) {
            if (y + dy < 0 || y + dy >= bands || x + dx < 0 || x + dx >= frames) continue;
            const float *in = map + ((y + dy) * frames + x + dx) * channels;
            const weight *w = layer.weights + (3 * dy + dx + 4) * channels;
            for (int c = 0; c < channels; c++) sums[c] += in[c] * (float)w[c];
        }
    }
    finish(layer, sums, channels, 1);
}

/* The same of a map of one channel, to STEM channels. */
static void run_stem(const float *in, float *out, int bands, int frames)
{
    for (int y = 0; y < bands; y += 2) {
        for (int x = 0; x < frames; x += 2, out += STEM) {
            for (int c = 0; c < STEM; c++) out[c] = 0;
            const weight *w = stem.weights;
            for (int dy = -1; dy <= 1; dy++) {
                for (int dx = -1; dx <= 1; dx++, w += STEM) {
                    if (y + dy < 0 || y + dy >= bands || x + dx < 0 || x + dx >= frames) continue;
                    float value = in[(y + dy) * frames + x + dx];
                    for (int c = 0; c < STEM; c++) out[c] += value * (float)w[c];
                }
            }
            finish(stem, out, STEM, 1);
        }
    }
}

/* PLACES places of a row at a time, so that weights are read, and made floats, once for all of them. */
static void run_block(Block block, const float *in, float *out, int bands, int frames)
{
    for (int y = 0; y < bands; y += block.stride) {
        for (int first = 0; first < frames; first += PLACES * block.stride) {
            int places = (frames - first + block.stride - 1) / block.stride;
            if (places > PLACES) places = PLACES;
            for (int p = 0; p < places; p++) {
                int x = first + p * block.stride;
                depthwise(block.depthwise, in, bands, frames, block.in, y, x, rows[p]);
            }
            mix(block.pointwise, rows, block.in, mixed, block.out);
            for (int p = 0; p < places; p++, out += block.out) {
                finish(block.pointwise, mixed[p], block.out, 1);
                const float *old = in + (y * frames + first + p) * block.in;
                for (int o = 0; o < block.out; o++) out[o] = mixed[p][o] + (block.skip ? old[o] : 0);
            }
        }
    }
}

/* One weight for each band and channel, ReLU, then the mean over time. */
static void run_across(const float *map, int frames, float *pooled)
{
    float sums[LAST];
    for (int c = 0; c < LAST; c++) pooled[c] = 0;
    for (int x = 0; x < frames; x++) {
        for (int c = 0; c < LAST; c++) sums[c] = 0;
        for (int y = 0; y < LAST_BANDS; y++) {
            const float *in = map + (y * frames + x) * LAST;
            const weight *w = across.weights + y * LAST;
            for (int c = 0; c < LAST; c++) sums[c] += in[c] * (float)w[c];
        }
        finish(across, sums, LAST, 1);
        for (int c = 0; c < LAST; c++) pooled[c] += sums[c] / (float)frames;
    }
}

static void run_linear(Layer layer, const float *in, int wide, float *out, int narrow)
{
    for (int o = 0; o < narrow; o++) out[o] = 0;
    const weight *w = layer.weights;
    for (int i = 0; i < wide; i++, w += narrow)
        for (int o = 0; o < narrow; o++) out[o] += in[i] * (float)w[o];
    finish(layer, out, narrow, 0);
}

int embcomp_predict(const embcomp_sample *samples, int count, float *probabilities)
{
    if (count < 1 || count > EMBCOMP_MAX_SAMPLES) return -1;
    int bands = N_MELS, frames = 1 + count / HOP;
    float pooled[LAST], embedding[EMBEDDING];

    log_mel(samples, count, frames, even_map);
    normalise(even_map, frames);
    run_stem(even_map, odd_map, bands, frames);
    bands = (bands + 1) / 2, frames = (frames + 1) / 2;
    for (int i = 0; i < BLOCKS; i++) {
        run_block(blocks[i], i % 2 ? even_map : odd_map, i % 2 ? odd_map : even_map, bands, frames);
        if (blocks[i].stride == 2) bands = (bands + 1) / 2, frames = (frames + 1) / 2;
    }
    run_across(BLOCKS % 2 ? even_map : odd_map, frames, pooled);
    run_linear(project, pooled, LAST, embedding, EMBEDDING);
    run_linear(classify, embedding, EMBEDDING, probabilities, EMBCOMP_CLASSES);

    int best = 0;
    for (int i = 1; i < EMBCOMP_CLASSES; i++)
        if (probabilities[i] > probabilities[best]) best = i;
#if MULTI_LABEL
    for (int i = 0; i < EMBCOMP_CLASSES; i++) probabilities[i] = 1 / (1 + expf(-probabilities[i]));
#else
    float largest = probabilities[best], sum = 0;
    for (int i = 0; i < EMBCOMP_CLASSES; i++) sum += probabilities[i] = expf(probabilities[i] - largest);
    for (int i = 0; i < EMBCOMP_CLASSES; i++) probabilities[i] /= sum;
#endif
    return best;
}

/* ---- test vectors: sounds made of whole numbers, the same on every machine, and what Python gives for them ---- */
#ifdef EMBCOMP_TEST
#include <stdio.h>

static const struct {
    uint32_t seed;
    int shift, period, count;
    float expected[EMBCOMP_CLASSES];
} vectors[] = {
@VECTORS@
};

int main(void)
{
    static embcomp_sample samples[EMBCOMP_MAX_SAMPLES];
    float probabilities[EMBCOMP_CLASSES], worst = 0;
    for (unsigned v = 0; v < sizeof vectors / sizeof *vectors; v++) {
        uint32_t noise = vectors[v].seed;
        for (int i = 0; i < vectors[v].count; i++) {
            noise = noise * 1664525u + 1013904223u;
            int32_t value = ((int32_t)(noise >> 16) - 32768) / (1 << vectors[v].shift);
            value += i / vectors[v].period % 2 ? 4096 : -4096;
            samples[i] = (embcomp_sample)((float)value @PCM@);
        }
        embcomp_predict(samples, vectors[v].count, probabilities);
        for (int i = 0; i < EMBCOMP_CLASSES; i++)
            worst = fmaxf(worst, fabsf(probabilities[i] - vectors[v].expected[i]));
    }
    printf("largest error %g\n", worst);
    return !(worst <= @TOLERANCE@);
}
#endif
