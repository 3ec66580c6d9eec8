// Scores of a plane sweep: windows of a reference picture against what sources show there at hypothesised depths.
//
// Layout: grey, mask, guide (H, W), scores (P, H, W) float32. Sources' pictures are padded by a pixel on each side and hold UNSEEN where
// the mask is off and in the padding: a position is shown where the mean of its four pixels is no such number. Columns of the reference
// lie side by side in vectors; a tile of it is taken through all hypotheses by one thread, its sources' pixels being near each other.
// Sums over windows are taken anew for each row of pixels: differences of running sums would lose digits.
// Must equal reference/sweep.py: sweep_scores, but for rounding.

#include <algorithm>
#include <cmath>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "interface.h"
#include "lanes.h"

namespace {

using lanes::Lane, lanes::LANES, lanes::load, lanes::same_bits, lanes::store, lanes::Whole;

constexpr int ROWS = 32, COLUMNS = 64;  // of a tile
constexpr int MOST_WINDOW = 31;         // pixels, as in sweep.py
constexpr int USUAL = 3;                // half a window, compiled for
constexpr int WIDE = COLUMNS + MOST_WINDOW + 1 + LANES, HIGH = ROWS + MOST_WINDOW;  // vectors may go beyond what is read
constexpr float UNSEEN = 1e30f, SEEN = 2.0f;  // greys are in [-1, 1]; any share of the first that float32 can tell from 0 exceeds the second

struct Source {
    const float* picture;
    int64_t height, width;  // without the padding
    const float *turn, *shift;
};

struct Sources {
    const float* pictures;
    const int64_t* places;
    const float *turns, *shifts;
    int64_t count;

    Source operator[](int64_t s) const {
        return {pictures + places[3 * s], places[3 * s + 1], places[3 * s + 2], turns + 9 * s, shifts + 3 * s};
    }
};

struct Room {
    const uint8_t* cells;  // null: anywhere
    int64_t count;
    const float *ray, *start;
};

struct Sweep {
    const float *grey, *mask, *guide;
    int64_t height, width;
    float nearest, least, floor;  // least pixels of a window, floor of the product of variances
    int half;
    bool two;
    Room room;
};

struct Tile {
    int64_t top, left, rows, columns;    // of the tile
    int64_t first, begin, high, wide;    // with the windows' margins, within the picture
};

// What a thread works in: a, its mask m and the source's b with margins, sums over columns of windows, the best two of the sources.
struct Space {
    float a[HIGH][WIDE], own[HIGH][WIDE], w[HIGH][WIDE], m[HIGH][WIDE], b[HIGH][WIDE];
    float sums[6][WIDE];
    float best[ROWS][COLUMNS], second[ROWS][COLUMNS];
    uint8_t inside[ROWS][COLUMNS];
};

// Two pixels side by side at each place.
SURFRECON_INLINE void take_pairs(const float* picture, const int32_t* place, Lane& left, Lane& right) {
#if defined(__AVX512F__)
    const auto eight = [&](int i) {
        const __m256i at = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(place + i));
        return _mm512_castpd_ps(_mm512_mask_i32gather_pd(_mm512_setzero_pd(), 0xff, at, picture, 4));
    };
    const __m512 low = eight(0), high = eight(8);
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    left = same_bits<Lane>(_mm512_permutex2var_ps(low, even, high));
    right = same_bits<Lane>(_mm512_permutex2var_ps(low, _mm512_add_epi32(even, _mm512_set1_epi32(1)), high));
#elif defined(__AVX2__)
    const auto pair = [&](int i) { return reinterpret_cast<const double*>(picture + place[i]); };
    const auto four = [&](int i) {
        const __m128d low = _mm_loadh_pd(_mm_load_sd(pair(i)), pair(i + 1));
        const __m128d high = _mm_loadh_pd(_mm_load_sd(pair(i + 4)), pair(i + 5));
        return _mm256_castpd_ps(_mm256_insertf128_pd(_mm256_castpd128_pd256(low), high, 1));
    };
    const __m256 a = four(0), b = four(2);
    left = same_bits<Lane>(_mm256_shuffle_ps(a, b, 0x88)), right = same_bits<Lane>(_mm256_shuffle_ps(a, b, 0xdd));
#else
    for (int i = 0; i < LANES; ++i) left[i] = picture[place[i]], right[i] = picture[place[i] + 1];
#endif
}

