// Many tiles of points on all levels of a hash grid. Its functions are called by every thread of a team, each of which does its share.
//
// Memory: a tile of points is a block of rows: L F features, the points themselves (moved into the box), then, where they are wanted, 3 L F
// slopes as in hash_cell.h, then what a caller adds. Passes of PASS tiles go level after level: a level's part of the table, once it is in
// a cache, serves them all. Asking for entries ahead, large pages under the table and sorting points along a curve gained nothing on top.
#pragma once

#include <type_traits>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "hash_cell.h"

namespace hash {

constexpr int64_t PASS = 684;  // tiles: 65,664 points

inline int64_t tiles_of(int64_t points) { return (points + TILE - 1) / TILE; }

struct Tiles {
    float* base;
    int encoded;     // L F
    int64_t floats;  // of one

    Tiles(const HashGrid& grid, float* base, bool slopes, int more = 0)
        : base(base), encoded(grid.levels * grid.features), floats((int64_t(slopes ? 4 : 1) * encoded + 3 + more) * TILE) {}

    float* features(int64_t tile) const { return base + tile * floats; }
    float* points(int64_t tile) const { return features(tile) + encoded * TILE; }
    float* slopes(int64_t tile) const { return points(tile) + 3 * TILE; }
    float* more(int64_t tile) const { return slopes(tile) + 3 * encoded * TILE; }  // where there are slopes
};

// Calls each(first tile, tiles) for one pass after another.
template <class Each>
void for_passes(int64_t points, Each each) {
    const int64_t tiles = tiles_of(points);
    for (int64_t first = 0; first < tiles; first += PASS) each(first, std::min(PASS, tiles - first));
}

inline int thread() {
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

struct Run {
    int64_t first, end;
};

// This thread's part of `count` tiles.
inline Run run_of(int64_t count) {
#ifdef _OPENMP
    const int64_t threads = omp_get_num_threads();
#else
    const int64_t threads = 1;
#endif
    return {count * thread() / threads, count * (thread() + 1) / threads};
}

// Points (N, 3) to the 3 rows of a tile; the last tile is filled up by points in the middle of the box.
inline void place_points(const float* x, int64_t count, int64_t tile, float* rows) {
    for (int64_t p = 0; p < TILE; ++p) {
        const int64_t n = tile * TILE + p;
        for (int64_t axis = 0; axis < 3; ++axis) {
            const float place = n < count ? x[3 * n + axis] : 0;
            rows[axis * TILE + p] = place < -1 ? -1 : (place > 1 ? 1 : place);  // NaN stays
        }
    }
}

// Calls call(F, SMOOTH), which are known when it is compiled.
template <class Call>
void specialized(const HashGrid& grid, Call call) {
    const auto of = [&](auto features) {
        if (grid.smooth) call(features, std::true_type());
        else call(features, std::false_type());
    };
    if (grid.features == 1) of(std::integral_constant<int, 1>());
    if (grid.features == 2) of(std::integral_constant<int, 2>());
    if (grid.features == 4) of(std::integral_constant<int, 4>());
    if (grid.features == 8) of(std::integral_constant<int, 8>());
}

// Rows of zeros, of NaN where the point is.
inline void take_nothing(const float* x, int rows, float* to) {
    for (int r = 0; r < rows; ++r)
        for (int p = 0; p < TILE; ++p) {
            const float any = x[p] + x[TILE + p] + x[2 * TILE + p];
            to[r * TILE + p] = any == any ? 0 : any;
        }
}

// Features and, with SLOPES, slopes of this thread's tiles. mask null: ones.
template <bool SLOPES>
void encode(const HashGrid& grid, const float* table, const float* mask, const Tiles& tiles, Run run) {
    specialized(grid, [&](auto features, auto smooth) {
        constexpr int F = features;
        for (int l = 0; l < grid.levels; ++l) {
            const HashLevel& level = grid.level[l];
            const float share = mask ? mask[l] : 1, half = 0.5f * level.scale;
            for (int64_t tile = run.first; tile < run.end; ++tile) {
                const float* const x = tiles.points(tile);
                float* const to = tiles.features(tile) + l * F * TILE;
                float* const slopes = SLOPES ? tiles.slopes(tile) + 3 * l * F * TILE : nullptr;
                if (share != 0) {
                    read<F, smooth, SLOPES>(table, Cells(level, x), half, share, to, slopes);
                } else {
                    take_nothing(x, F, to);
                    if (SLOPES) take_nothing(x, 3 * F, slopes);
                }
            }
        }
    });
}

// Adds to the table what tiles owe: owed_of(tile, row of its features). A level is one thread's, and its tiles go in order: the same bytes
// for any number of threads. The finest levels go first, they take longest.
template <class OwedOf>
void scatter(const HashGrid& grid, const float* mask, const Tiles& tiles, int64_t count, OwedOf owed_of, float* table) {
    specialized(grid, [&](auto features, auto smooth) {
        constexpr int F = features;
#pragma omp for schedule(dynamic, 1)
        for (int l = grid.levels - 1; l >= 0; --l) {
            const HashLevel& level = grid.level[l];
            const float share = mask ? mask[l] : 1, half = 0.5f * level.scale;
            for (int64_t tile = 0; tile < count && share != 0; ++tile) {
                const Cells cells(level, tiles.points(tile));
                const Owed owed = owed_of(tile, l * F);
                if (owed.slopes) add<F, smooth, true>(table, cells, half, share, owed);
                else add<F, smooth, false>(table, cells, half, share, owed);
            }
        }
    });
}

}  // namespace hash
