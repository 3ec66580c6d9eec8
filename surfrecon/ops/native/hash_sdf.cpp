// hash_sdf: a signed distance function on a hash grid, its gradient and its other outputs, and what the table, all weights and all biases
// are owed by a loss of them. Letters and layout: ../hash_grid.py.
//
// Memory: x (N, 3), sdf (N,), gradient (N, 3), features (N, C - 1), float32, contiguous. Tiles as in hash_tiles.h, where the gradient is
// wanted with L F + 3 more rows of q, the derivatives of the distance with respect to the inputs. They are all that backward needs of
// forward: 20 L F + 24 bytes a point, 4 L F + 12 without the gradient. It computes the network's inside again.
// Threads: forward, a run of tiles each. Backward, runs of tiles that follow from the number of points alone, whose sums over points are
// added up in order; then a level at a time each. The same bytes whatever their number.
// Must equal reference/hash_sdf.py.

#include "hash_tiles.h"
#include "perceptron.h"

namespace {

using hash::TILE;
using lanes::LANES;
using perceptron::Perceptron;

constexpr int MOST_ROWS = 131;                // of a tile's inputs: 128 features and the point
constexpr int64_t MOST_RUNS = 64, LEAST = 4;  // runs of a pass, and tiles of a run

// Calls call(KIND), known when it is compiled.
template <class Call>
void specialized(const Network& net, Call call) {
    if (net.activation == activation::SOFTPLUS) call(std::integral_constant<activation::Kind, activation::SOFTPLUS>());
    if (net.activation == activation::RELU) call(std::integral_constant<activation::Kind, activation::RELU>());
    if (net.activation == activation::SILU) call(std::integral_constant<activation::Kind, activation::SILU>());
}

hash::Tiles tiles_of(const HashGrid& grid, float* base, bool gradient) {
    return hash::Tiles(grid, base, gradient, gradient ? grid.levels * grid.features + 3 : 0);
}

// This thread's part of the scratch: the network's, two arrays of MOST_ROWS rows, and LANES sums for each parameter.
struct Scratch {
    float *network, *one, *other, *sums;

    Scratch(const Network& net, float* all) {
        const int64_t own = perceptron::scratch_floats(net), parameters = perceptron::Layers(net).count;
        network = all + hash::thread() * (own + 2 * MOST_ROWS * TILE + parameters * LANES);
        one = network + own;
        other = one + MOST_ROWS * TILE;
        sums = other + MOST_ROWS * TILE;
    }
};

// One number of each of a tile's points, `stride` apart, to a row; zeros beyond the last point and where there is nothing to take from.
void fill(const float* from, int64_t stride, int64_t tile, int64_t points, float* row) {
    const int64_t held = from ? std::min<int64_t>(TILE, points - tile * TILE) : 0;
    for (int64_t p = 0; p < held; ++p) row[p] = from[(tile * TILE + p) * stride];
    std::fill(row + held, row + TILE, 0.0f);
}

void spill(const float* row, int64_t stride, int64_t tile, int64_t points, float* to) {
    const int64_t held = std::min<int64_t>(TILE, points - tile * TILE);
    for (int64_t p = 0; p < held; ++p) to[(tile * TILE + p) * stride] = row[p];
}

// gradient = the sum over features of q times their slopes, and q of the point itself, null where it is no input.
void contract(const float* q, const float* slopes, int encoded, const float* own, float* gradient) {
    float sum[3][TILE] = {};
    if (own) std::copy(own, own + 3 * TILE, sum[0]);
    for (int r = 0; r < encoded; ++r)
        for (int axis = 0; axis < 3; ++axis)
            for (int p = 0; p < TILE; ++p) sum[axis][p] += q[r * TILE + p] * slopes[(3 * r + axis) * TILE + p];
    std::copy(sum[0], sum[0] + 3 * TILE, gradient);
}

// z = the derivatives of features and point along v.
void expand(const float* slopes, const float* v, int encoded, float* z) {
    for (int r = 0; r < encoded; ++r, slopes += 3 * TILE)
        for (int p = 0; p < TILE; ++p)
            z[r * TILE + p] = slopes[p] * v[p] + slopes[TILE + p] * v[TILE + p] + slopes[2 * TILE + p] * v[2 * TILE + p];
    std::copy(v, v + 3 * TILE, z + encoded * TILE);
}

}  // namespace

