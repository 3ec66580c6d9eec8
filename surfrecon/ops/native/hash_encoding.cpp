// hash_encode: features of points on a hash grid and their slopes, and what the table is owed by a loss of them.
//
// Memory: table (E, F), x (N, 3), features (N, L F), slopes (N, L F, 3), all float32, contiguous. Scratch is the caller's: tiles of one
// pass, see hash_tiles.h.
// Threads: forward, a run of tiles each; backward, a level at a time each: the same bytes whatever their number.
// Must equal reference/hash_encoding.py.

#include "hash_tiles.h"

namespace {

using hash::TILE;

// Calls each(place in an array (N, width), number of its tile) for all numbers of a tile's points.
template <class Each>
void for_numbers(float* rows, int width, int64_t tile, int64_t points, Each each) {
    const int64_t held = std::min<int64_t>(TILE, points - tile * TILE);
    for (int64_t p = 0; p < held; ++p)
        for (int r = 0; r < width; ++r) each((tile * TILE + p) * width + r, rows[r * TILE + p]);
}

}  // namespace

// slopes null: not wanted. mask null: ones.
SURFRECON_API void hash_encode_forward(
    const HashGrid* grid, const float* table, const float* mask, const float* x, int64_t points, float* features, float* slopes,
    float* scratch, int32_t threads) {
    const hash::Tiles tiles(*grid, scratch, slopes);
    hash::for_passes(points, [&](int64_t first, int64_t count) {
#pragma omp parallel num_threads(threads)
        {
            const hash::Run run = hash::run_of(count);
            for (int64_t t = run.first; t < run.end; ++t) hash::place_points(x, points, first + t, tiles.points(t));
            if (slopes) hash::encode<true>(*grid, table, mask, tiles, run);
            else hash::encode<false>(*grid, table, mask, tiles, run);
            for (int64_t t = run.first; t < run.end; ++t) {
                const auto copy_to = [](float* to) { return [to](int64_t place, float number) { to[place] = number; }; };
                for_numbers(tiles.features(t), tiles.encoded, first + t, points, copy_to(features));
                if (slopes) for_numbers(tiles.slopes(t), 3 * tiles.encoded, first + t, points, copy_to(slopes));
            }
        }
    });
}

// Adds to owed (E, F) what by_features and by_slopes, either of which may be null, owe to the table.
SURFRECON_API void hash_encode_backward(
    const HashGrid* grid, const float* mask, const float* x, int64_t points, const float* by_features, const float* by_slopes,
    float* owed, float* scratch, int32_t threads) {
    const hash::Tiles tiles(*grid, scratch, by_slopes);
    hash::for_passes(points, [&](int64_t first, int64_t count) {
#pragma omp parallel num_threads(threads)
        {
            const hash::Run run = hash::run_of(count);
            for (int64_t t = run.first; t < run.end; ++t) {
                const auto copy_from = [](const float* from) { return [from](int64_t place, float& number) { number = from[place]; }; };
                std::fill(tiles.features(t), tiles.features(t) + tiles.floats, 0.0f);
                hash::place_points(x, points, first + t, tiles.points(t));
                if (by_features) for_numbers(tiles.features(t), tiles.encoded, first + t, points, copy_from(by_features));
                if (by_slopes) for_numbers(tiles.slopes(t), 3 * tiles.encoded, first + t, points, copy_from(by_slopes));
            }
#pragma omp barrier
            const auto owed_of = [&](int64_t t, int row) {
                return hash::Owed{tiles.features(t) + row * TILE, by_slopes ? tiles.slopes(t) + 3 * row * TILE : nullptr, nullptr};
            };
            hash::scatter(*grid, mask, tiles, count, owed_of, owed);
        }
    });
}
