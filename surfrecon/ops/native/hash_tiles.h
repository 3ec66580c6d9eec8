// Many tiles of points on all levels of a hash grid. Its functions are called by every thread of a team, each of which does its share.
//
// Memory of a pass: for each tile POINT_ROWS rows, of which the first 3 are its points (moved into the box); then, level after level, a
// block of rows for each tile: F features, where they are wanted 3 F slopes as in hash_cell.h, then what a caller adds.
// Passes of PASS tiles go level after level: a level's part of the table serves them all from a cache, where it is brought in order, which
// takes a fifth of the time of bringing it entry by entry. What is computed on a level lies together for the same reason.
#pragma once

#include <type_traits>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "hash_cell.h"

namespace hash {

constexpr int64_t PASS = 684;  // tiles: 65,664 points
constexpr int POINT_ROWS = 6;  // of a tile's points, and 3 for a caller

inline int64_t tiles_of(int64_t points) { return (points + TILE - 1) / TILE; }

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

// The tiles of one pass.
struct Tiles {
    float* base;
    int64_t count, rows;  // of a block

    // all: of the passes, from the first on. `rows` is a multiple of F.
    Tiles(const HashGrid& grid, float* all, int64_t first, int64_t count, int64_t rows)
        : base(all + first * (POINT_ROWS + grid.levels * rows) * TILE), count(count), rows(rows) {}

    float* points(int64_t tile) const { return base + tile * POINT_ROWS * TILE; }
    float* block(int level, int64_t tile) const { return base + (POINT_ROWS * count + (level * count + tile) * rows) * TILE; }
};

// Asks for memory that is read soon.
inline void ask(const float* from, int64_t floats) {
    constexpr int64_t LINE = 64 / sizeof(float);
    for (int64_t i = 0; i < floats; i += LINE) __builtin_prefetch(from + i);
}

// Brings what a level has in the table into caches, where this thread's points read as much.
inline void bring(const HashLevel& level, int features, const float* table, int64_t points) {
    constexpr int64_t LINE = 64 / sizeof(float);
    const int64_t lines = int64_t(level.entries) * features / LINE;
    if (points * CORNERS < lines) return;
    const volatile float* const start = table + int64_t(level.offset) * features;
    for (int64_t line = 0; line < lines; ++line) (void)start[line * LINE];
}

// Calls each(first tile, tiles) for one pass after another, of which there is one at least.
template <class Each>
void for_passes(int64_t points, Each each) {
    const int64_t tiles = tiles_of(points);
    int64_t first = 0;
    do each(first, std::min(PASS, tiles - first));
    while ((first += PASS) < tiles);
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
            if (share != 0) bring(level, F, table, (run.end - run.first) * TILE);
            for (int64_t tile = run.first; tile < run.end; ++tile) {
                const float* const x = tiles.points(tile);
                float* const to = tiles.block(l, tile);
                float* const slopes = SLOPES ? to + F * TILE : nullptr;
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

// Adds to the table what tiles owe, or, with `fresh`, sets it to that: owed_of(tile, its block), from row `first` of the block on. A level is
// one thread's, and its tiles go in order: the same bytes for any number of threads. The finest levels go first, they take longest. A level's
// zeros are written right before the rest: then they are in a cache.
template <class OwedOf>
void scatter(const HashGrid& grid, const float* mask, const Tiles& tiles, int64_t first, bool fresh, OwedOf owed_of, float* table) {
    specialized(grid, [&](auto features, auto smooth) {
        constexpr int F = features;
#pragma omp for schedule(dynamic, 1)
        for (int l = grid.levels - 1; l >= 0; --l) {
            const HashLevel& level = grid.level[l];
            const float share = mask ? mask[l] : 1, half = 0.5f * level.scale;
            float* const own = table + int64_t(level.offset) * F;
            if (fresh) std::fill(own, own + int64_t(level.entries) * F, 0.0f);
            for (int64_t tile = 0; tile < tiles.count && share != 0; ++tile) {
                ask(tiles.block(l, std::min(tile + 2, tiles.count - 1)) + first * TILE, (tiles.rows - first) * TILE);
                const Cells cells(level, tiles.points(tile));
                const Owed owed = owed_of(tile, tiles.block(l, tile));
                if (owed.slopes) add<F, smooth, true>(table, cells, half, share, owed);
                else add<F, smooth, false>(table, cells, half, share, owed);
            }
        }
    });
}

}  // namespace hash
