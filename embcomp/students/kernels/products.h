// Products of matrices: c (rows, columns) = or += a (rows, k) b (k, columns), a block of c in registers. Rows of a lie
// `row` apart and its columns `step`; rows of b and of c lie `below` and `under` apart.

#pragma once

#include "lanes.h"

#ifdef PAIRS
// Two bfloat16 that are neighbours along k, the first in the lower half: one instruction does both of their products.
typedef unsigned factor;
typedef uvec factors;
static inline factors every(factor x) {
    factors zero = {};
    return zero + x;
}
static inline vec add_product(vec sum, factors a, factors b) {
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}
static inline factors pair(vec first, vec second) {
    return __builtin_convertvector(rounded(first), uvec) | __builtin_convertvector(rounded(second), uvec) << 16;
}
enum { AT_ONCE = 2 };
#else
typedef float factor;
typedef vec factors;
static inline factors every(factor x) { return all(x); }
static inline vec add_product(vec sum, factors a, factors b) { return sum + a * b; }
enum { AT_ONCE = 1 };
#endif

// A block with its factors must fit into the registers: sums that do not are written and read again at each step.
enum { WIDE = REGISTERS == 32 ? 4 : 2 };

template <int ROWS, int COLUMNS, bool ADD>
static void block(long k, const factor *a, long row, long step, const factor *b, long below, float *c, long under) {
    vec sum[ROWS][COLUMNS];
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLUMNS; j++) sum[i][j] = ADD ? load(c + i * under + j * LANES) : all(0);
    for (long p = 0; p < k; p++) {
        factors right[COLUMNS];
        for (int j = 0; j < COLUMNS; j++) right[j] = *(const factors *)(b + p * below + j * LANES);
        for (int i = 0; i < ROWS; i++) {
            factors left = every(a[i * row + p * step]);
            for (int j = 0; j < COLUMNS; j++) sum[i][j] = add_product(sum[i][j], left, right[j]);
        }
    }
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLUMNS; j++) store(c + i * under + j * LANES, sum[i][j]);
}

template <int COLUMNS, bool ADD>
static void strip(long rows, long k, const factor *a, long row, long step, const factor *b, long below, float *c,
                  long under) {
    enum { MOST = COLUMNS <= WIDE / 2 ? 12 : 6 };  // narrow blocks are taller, or their sums would wait for each other
    for (; rows >= MOST && rows != MOST + 2; rows -= MOST, a += MOST * row, c += MOST * under)
        block<MOST, COLUMNS, ADD>(k, a, row, step, b, below, c, under);
    for (; rows >= 4; rows -= 4, a += 4 * row, c += 4 * under)
        block<4, COLUMNS, ADD>(k, a, row, step, b, below, c, under);
    if (rows == 3) block<3, COLUMNS, ADD>(k, a, row, step, b, below, c, under);
    if (rows == 2) block<2, COLUMNS, ADD>(k, a, row, step, b, below, c, under);
    if (rows == 1) block<1, COLUMNS, ADD>(k, a, row, step, b, below, c, under);
}

template <bool ADD>
static void product(long rows, long k, long width, const factor *a, long row, long step, const factor *b, long below,
                    float *c, long under) {
    for (long j = 0; j < width; j += WIDE * LANES) {
        long left = (width - j) / LANES;
        if (left >= 4 && WIDE >= 4) strip<4, ADD>(rows, k, a, row, step, b + j, below, c + j, under);
        else if (left == 3 && WIDE >= 3) strip<3, ADD>(rows, k, a, row, step, b + j, below, c + j, under);
        else if (left >= 2) strip<2, ADD>(rows, k, a, row, step, b + j, below, c + j, under);
        else strip<1, ADD>(rows, k, a, row, step, b + j, below, c + j, under);
    }
}

// Of matrices whose rows follow each other
template <bool ADD>
static void product(long rows, long k, long width, const factor *a, long row, long step, const factor *b, float *c) {
    product<ADD>(rows, k, width, a, row, step, b, width, c, width);
}

// b (rows, width) as the right factor of a product over its rows
static const factor *packed(long rows, long width, const float *b, factor *room) {
#ifdef PAIRS
    for (long i = 0; i < rows; i += 2)
        LOOP(c, width) {
            vec second = i + 1 < rows ? load(b + (i + 1) * width + c) : all(0);
            *(factors *)(room + i / 2 * width + c) = pair(load(b + i * width + c), second);
        }
    return room;
#else
    (void)rows, (void)width, (void)room;
    return b;
#endif
}

enum { OVER_COLUMNS = 1, OVER_ROWS = 2 };

// Up to TILE rows as factors of products over their columns, their rows, or both
template <int PRODUCTS>
struct Factors {
    long width;
    Scratch<factor> columns, rows;
    explicit Factors(long width) : width(width), columns(TILE * width), rows(AT_ONCE == 2 ? TILE * width / 2 : 1) {}

    // Rows i, which is even, and i + 1
    void put(long i, long c, vec first, vec second) {
#ifdef PAIRS
        if (PRODUCTS & OVER_COLUMNS) {
            store((number *)columns.at + i * width + c, first);
            store((number *)columns.at + (i + 1) * width + c, second);
        }
        if (PRODUCTS & OVER_ROWS) *(factors *)(rows + i / 2 * width + c) = pair(first, second);
#else
        store(columns + i * width + c, first);
        store(columns + (i + 1) * width + c, second);
#endif
    }
    const factor *over_columns() { return columns; }
    const factor *over_rows() { return AT_ONCE == 2 ? rows : columns; }
};
