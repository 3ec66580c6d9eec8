// hash_encode: features of points on a hash grid and their slopes, and what the table is owed by a loss of them.
//
// Memory: table (E, F), x (N, 3), features (N, L F), slopes (N, L F, 3), all float32, contiguous. Scratch is the caller's: tiles of one
// pass, see hash_tiles.h.
// Threads: forward, a run of tiles each; backward, a level at a time each: the same bytes whatever their number.
// Must equal reference/hash_encoding.py.

#include "hash_tiles.h"

namespace {

using hash::TILE;

// Calls each(place in an array (N, width), number of its tile) for all numbers of a tile's points that are in `count` rows, the first of
// which is row `first` of the array's width.
template <class Each>
void for_numbers(float* rows, int first, int count, int width, int64_t tile, int64_t points, Each each) {
    const int64_t held = std::min<int64_t>(TILE, points - tile * TILE);
    for (int64_t p = 0; p < held; ++p)
        for (int r = 0; r < count; ++r) each((tile * TILE + p) * width + first + r, rows[r * TILE + p]);
}

int64_t block_rows(const HashGrid& grid, bool slopes) { return grid.features * (slopes ? 4 : 1); }

}  // namespace

// slopes null: not wanted. mask null: ones.
SURFRECON_API void hash_encode_forward(
    const HashGrid* grid, const float* table, const float* mask, const float* x, int64_t points, float* features, float* slopes,
    float* scratch, int32_t threads) {
    const int F = grid->features, encoded = grid->levels * F;
    hash::for_passes(points, [&](int64_t first, int64_t count) {
        const hash::Tiles tiles(*grid, scratch, 0, count, block_rows(*grid, slopes));
#pragma omp parallel num_threads(threads)
        {
            const hash::Run run = hash::run_of(count);
            for (int64_t t = run.first; t < run.end; ++t) hash::place_points(x, points, first + t, tiles.points(t));
            if (slopes) hash::encode<true>(*grid, table, mask, tiles, run);
            else hash::encode<false>(*grid, table, mask, tiles, run);
            for (int64_t t = run.first; t < run.end; ++t) {
                const auto copy_to = [](float* to) { return [to](int64_t place, float number) { to[place] = number; }; };
                for (int l = 0; l < grid->levels; ++l) {
                    float* const block = tiles.block(l, t);
                    for_numbers(block, l * F, F, encoded, first + t, points, copy_to(features));
                    if (slopes) for_numbers(block + F * TILE, 3 * l * F, 3 * F, 3 * encoded, first + t, points, copy_to(slopes));
                }
            }
        }
    });
}

// owed (E, F): what by_features and by_slopes, either of which may be null, owe to the table.
SURFRECON_API void hash_encode_backward(
    const HashGrid* grid, const float* mask, const float* x, int64_t points, const float* by_features, const float* by_slopes,
    float* owed, float* scratch, int32_t threads) {
    const int F = grid->features, encoded = grid->levels * F;
    const int64_t rows = block_rows(*grid, by_slopes);
    hash::for_passes(points, [&](int64_t first, int64_t count) {
        const hash::Tiles tiles(*grid, scratch, 0, count, rows);
#pragma omp parallel num_threads(threads)
        {
            const hash::Run run = hash::run_of(count);
            for (int64_t t = run.first; t < run.end; ++t) {
                const auto copy_from = [](const float* from) { return [from](int64_t place, float& number) { number = from[place]; }; };
                hash::place_points(x, points, first + t, tiles.points(t));
                for (int l = 0; l < grid->levels; ++l) {
                    float *const block = tiles.block(l, t), *const slopes = block + F * TILE;
                    std::fill(block, block + rows * TILE, 0.0f);
                    if (by_features) for_numbers(block, l * F, F, encoded, first + t, points, copy_from(by_features));
                    if (by_slopes) for_numbers(slopes, 3 * l * F, 3 * F, 3 * encoded, first + t, points, copy_from(by_slopes));
                }
            }
#pragma omp barrier
            const auto owed_of = [&](int64_t, const float* block) {
                return hash::Owed{block, by_slopes ? block + F * TILE : nullptr, nullptr};
            };
            hash::scatter(*grid, mask, tiles, 0, first == 0, owed_of, owed);
        }
    });
}
