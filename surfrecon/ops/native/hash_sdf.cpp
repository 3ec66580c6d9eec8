// hash_sdf: a signed distance function on a hash grid, its gradient and its other outputs, and what the table, all weights and all biases
// are owed by a loss of them. Letters and layout: ../hash_grid.py.
//
// Memory: x (N, 3), sdf (N,), gradient (N, 3), features (N, C - 1), float32, contiguous. Tiles as in hash_tiles.h, whose blocks have more
// rows: q, the derivatives of the distance with respect to the features, and what backward finds that these are owed. They are all that
// backward needs of forward: 24 L F + 24 bytes a point, 8 L F + 24 without the gradient. It computes the network's inside again.
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

// A level's block of rows for a tile: F features, where the gradient is wanted 3 F slopes and F of q, at last F of what is owed.
struct Blocks {
    const int levels, features;
    const bool gradient;

    Blocks(const HashGrid& grid, bool gradient) : levels(grid.levels), features(grid.features), gradient(gradient) {}

    int encoded() const { return levels * features; }
    int slopes() const { return features; }
    int q() const { return 4 * features; }
    int owed() const { return gradient ? 5 * features : features; }
    int rows() const { return owed() + features; }

    // Calls each(block, row of a network's inputs that its first feature is) for all levels.
    template <class Each>
    void for_levels(const hash::Tiles& tiles, int64_t tile, Each each) const {
        for (int l = 0; l < levels; ++l) each(tiles.block(l, tile), l * features);
    }

    // Inputs of a network from features and points.
    void gather(const hash::Tiles& tiles, int64_t tile, float* in) const {
        for_levels(tiles, tile, [&](const float* block, int row) { std::copy(block, block + features * TILE, in + row * TILE); });
        std::copy(tiles.points(tile), tiles.points(tile) + 3 * TILE, in + encoded() * TILE);
    }
};

// This thread's part of the scratch: the network's, arrays of MOST_ROWS rows, and LANES sums for each parameter.
struct Scratch {
    float *network, *in, *along, *out, *owed, *sums;