// b and m of a row: what the source shows at the hypothesis, and where both pictures show something. Whether there is any such place.
bool show(const Source& source, float nearest, float x0, float y, const float* w, const float* own, int64_t count, float* m, float* b) {
    const float tx = source.turn[0], ty = source.turn[3], tz = source.turn[6];
    const float ox = source.turn[1] * y + source.turn[2], oy = source.turn[4] * y + source.turn[5], oz = source.turn[7] * y + source.turn[8];
    const float sx = source.shift[0], sy = source.shift[1], sz = source.shift[2];
    const float right = float(source.width) + 0.5f, low = float(source.height) + 0.5f;
    const int32_t stride = int32_t(source.width + 2);
    Lane any{}, x{};
    for (int i = 0; i < LANES; ++i) x[i] = x0 + float(i);
    const Lane nowhere{};
    for (int64_t i = 0; i < count; i += LANES, x += float(LANES)) {
        const Lane here = load(w + i), z = (tz * x + oz) + here * sz, per = 1.0f / z;
        Lane u = ((tx * x + ox) + here * sx) * per + 0.5f, v = ((ty * x + oy) + here * sy) * per + 0.5f;
        u = (z > nearest) & (u > 0) & (v > 0) ? u : nowhere, v = v > 0 ? v : nowhere;  // NaN goes there too
        u = u < right ? u : nowhere + right, v = v < low ? v : nowhere + low;
        const Whole iu = __builtin_convertvector(u, Whole), iv = __builtin_convertvector(v, Whole), place = iv * stride + iu;
        const Lane fu = u - __builtin_convertvector(iu, Lane), fv = v - __builtin_convertvector(iv, Lane);
        int32_t places[LANES];
        std::memcpy(places, &place, sizeof places);
        Lane p00, p01, p10, p11;
        take_pairs(source.picture, places, p00, p01), take_pairs(source.picture + stride, places, p10, p11);
        const Lane upper = p00 + (p01 - p00) * fu, lower = p10 + (p11 - p10) * fu, value = upper + (lower - upper) * fv;
        const Lane mask = load(own + i), both = value < SEEN ? mask : nowhere;
        store(m + i, both);
        store(b + i, both > 0 ? value : nowhere);
        any += both;
    }
    return lanes::sum(reinterpret_cast<const float*>(&any)) > 0;
}

// The six sums over windows' columns of the rows from `row` on.
template <int HALF>
SURFRECON_INLINE void sum_columns(const Space& space, int64_t row, int half, int64_t wide, float sums[6][WIDE]) {
    const int window = 2 * (HALF ? HALF : half) + 1;
    for (int64_t i = 0; i < wide; i += LANES) {
        Lane n{}, sa{}, sb{}, saa{}, sbb{}, sab{};
        for (int r = 0; r < window; ++r) {
            const Lane m = load(space.m[row + r] + i), a = load(space.a[row + r] + i) * m, b = load(space.b[row + r] + i);
            n += m, sa += a, sb += b;
            saa += a * a, sbb += b * b, sab += a * b;
        }
        store(sums[0] + i, n), store(sums[1] + i, sa), store(sums[2] + i, sb);
        store(sums[3] + i, saa), store(sums[4] + i, sbb), store(sums[5] + i, sab);
    }
}

// Correlations of a row of pixels, and by them the best two so far.
template <int HALF>
SURFRECON_INLINE void correlate(
    const Sweep& sweep, const float sums[6][WIDE], const float* m, int64_t count, int half, float* best, float* second) {
    const int window = 2 * (HALF ? HALF : half) + 1;
    float total[6][COLUMNS];
    for (int64_t i = 0; i < count; i += LANES)
        for (int q = 0; q < 6; ++q) {
            Lane sum = load(sums[q] + i);
            for (int k = 1; k < window; ++k) sum += load(sums[q] + i + k);
            store(total[q] + i, sum);
        }
    for (int64_t i = 0; i < count; ++i) {
        const float n = total[0][i], sa = total[1][i], sb = total[2][i], saa = total[3][i], sbb = total[4][i], sab = total[5][i];
        const float per = 1.0f / std::max(n, 1.0f);
        const float va = std::max((saa - sa * sa * per) * per, 0.0f), vb = std::max((sbb - sb * sb * per) * per, 0.0f);
        float ncc = (sab - sa * sb * per) * per / std::sqrt(va * vb + sweep.floor);
        ncc = std::min(std::max(ncc, -1.0f), 1.0f);
        ncc = n >= sweep.least && m[i] > 0 ? ncc : -1.0f;
        second[i] = std::max(second[i], std::min(best[i], ncc));
        best[i] = std::max(best[i], ncc);
    }
}

// Whether any pixel of the tile lies within the room at the hypothesis; which do.
bool within(const Room& room, const Tile& tile, const Space& space, uint8_t inside[ROWS][COLUMNS]) {
    int any = 0;
    const float* ray = room.ray;
    const float end = float(room.count);
    for (int64_t r = 0; r < tile.rows; ++r) {
        const float y = float(tile.top + r) + 0.5f;
        const float* w = space.w[tile.top - tile.first + r] + (tile.left - tile.begin);
        const float* own = space.own[tile.top - tile.first + r] + (tile.left - tile.begin);
        for (int64_t c = 0; c < tile.columns; ++c) {
            const float x = float(tile.left + c) + 0.5f, depth = 1.0f / w[c];
            float place[3];
            for (int axis = 0; axis < 3; ++axis)
                place[axis] = (ray[3 * axis] * x + ray[3 * axis + 1] * y + ray[3 * axis + 2]) * depth + room.start[axis];
            bool in = w[c] > 0;
            for (int axis = 0; axis < 3; ++axis) in = in && place[axis] >= 0 && place[axis] < end;
            uint8_t on = 0;  // nothing is compared where the mask is off
            if (in && own[c] > 0) on = room.cells[(int64_t(place[2]) * room.count + int64_t(place[1])) * room.count + int64_t(place[0])];
            inside[r][c] = on;
            any += on;
        }
    }
    return any > 0;
}

