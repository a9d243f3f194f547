// Numbers side by side, as many as a register holds, and room for more.

#pragma once

#include <stdlib.h>
#include <string.h>

#if defined(__AVX512F__)
enum { LANES = 16, REGISTERS = 32 };
#elif defined(__AVX__)
enum { LANES = 8, REGISTERS = 16 };
#elif defined(__aarch64__)
enum { LANES = 4, REGISTERS = 32 };
#else
enum { LANES = 4, REGISTERS = 16 };
#endif
static const long TILE = 96;  // places worked on together: what belongs to them stays in the cache

#define API extern "C"
#define LOOP(c, count) for (long c = 0; c < (count); c += LANES)

typedef float vec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef unsigned uvec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef unsigned short hvec __attribute__((vector_size(LANES * 2), aligned(2), may_alias));

static inline vec all(float x) {
    vec zero = {};
    return x - zero;  // x itself, -0 too, so that no sum is left to do
}
static inline vec load(const float *p) { return *(const vec *)p; }
static inline void store(float *p, vec v) { *(vec *)p = v; }

#ifdef HALF
typedef unsigned short number;  // bfloat16: the first half of a float32, rounded to nearest
static inline vec load(const number *p) { return (vec)(__builtin_convertvector(*(const hvec *)p, uvec) << 16); }
#if defined(__AVX512BF16__)
#include <immintrin.h>
#define PAIRS 1
static inline hvec rounded(vec v) { return (hvec)_mm512_cvtneps_pbh((__m512)v); }
#else
static inline hvec rounded(vec v) {
    uvec bits = (uvec)v, even = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return __builtin_convertvector(v == v ? even : bits >> 16 | 64, hvec);  // not a number stays one
}
#endif
static inline void store(number *p, vec v) { *(hvec *)p = rounded(v); }
#else
typedef float number;
#endif

// Not a number stays one, so that a loss that is not finite is noticed.
static inline vec relu(vec x) { return x < all(0) ? all(0) : x; }
static inline vec where_open(vec before, vec gradient) { return before <= all(0) ? all(0) : gradient; }

static inline void add_to(double *sums, vec v) {
    for (int lane = 0; lane < LANES; lane++) sums[lane] += v[lane];
}

// Room that is given back at the end of a block, on the heap: the stack of a thread may be small
template <typename T>
struct Scratch {
    T *at;
    explicit Scratch(long count, bool zero = false) {
        long size = (sizeof(T) * count + 63) / 64 * 64;
        at = (T *)aligned_alloc(64, size);
        if (zero) memset(at, 0, size);
    }
    ~Scratch() { free(at); }
    operator T *() { return at; }
};