    Scratch(const Network& net, float* all) {
        const int64_t own = perceptron::scratch_floats(net), parameters = perceptron::Layers(net).count;
        network = all + hash::thread() * (own + 4 * MOST_ROWS * TILE + parameters * LANES);
        in = network + own;
        along = in + MOST_ROWS * TILE;
        out = along + MOST_ROWS * TILE;
        owed = out + MOST_ROWS * TILE;
        sums = owed + MOST_ROWS * TILE;
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

// to (3 rows) += the sum over F features of q times their slopes.
void contract(const float* q, const float* slopes, int features, float* to) {
    for (int f = 0; f < features; ++f)
        for (int axis = 0; axis < 3; ++axis)
            for (int p = 0; p < TILE; ++p) to[axis * TILE + p] += q[f * TILE + p] * slopes[(3 * f + axis) * TILE + p];
}

// z = the derivatives of F features along v.
void expand(const float* slopes, const float* v, int features, float* z) {
    for (int f = 0; f < features; ++f, slopes += 3 * TILE)
        for (int p = 0; p < TILE; ++p)
            z[f * TILE + p] = slopes[p] * v[p] + slopes[TILE + p] * v[TILE + p] + slopes[2 * TILE + p] * v[2 * TILE + p];
}

}  // namespace

// gradient null: not wanted. mask null: ones. tiles: of all points where they are kept for backward, else of one pass.
SURFRECON_API void hash_sdf_forward(
    const HashGrid* grid, const Network* net, float radius, const float* table, const float* mask, const float* parameters, const float* x,
    int64_t points, float* sdf, float* gradient, float* features, float* tiles, int32_t keep, float* scratch, int32_t threads) {
    const int others = net->outputs - 1;
    const Blocks blocks(*grid, gradient);
    hash::for_passes(points, [&](int64_t first, int64_t count) {
        const hash::Tiles now(*grid, tiles, keep ? first : 0, count, blocks.rows());
#pragma omp parallel num_threads(threads)
        {
            const hash::Run run = hash::run_of(count);
            for (int64_t t = run.first; t < run.end; ++t) hash::place_points(x, points, first + t, now.points(t));
            if (gradient) hash::encode<true>(*grid, table, mask, now, run);
            else hash::encode<false>(*grid, table, mask, now, run);
            specialized(*net, [&](auto kind) {
                const Scratch own(*net, scratch);
                const Perceptron<kind> network(*net, parameters, own.network);
                float *const out = own.out, *const q = gradient ? own.along : nullptr;
                for (int64_t t = run.first; t < run.end; ++t) {
                    blocks.gather(now, t, own.in);
                    network.forward(own.in, out, q);
                    for (int p = 0; p < TILE; ++p) out[p] -= radius;
                    spill(out, 1, first + t, points, sdf);
                    for (int c = 0; c < others; ++c) spill(out + (c + 1) * TILE, others, first + t, points, features + c);
                    if (!gradient) continue;
                    const float* const of_point = q + blocks.encoded() * TILE;
                    if (net->inputs > blocks.encoded()) std::copy(of_point, of_point + 3 * TILE, out);
                    else std::fill(out, out + 3 * TILE, 0.0f);
                    blocks.for_levels(now, t, [&](float* block, int row) {
                        const float *const from = q + row * TILE, *const end = from + blocks.features * TILE;
                        contract(from, block + blocks.slopes() * TILE, blocks.features, out);
                        if (keep) std::copy(from, end, block + blocks.q() * TILE);
                    });
                    for (int axis = 0; axis < 3; ++axis) spill(out + axis * TILE, 3, first + t, points, gradient + axis);
                }
            });
        }
    });
}

// tiles: as forward kept them, with_gradient: whether it was wanted. by_...: null where nothing is owed. owed_table (E, F) and owed, what
// is owed to the parameters: null where not wanted. sums (MOST_RUNS, parameters) come zeroed.
SURFRECON_API void hash_sdf_backward(
    const HashGrid* grid, const Network* net, const float* mask, const float* parameters, float* tiles, int32_t with_gradient,
    int64_t points, const float* by_sdf, const float* by_gradient, const float* by_features, float* owed_table, float* owed, float* sums,
    float* scratch, int32_t threads) {
    const int others = net->outputs - 1;
    const int64_t size = perceptron::Layers(*net).count;
    const Blocks blocks(*grid, with_gradient);
    const int encoded = blocks.encoded();
    hash::for_passes(points, [&](int64_t first, int64_t count) {
        const hash::Tiles now(*grid, tiles, first, count, blocks.rows());
        const int64_t runs = std::min(MOST_RUNS, (count + LEAST - 1) / LEAST);
#pragma omp parallel num_threads(threads)
        {
            specialized(*net, [&](auto kind) {
                const Scratch own(*net, scratch);
                const Perceptron<kind> network(*net, parameters, own.network);
                float *const y = own.out, *const z = by_gradient ? own.along : nullptr;
                float *const to_features = owed_table ? own.owed : nullptr, *const to_parameters = owed ? own.sums : nullptr;
#pragma omp for schedule(dynamic, 1)
                for (int64_t run = 0; run < runs; ++run) {
                    if (owed) std::fill(own.sums, own.sums + size * LANES, 0.0f);
                    for (int64_t t = run * count / runs; t < (run + 1) * count / runs; ++t) {
                        blocks.gather(now, t, own.in);
                        fill(by_sdf, 1, first + t, points, y);
                        for (int c = 0; c < others; ++c)
                            fill(by_features ? by_features + c : nullptr, others, first + t, points, y + (c + 1) * TILE);
                        float* const v = now.points(t) + 3 * TILE;
                        for (int axis = 0; z && axis < 3; ++axis) fill(by_gradient + axis, 3, first + t, points, v + axis * TILE);
                        if (z) blocks.for_levels(now, t, [&](const float* block, int row) {
                                expand(block + blocks.slopes() * TILE, v, blocks.features, z + row * TILE);
                            });
                        if (z) std::copy(v, v + 3 * TILE, z + encoded * TILE);
                        network.backward(own.in, z, y, to_features, encoded, to_parameters);
                        if (to_features) blocks.for_levels(now, t, [&](float* block, int row) {
                                const float* const from = to_features + row * TILE;
                                std::copy(from, from + blocks.features * TILE, block + blocks.owed() * TILE);
                            });
                    }
                    for (int64_t i = 0; i < size && owed; ++i) sums[run * size + i] += lanes::sum(own.sums + i * LANES);
                }
            });
            const auto owed_of = [&](int64_t t, const float* block) {
                const float* const q = by_gradient ? block + blocks.q() * TILE : nullptr;
                return hash::Owed{block + blocks.owed() * TILE, q, now.points(t) + 3 * TILE};
            };
            const int row = by_gradient ? blocks.q() : blocks.owed();
            if (owed_table) hash::scatter(*grid, mask, now, row, first == 0, owed_of, owed_table);
        }
    });
    if (!owed) return;
    std::copy(sums, sums + size, owed);
    for (int64_t run = 1; run < MOST_RUNS; ++run)
        for (int64_t i = 0; i < size; ++i) owed[i] += sums[run * size + i];
}