void sweep_tile(
    const Sweep& sweep, const Sources& sources, const Tile& tile, const float* offsets, int64_t hypotheses, float* scores, Space& space) {
    const int64_t plane = sweep.height * sweep.width;
    const int half = sweep.half;
    // Beyond the picture nothing is shown: zeros all around the part that lies in it.
    const int64_t wide = tile.columns + 2 * half, down = tile.first - (tile.top - half), across = tile.begin - (tile.left - half);
    float guide[HIGH][WIDE];
    for (auto* part : {&space.a, &space.own, &space.w, &space.m, &space.b}) std::fill(&(*part)[0][0], &(*part)[0][0] + HIGH * WIDE, 0.0f);
    float* const to = scores + tile.top * sweep.width + tile.left;
    for (int64_t r = 0; r < tile.high; ++r) {
        const int64_t from = (tile.first + r) * sweep.width + tile.begin;
        std::copy(sweep.grey + from, sweep.grey + from + tile.wide, space.a[r + down] + across);
        std::copy(sweep.mask + from, sweep.mask + from + tile.wide, space.own[r]);
        std::copy(sweep.guide + from, sweep.guide + from + tile.wide, guide[r]);
    }
    for (int64_t p = 0; p < hypotheses; ++p) {
        for (int64_t r = 0; r < tile.high; ++r)
            for (int64_t c = 0; c < tile.wide; ++c) space.w[r][c] = guide[r][c] + offsets[p];
        const bool possible = !sweep.room.cells || within(sweep.room, tile, space, space.inside);
        for (int64_t r = 0; r < tile.rows; ++r) {
            std::fill(space.best[r], space.best[r] + tile.columns, -1.0f);
            std::fill(space.second[r], space.second[r] + tile.columns, -1.0f);
        }
        for (int64_t s = 0; s < sources.count && possible; ++s) {
            const Source source = sources[s];
            bool any = false;
            for (int64_t r = 0; r < tile.high; ++r)
                any |= show(source, sweep.nearest, float(tile.begin) + 0.5f, float(tile.first + r) + 0.5f, space.w[r], space.own[r],
                            tile.wide, space.m[r + down] + across, space.b[r + down] + across);
            if (!any) continue;
            for (int64_t r = 0; r < tile.rows; ++r) {
                const float* m = space.m[r + half] + half;
                if (half == USUAL) {
                    sum_columns<USUAL>(space, r, half, wide, space.sums);
                    correlate<USUAL>(sweep, space.sums, m, tile.columns, half, space.best[r], space.second[r]);
                } else {
                    sum_columns<0>(space, r, half, wide, space.sums);
                    correlate<0>(sweep, space.sums, m, tile.columns, half, space.best[r], space.second[r]);
                }
            }
        }
        for (int64_t r = 0; r < tile.rows; ++r)
            for (int64_t c = 0; c < tile.columns; ++c) {
                const float score = sweep.two ? (space.best[r][c] + space.second[r][c]) / 2 : space.best[r][c];
                to[p * plane + r * sweep.width + c] = !sweep.room.cells || space.inside[r][c] ? score : -1.0f;
            }
    }
}

}  // namespace

// pictures: those of all sources one after the other; places (S, 3): where each begins, its height and width; turns (S, 9), shifts (S, 3).
// cells: null where a surface may be anywhere.
SURFRECON_API void sweep_scores(
    const float* grey, const float* mask, const float* guide, int64_t height, int64_t width, const float* pictures, const int64_t* places,
    const float* turns, const float* shifts, int64_t sources, const float* offsets, int64_t hypotheses, int64_t window, int32_t two,
    float nearest, float least, float floor, const uint8_t* cells, int64_t cell_count, const float* ray, const float* start,
    float* scores, int32_t threads) {
    const int half = int(window / 2);
    const Sweep sweep = {grey, mask, guide, height, width, nearest, least, floor, half, two != 0, {cells, cell_count, ray, start}};
    const int64_t down = (height + ROWS - 1) / ROWS, across = (width + COLUMNS - 1) / COLUMNS;
#pragma omp parallel num_threads(threads)
    {
        Space space;
#pragma omp for schedule(dynamic, 1)
        for (int64_t tile = 0; tile < down * across; ++tile) {
            Tile at;
            at.top = tile / across * ROWS, at.left = tile % across * COLUMNS;
            at.rows = std::min<int64_t>(ROWS, height - at.top), at.columns = std::min<int64_t>(COLUMNS, width - at.left);
            at.first = std::max<int64_t>(0, at.top - half), at.begin = std::max<int64_t>(0, at.left - half);
            at.high = std::min(height, at.top + at.rows + half) - at.first;
            at.wide = std::min(width, at.left + at.columns + half) - at.begin;
            sweep_tile(sweep, {pictures, places, turns, shifts, sources}, at, offsets, hypotheses, scores, space);
        }
    }
}
