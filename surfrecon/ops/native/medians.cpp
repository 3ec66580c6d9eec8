// Medians over windows of 5 x 5 pixels, of the numbers above 0 in them.
//
// Layout: values, out (H, W) float32. A thread takes a row; pixels side by side lie in vectors, whose 25 neighbours are sorted by Batcher's
// network, the unknown ones as infinity. Must equal reference/medians.py: known_medians.

#include <algorithm>
#include <limits>
#include <new>

#include "interface.h"
#include "lanes.h"

namespace {

using lanes::Lane, lanes::LANES, lanes::load;

constexpr int SIDE = 5, MIDDLE = SIDE / 2, COUNT = SIDE * SIDE;
constexpr float UNKNOWN = std::numeric_limits<float>::infinity();

// Pairs of places to be put in order, one after the other.
struct Network {
    int pairs = 0;
    uint8_t low[160] = {}, high[160] = {};

    constexpr Network() {
        for (int p = 1; p < COUNT; p *= 2)
            for (int q = p; q >= 1; q /= 2)
                for (int j = q % p; j + q < COUNT; j += 2 * q)
                    for (int i = 0; i < q && i + j + q < COUNT; ++i)
                        if ((i + j) / (2 * p) == (i + j + q) / (2 * p)) {
                            low[pairs] = uint8_t(i + j), high[pairs] = uint8_t(i + j + q);
                            ++pairs;
                        }
    }
};

constexpr Network NETWORK;

}  // namespace

SURFRECON_API void known_medians(const float* values, int64_t height, int64_t width, int64_t least, float* out, int32_t threads) {
#pragma omp parallel num_threads(threads)
    {
        const int64_t wide = width + 2 * MIDDLE + LANES;
        float* const rows = new (std::nothrow) float[SIDE * wide];
#pragma omp for schedule(static)
        for (int64_t y = 0; y < height; ++y) {
            if (!rows) continue;
            std::fill(rows, rows + SIDE * wide, UNKNOWN);
            for (int r = 0; r < SIDE; ++r) {
                const int64_t from = y + r - MIDDLE;
                if (from < 0 || from >= height) continue;
                for (int64_t x = 0; x < width; ++x) {
                    const float value = values[from * width + x];
                    rows[r * wide + x + MIDDLE] = value > 0 ? value : UNKNOWN;
                }
            }
            for (int64_t x = 0; x < width; x += LANES) {
                float sorted[COUNT][LANES];
                Lane part[COUNT], known{};
                const Lane one = Lane{} + 1.0f, none{};
                for (int i = 0; i < COUNT; ++i) {
                    part[i] = load(rows + i / SIDE * wide + x + i % SIDE);
                    known += part[i] < UNKNOWN ? one : none;
                }
                float counts[LANES], any = 0;
                lanes::store(counts, known);
                for (int i = 0; i < LANES; ++i) any = std::max(any, counts[i]);
                const int64_t some = std::min<int64_t>(LANES, width - x);
                if (any < float(least)) {
                    std::fill(out + y * width + x, out + y * width + x + some, 0.0f);
                    continue;
                }
                for (int k = 0; k < NETWORK.pairs; ++k) {
                    const Lane a = part[NETWORK.low[k]], b = part[NETWORK.high[k]];
                    part[NETWORK.low[k]] = a < b ? a : b, part[NETWORK.high[k]] = a < b ? b : a;
                }
                for (int i = 0; i < COUNT; ++i) lanes::store(sorted[i], part[i]);
                for (int64_t i = 0; i < some; ++i)
                    out[y * width + x + i] = counts[i] >= float(least) ? sorted[(int(counts[i]) - 1) / 2][i] : 0.0f;
            }
        }
        delete[] rows;
    }
}
