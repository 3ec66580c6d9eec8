// SIMD vectors, and small matrix products over tiles of points with several points a vector. Arrays of a tile are [row][TILE] floats.
//
// A block of results stays in registers: BLOCK rows of VECTORS vectors fill three quarters of the 16 that x86-64 has, 32 with AVX-512.
#pragma once

#include <cstdint>
#include <cstring>

#include "interface.h"

namespace lanes {

#if defined(__AVX512F__)
constexpr int LANES = 16, BLOCK = 8;
#elif defined(__AVX__)
constexpr int LANES = 8, BLOCK = 4;
#else
constexpr int LANES = 4, BLOCK = 4;
#endif
constexpr int VECTORS = 3;
constexpr int TILE = 96;  // points; a multiple of LANES * VECTORS

typedef float Lane __attribute__((vector_size(4 * LANES)));
typedef int32_t Whole __attribute__((vector_size(4 * LANES)));

SURFRECON_INLINE Lane load(const float* from) {
    Lane lane;
    std::memcpy(&lane, from, sizeof lane);
    return lane;
}

SURFRECON_INLINE void store(float* to, Lane lane) { std::memcpy(to, &lane, sizeof lane); }

template <class To, class From>
SURFRECON_INLINE To same_bits(From from) {
    To to;
    static_assert(sizeof to == sizeof from, "of one size");
    std::memcpy(&to, &from, sizeof to);
    return to;
}

// The lane is in a register from here on: else compilers load it again for each product.
SURFRECON_INLINE void hold(Lane& lane) {
#if defined(__x86_64__)
    asm("" : "+v"(lane));
#else
    (void)lane;
#endif
}

// The sum of LANES partial sums.
SURFRECON_INLINE float sum(const float* parts) {
    float all = 0;
    for (int i = 0; i < LANES; ++i) all += parts[i];
    return all;
}

// ROWS rows of a product, VECTORS vectors of points.
template <int ROWS, bool TRANSPOSED>
SURFRECON_INLINE void product_block(const float* w, int64_t stride, int steps, const float* bias, const float* in, float* out) {
    Lane sums[ROWS][VECTORS];
    for (int r = 0; r < ROWS; ++r)
        for (int v = 0; v < VECTORS; ++v) sums[r][v] = Lane{} + (bias ? bias[r] : 0.0f);
    int k = 0;
    do {
        Lane x[VECTORS];
        for (int v = 0; v < VECTORS; ++v) x[v] = load(in + k * TILE + v * LANES);
        for (int r = 0; r < ROWS; ++r) {
            const float weight = TRANSPOSED ? w[k * stride + r] : w[r * stride + k];
            for (int v = 0; v < VECTORS; ++v) sums[r][v] += weight * x[v];
        }
    } while (++k < steps);  // there is one at least: the sums stay in registers
    for (int r = 0; r < ROWS; ++r)
        for (int v = 0; v < VECTORS; ++v) store(out + r * TILE + v * LANES, sums[r][v]);
}

// Fewer rows than BLOCK, maybe none.
template <bool TRANSPOSED, int ROWS = BLOCK - 1>
SURFRECON_INLINE void product_rest(int rows, const float* w, int64_t stride, int steps, const float* bias, const float* in, float* out) {
    if (rows == ROWS) product_block<ROWS, TRANSPOSED>(w, stride, steps, bias, in, out);
    if constexpr (ROWS > 1) product_rest<TRANSPOSED, ROWS - 1>(rows, w, stride, steps, bias, in, out);
}

// out = W in + bias, or, transposed, W^T in: `rows` rows of results, `steps` rows of `in`; `stride` is the length of a row of W in memory.
// After each few rows calls then(first, rows), while these are in the nearest cache.
template <bool TRANSPOSED, class Then>
SURFRECON_INLINE void product(
    const float* w, int64_t stride, int rows, int steps, const float* bias, const float* in, float* out, Then then) {
    const int64_t next = TRANSPOSED ? 1 : stride;
    for (int r = 0; r < rows; r += BLOCK) {
        for (int p = 0; p < TILE; p += LANES * VECTORS) {
            const float *const from = w + r * next, *const added = bias ? bias + r : nullptr;
            float* const to = out + r * TILE + p;
            if (r + BLOCK <= rows) product_block<BLOCK, TRANSPOSED>(from, stride, steps, added, in + p, to);
            else product_rest<TRANSPOSED>(rows - r, from, stride, steps, added, in + p, to);
        }
        then(r, rows - r < BLOCK ? rows - r : BLOCK);
    }
}

// Two factors of a sum over points of outer products.
struct Outer {
    const float* left;
    const float* right;
};

template <int ROWS, int COLUMNS>
SURFRECON_INLINE void outer_block(const Outer* terms, int count, int64_t left, int64_t right, float* w, int64_t stride) {
    Lane sums[ROWS][COLUMNS];
    for (int r = 0; r < ROWS; ++r)
        for (int c = 0; c < COLUMNS; ++c) sums[r][c] = Lane{};
    for (int t = 0; t < count; ++t)
        for (int p = 0; p < TILE; p += LANES) {
            Lane b[COLUMNS];
            for (int c = 0; c < COLUMNS; ++c) b[c] = load(terms[t].right + (right + c) * TILE + p);
            for (int r = 0; r < ROWS; ++r) {
                Lane a = load(terms[t].left + (left + r) * TILE + p);
                hold(a);
                for (int c = 0; c < COLUMNS; ++c) sums[r][c] += a * b[c];
            }
        }
    for (int r = 0; r < ROWS; ++r)
        for (int c = 0; c < COLUMNS; ++c) {
            float* const to = w + (r * stride + c) * LANES;
            store(to, load(to) + sums[r][c]);
        }
}

template <int ROWS>
SURFRECON_INLINE void outer_rows(const Outer* terms, int count, int64_t left, int columns, float* w, int64_t stride) {
    int c = 0;
    for (; c + VECTORS <= columns; c += VECTORS) outer_block<ROWS, VECTORS>(terms, count, left, c, w + c * LANES, stride);
    if (columns - c == 1) outer_block<ROWS, 1>(terms, count, left, c, w + c * LANES, stride);
    if (columns - c == 2) outer_block<ROWS, 2>(terms, count, left, c, w + c * LANES, stride);
}

// W (rows, columns) += the sum over the tile's points and over terms of left right^T. Each number of W is LANES partial sums.
SURFRECON_INLINE void add_outer(const Outer* terms, int count, int rows, int columns, float* w) {
    int r = 0;
    for (; r + BLOCK <= rows; r += BLOCK) outer_rows<BLOCK>(terms, count, r, columns, w + int64_t(r) * columns * LANES, columns);
    for (; r < rows; ++r) outer_rows<1>(terms, count, r, columns, w + int64_t(r) * columns * LANES, columns);
}

// sums[row] += the sum of a row over the tile's points; each is LANES partial sums.
SURFRECON_INLINE void add_rows(const float* in, int rows, float* sums) {
    for (int r = 0; r < rows; ++r) {
        Lane total = load(sums + r * LANES);
        for (int p = 0; p < TILE; p += LANES) total += load(in + r * TILE + p);
        store(sums + r * LANES, total);
    }
}

}  // namespace lanes