// gradient null: not wanted. mask null: ones. tiles: of all points where they are kept for backward, else of one pass.
SURFRECON_API void hash_sdf_forward(
    const HashGrid* grid, const Network* net, float radius, const float* table, const float* mask, const float* parameters, const float* x,
    int64_t points, float* sdf, float* gradient, float* features, float* tiles, int32_t keep, float* scratch, int32_t threads) {
    const int others = net->outputs - 1;
    const hash::Tiles all = tiles_of(*grid, tiles, gradient);
    hash::for_passes(points, [&](int64_t first, int64_t count) {
        const hash::Tiles now = tiles_of(*grid, all.features(keep ? first : 0), gradient);
#pragma omp parallel num_threads(threads)
        {
            const hash::Run run = hash::run_of(count);
            for (int64_t t = run.first; t < run.end; ++t) hash::place_points(x, points, first + t, now.points(t));
            if (gradient) hash::encode<true>(*grid, table, mask, now, run);
            else hash::encode<false>(*grid, table, mask, now, run);
            specialized(*net, [&](auto kind) {
                const Scratch own(*net, scratch);
                const Perceptron<kind> network(*net, parameters, own.network);
                float* const out = own.one;
                for (int64_t t = run.first; t < run.end; ++t) {
                    float* const q = gradient ? now.more(t) : nullptr;
                    network.forward(now.features(t), out, q);
                    for (int p = 0; p < TILE; ++p) out[p] -= radius;
                    spill(out, 1, first + t, points, sdf);
                    for (int c = 0; c < others; ++c) spill(out + (c + 1) * TILE, others, first + t, points, features + c);
                    if (!gradient) continue;
                    const float* const of_point = net->inputs > now.encoded ? q + now.encoded * TILE : nullptr;
                    contract(q, now.slopes(t), now.encoded, of_point, out);
                    for (int axis = 0; axis < 3; ++axis) spill(out + axis * TILE, 3, first + t, points, gradient + axis);
                }
            });
        }
    });
}

// tiles: as forward kept them, with_gradient: whether it was wanted. by_...: null where nothing is owed. owed_table (E, F) is added to;
// null: not wanted. owed: to the parameters; null: not wanted. sums (MOST_RUNS, parameters) come zeroed. by_tile: L F + 3 rows for each
// tile of a pass, what the table is owed by features, and by_gradient.
SURFRECON_API void hash_sdf_backward(
    const HashGrid* grid, const Network* net, const float* mask, const float* parameters, float* tiles, int32_t with_gradient,
    int64_t points, const float* by_sdf, const float* by_gradient, const float* by_features, float* owed_table, float* owed, float* sums,
    float* by_tile, float* scratch, int32_t threads) {
    const int others = net->outputs - 1;
    const int64_t size = perceptron::Layers(*net).count;
    const hash::Tiles all = tiles_of(*grid, tiles, with_gradient);
    const int encoded = all.encoded;
    hash::for_passes(points, [&](int64_t first, int64_t count) {
        const hash::Tiles now = tiles_of(*grid, all.features(first), with_gradient);
        const int64_t runs = std::min(MOST_RUNS, (count + LEAST - 1) / LEAST);
        const auto by = [=](int64_t t) { return by_tile + t * (encoded + 3) * TILE; };
#pragma omp parallel num_threads(threads)
        {
            specialized(*net, [&](auto kind) {
                const Scratch own(*net, scratch);
                const Perceptron<kind> network(*net, parameters, own.network);
                float *const y = own.one, *const z = own.other;
#pragma omp for schedule(dynamic, 1)
                for (int64_t run = 0; run < runs; ++run) {
                    if (owed) std::fill(own.sums, own.sums + size * LANES, 0.0f);
                    for (int64_t t = run * count / runs; t < (run + 1) * count / runs; ++t) {
                        float* const v = by(t) + encoded * TILE;
                        fill(by_sdf, 1, first + t, points, y);
                        for (int c = 0; c < others; ++c)
                            fill(by_features ? by_features + c : nullptr, others, first + t, points, y + (c + 1) * TILE);
                        if (by_gradient) {
                            for (int axis = 0; axis < 3; ++axis) fill(by_gradient + axis, 3, first + t, points, v + axis * TILE);
                            expand(now.slopes(t), v, encoded, z);
                        }
                        float *const to_features = owed_table ? by(t) : nullptr, *const to_parameters = owed ? own.sums : nullptr;
                        network.backward(now.features(t), by_gradient ? z : nullptr, y, to_features, encoded, to_parameters);
                    }
                    for (int64_t i = 0; i < size && owed; ++i) sums[run * size + i] += lanes::sum(lanes::load(own.sums + i * LANES));
                }
            });
            const auto owed_of = [&](int64_t t, int row) {
                return hash::Owed{by(t) + row * TILE, by_gradient ? now.more(t) + row * TILE : nullptr, by(t) + encoded * TILE};
            };
            if (owed_table) hash::scatter(*grid, mask, now, count, owed_of, owed_table);
        }
    });
    if (!owed) return;
    std::copy(sums, sums + size, owed);
    for (int64_t run = 1; run < MOST_RUNS; ++run)
        for (int64_t i = 0; i < size; ++i) owed[i] += sums[run * size + i];
}
