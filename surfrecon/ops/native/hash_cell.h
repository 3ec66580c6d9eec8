// What a level's entries give to the points of a tile, and what they are owed.
//
// Features are F rows of a tile, slopes 3 F: feature by feature, their derivatives along x, y and z (unit frame). Both are times the
// level's weight in the mask, `share`; half a level's scale takes slopes from cells to the unit frame.
// Entries are loaded one by one: gather instructions were no faster.
#pragma once

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "hash_grid.h"

namespace hash {

// entries[f * TILE + p] = feature f of row[p].
template <int F>
SURFRECON_INLINE void take(const float* table, const int32_t* row, float* entries) {
#if defined(__AVX2__)
    if (F == 2) {
        for (int p = 0; p < TILE; p += 8) {
            const auto pair = [&](int i) { return reinterpret_cast<const double*>(table + 2 * int64_t(row[p + i])); };
            const auto four = [&](int i) {
                const __m128d low = _mm_loadh_pd(_mm_load_sd(pair(i)), pair(i + 1));
                const __m128d high = _mm_loadh_pd(_mm_load_sd(pair(i + 4)), pair(i + 5));
                return _mm256_castpd_ps(_mm256_insertf128_pd(_mm256_castpd128_pd256(low), high, 1));
            };
            const __m256 a = four(0), b = four(2);
            _mm256_storeu_ps(entries + p, _mm256_shuffle_ps(a, b, 0x88));
            _mm256_storeu_ps(entries + TILE + p, _mm256_shuffle_ps(a, b, 0xdd));
        }
        return;
    }
#endif
    for (int p = 0; p < TILE; ++p)
        for (int f = 0; f < F; ++f) entries[f * TILE + p] = table[int64_t(row[p]) * F + f];
}

// Feature f of row[p] += amounts[f * TILE + p], point after point.
template <int F>
SURFRECON_INLINE void put(float* table, const int32_t* row, const float* amounts) {
#if defined(__AVX2__)
    if (F == 2) {
        for (int p = 0; p < TILE; p += 8) {
            const __m256 a = _mm256_loadu_ps(amounts + p), b = _mm256_loadu_ps(amounts + TILE + p);
            const __m256 even = _mm256_unpacklo_ps(a, b), odd = _mm256_unpackhi_ps(a, b);
            const auto add = [&](int i, __m128 pair) __attribute__((always_inline)) {
                double* const to = reinterpret_cast<double*>(table + 2 * int64_t(row[p + i]));
                _mm_store_sd(to, _mm_castps_pd(_mm_add_ps(_mm_castpd_ps(_mm_load_sd(to)), pair)));
            };
            const auto add_two = [&](int i, __m128 pairs) __attribute__((always_inline)) {
                add(i, pairs);
                add(i + 1, _mm_movehl_ps(pairs, pairs));
            };
            add_two(0, _mm256_castps256_ps128(even));
            add_two(2, _mm256_castps256_ps128(odd));
            add_two(4, _mm256_extractf128_ps(even, 1));
            add_two(6, _mm256_extractf128_ps(odd, 1));
        }
        return;
    }
#endif
    for (int p = 0; p < TILE; ++p)
        for (int f = 0; f < F; ++f) table[int64_t(row[p]) * F + f] += amounts[f * TILE + p];
}

// The upper vertex's weight along an axis, and its derivative.
template <bool SMOOTH>
SURFRECON_INLINE float weight(float t) {
    return SMOOTH ? t * t * (3 - 2 * t) : t;
}

template <bool SMOOTH>
SURFRECON_INLINE float rise(float t, float half) {
    return SMOOTH ? 6 * t * (1 - t) * half : half;
}

template <int F, bool SMOOTH, bool SLOPES>
SURFRECON_INLINE void read(
    const float* table, const Cells& cells, float half, float share, float* __restrict features, float* __restrict slopes) {
    alignas(64) float corner[CORNERS][F * TILE];
    for (int c = 0; c < CORNERS; ++c) take<F>(table, cells.row[c], corner[c]);
    for (int f = 0; f < F; ++f)
        for (int p = 0; p < TILE; ++p) {
            const float wx = weight<SMOOTH>(cells.beyond[0][p]), wy = weight<SMOOTH>(cells.beyond[1][p]);
            const float wz = weight<SMOOTH>(cells.beyond[2][p]);
            const int i = f * TILE + p;
            // Along x, on edges (y, z); along y, on faces z; along z.
            const float x00 = corner[4][i] - corner[0][i], x01 = corner[5][i] - corner[1][i];
            const float x10 = corner[6][i] - corner[2][i], x11 = corner[7][i] - corner[3][i];
            const float v00 = corner[0][i] + wx * x00, v01 = corner[1][i] + wx * x01;
            const float v10 = corner[2][i] + wx * x10, v11 = corner[3][i] + wx * x11;
            const float y0 = v10 - v00, y1 = v11 - v01;
            const float v0 = v00 + wy * y0, v1 = v01 + wy * y1;
            features[i] = share * (v0 + wz * (v1 - v0));
            if (SLOPES) {
                const float x0 = x00 + wy * (x10 - x00), x1 = x01 + wy * (x11 - x01);
                float* const slope = slopes + 3 * f * TILE + p;
                slope[0] = share * (x0 + wz * (x1 - x0)) * rise<SMOOTH>(cells.beyond[0][p], half);
                slope[TILE] = share * (y0 + wz * (y1 - y0)) * rise<SMOOTH>(cells.beyond[1][p], half);
                slope[2 * TILE] = share * (v1 - v0) * rise<SMOOTH>(cells.beyond[2][p], half);
            }
        }
}

// What a tile's points owe to the table by F features and their slopes. By slopes, null where nothing is: 3 F rows, or, where `towards`, 3
// rows, isn't null, F rows of what is owed by a feature's derivative along it.
struct Owed {
    const float *features, *slopes, *towards;
};

// The transpose of read.
template <int F, bool SMOOTH, bool SLOPES>
SURFRECON_INLINE void add(float* table, const Cells& cells, float half, float share, const Owed& owed) {
    alignas(64) float amount[CORNERS][F * TILE], slope[3][F * TILE];
    const float *const features = owed.features, *const slopes = owed.slopes, *const towards = owed.towards;
    for (int f = 0; f < F && SLOPES; ++f)
        for (int axis = 0; axis < 3; ++axis)
            for (int p = 0; p < TILE; ++p) {
                const float steep = share * rise<SMOOTH>(cells.beyond[axis][p], half);
                if (towards) slope[axis][f * TILE + p] = steep * slopes[f * TILE + p] * towards[axis * TILE + p];
                else slope[axis][f * TILE + p] = steep * slopes[(3 * f + axis) * TILE + p];
            }
    for (int f = 0; f < F; ++f)
        for (int p = 0; p < TILE; ++p) {
            const float wx = weight<SMOOTH>(cells.beyond[0][p]), wy = weight<SMOOTH>(cells.beyond[1][p]);
            const float wz = weight<SMOOTH>(cells.beyond[2][p]);
            const int i = f * TILE + p;
            const float value = share * features[i];
            const float x = SLOPES ? slope[0][i] : 0, y = SLOPES ? slope[1][i] : 0, z = SLOPES ? slope[2][i] : 0;
            // To what read calls v, x and y on faces z; v and x on edges (y, z); corners.
            const float v1 = wz * value + z, v0 = value - v1, x1 = wz * x, x0 = x - x1, y1 = wz * y, y0 = y - y1;
            const float v10 = wy * v0 + y0, v00 = v0 - v10, v11 = wy * v1 + y1, v01 = v1 - v11;
            const float x10 = wy * x0, x00 = x0 - x10, x11 = wy * x1, x01 = x1 - x11;
            const float upper00 = wx * v00 + x00, upper01 = wx * v01 + x01, upper10 = wx * v10 + x10, upper11 = wx * v11 + x11;
            amount[0][i] = v00 - upper00, amount[4][i] = upper00;
            amount[1][i] = v01 - upper01, amount[5][i] = upper01;
            amount[2][i] = v10 - upper10, amount[6][i] = upper10;
            amount[3][i] = v11 - upper11, amount[7][i] = upper11;
        }
    for (int c = 0; c < CORNERS; ++c) put<F>(table, cells.row[c], amount[c]);
}

}  // namespace hash
