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
 * `cc -DEMBCOMP_TEST FILE.c -lm` makes a program that compares itself with the test vectors at the end.
 */
#include <math.h>
#include <stdint.h>

#define EMBCOMP_CLASSES @CLASSES@
#define EMBCOMP_MAX_SAMPLES @MAX_SAMPLES@
#define MULTI_LABEL @MULTI_LABEL@ /* each class has a probability of its own */
#define INT8 @INT8@               /* weights are 8-bit numbers with a scale for each output channel */
#define N_FFT @N_FFT@
#define HOP @HOP@
#define N_MELS @N_MELS@
#define FLOOR @FLOOR@ /* added to the energy of a band before the logarithm */
#define PER_CLIP @PER_CLIP@ /* the clip's own mean and deviation are taken out; else those of the training clips */
#define SMALLEST 1e-2f
#define STEM @STEM@
#define WIDEST @WIDEST@
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

/* A layer: weights, by output channel; what they are multiplied by if they are 8-bit numbers; biases. Batch norms are
 * folded into them. */
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
static float real[N_FFT], imaginary[N_FFT];

static float scaled(float sum, Layer layer, int channel)
{
#if INT8
    sum *= layer.scales[channel];
#endif
    return sum + layer.biases[channel];
}

static float relu(float x) { return x > 0 ? x : 0; }

/* ---- front end ---- */

/* Fast Fourier transform of `real` and `imaginary` in place: Cooley and Tukey, radix 2. */
static void transform(void)
{
    for (int i = 1, j = 0; i < N_FFT; i++) { /* order of reversed bits */
        int bit = N_FFT >> 1;
        for (; j & bit; bit >>= 1) j ^= bit;
        j ^= bit;
        if (i < j) {
            float swap = real[i];
            real[i] = real[j], real[j] = swap;
            swap = imaginary[i], imaginary[i] = imaginary[j], imaginary[j] = swap;
        }
    }
    for (int size = 2; size <= N_FFT; size <<= 1) {
        for (int first = 0; first < N_FFT; first += size) {
            for (int k = 0; k < size / 2; k++) {
                int a = first + k, b = a + size / 2, turn = k * (N_FFT / size);
                float re = real[b] * cosines[turn] + imaginary[b] * sines[turn];
                float im = imaginary[b] * cosines[turn] - real[b] * sines[turn];
                real[b] = real[a] - re, imaginary[b] = imaginary[a] - im;
                real[a] += re, imaginary[a] += im;
            }
        }
    }
}

/* Log-mel spectrogram (N_MELS, frames): frame t is centred on sample t * HOP, with zeros around the clip. */
static void log_mel(const embcomp_sample *samples, int count, int frames, float *map)
{
    for (int t = 0; t < frames; t++) {
        for (int i = 0; i < N_FFT; i++) {
            int at = t * HOP - N_FFT / 2 + i;
            real[i] = at >= 0 && at < count ? (float)samples[at] * (@SCALE@) * window[i] : 0;
            imaginary[i] = 0;
        }
        transform();
        const float *filter = filters;
        for (int band = 0; band < N_MELS; band++) {
            float energy = 0;
            for (int bin = filter_begin[band]; bin < filter_end[band]; bin++)
                energy += *filter++ * (real[bin] * real[bin] + imaginary[bin] * imaginary[bin]);
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

/* Sum of a 3x3 patch about (2 or 1 times y, x) of one channel; outside of the map are zeros. */
static float patch(const float *map, int bands, int frames, int channels, int channel, int y, int x, const weight *w)
{
    float sum = 0;
    for (int dy = -1; dy <= 1; dy++)
        for (int dx = -1; dx <= 1; dx++, w++)
            if (y + dy >= 0 && y + dy < bands && x + dx >= 0 && x + dx < frames)
                sum += map[((y + dy) * frames + x + dx) * channels + channel] * (float)*w;
    return sum;
}

static void run_stem(const float *in, float *out, int bands, int frames)
{
    for (int y = 0; y < bands; y += 2)
        for (int x = 0; x < frames; x += 2)
            for (int c = 0; c < STEM; c++)
                *out++ = relu(scaled(patch(in, bands, frames, 1, 0, y, x, stem.weights + 9 * c), stem, c));
}

static void run_block(Block block, const float *in, float *out, int bands, int frames)
{
    float middle[WIDEST];
    for (int y = 0; y < bands; y += block.stride) {
        for (int x = 0; x < frames; x += block.stride) {
            for (int c = 0; c < block.in; c++) {
                const weight *w = block.depthwise.weights + 9 * c;
                middle[c] = relu(scaled(patch(in, bands, frames, block.in, c, y, x, w), block.depthwise, c));
            }
            const weight *w = block.pointwise.weights;
            for (int o = 0; o < block.out; o++) {
                float sum = 0;
                for (int c = 0; c < block.in; c++) sum += middle[c] * (float)*w++;
                *out = relu(scaled(sum, block.pointwise, o));
                if (block.skip) *out += in[(y * frames + x) * block.in + o];
                out++;
            }
        }
    }
}

/* One weight for each band and channel, ReLU, then the mean over time. */
static void run_across(const float *map, int frames, float *pooled)
{
    for (int c = 0; c < LAST; c++) {
        pooled[c] = 0;
        for (int x = 0; x < frames; x++) {
            float sum = 0;
            for (int y = 0; y < LAST_BANDS; y++)
                sum += map[(y * frames + x) * LAST + c] * (float)across.weights[c * LAST_BANDS + y];
            pooled[c] += relu(scaled(sum, across, c));
        }
        pooled[c] /= (float)frames;
    }
}

static void run_linear(Layer layer, const float *in, int wide, float *out, int narrow)
{
    const weight *w = layer.weights;
    for (int o = 0; o < narrow; o++) {
        float sum = 0;
        for (int i = 0; i < wide; i++) sum += in[i] * (float)*w++;
        out[o] = scaled(sum, layer, o);
    }
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
