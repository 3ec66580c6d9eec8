// A small network on one tile of points: its outputs, the derivatives of output 0, and what all parameters are owed.
//
// Memory: arrays of a tile are [row][TILE]; parameters lie in one array: W_0, b_0, W_1 ..., or W_0, W_1 ... without biases.
// With h_0 the inputs, a_k = W_k h_k + b_k, h_k+1 = act(a_k) and the outputs as W h + b of the last layer, the derivatives of output 0 are
// q_0, from q = row 0 of the last W, p_k = q_k+1 act'(a_k), q_k = W_k^T p_k. Backward computes the inside again. Of y to the outputs, and
// z_0 to q_0: u_k = W_k z_k, z_k+1 = u_k act'(a_k); then, from the last layer down, with H = W^T y,
// A_k = H_k+1 act'(a_k) + u_k q_k+1 act''(a_k), H_k = W_k^T A_k, and W_k is owed A_k h_k^T + p_k z_k^T.
// Must equal perceptron() in reference/hash_sdf.py and its derivatives.
#pragma once

#include <utility>

#include "activations.h"
#include "lanes.h"

// As in hash_sdf.py.
struct Network {
    int32_t inputs, width, hidden, outputs, activation, biases;
};

namespace perceptron {

using lanes::LANES;
using lanes::TILE;

constexpr int MOST_LAYERS = 4;

struct Layers {
    int rows[MOST_LAYERS], columns[MOST_LAYERS];
    int64_t weight[MOST_LAYERS], bias[MOST_LAYERS];  // where they are among all parameters
    int64_t count;                                   // of parameters

    explicit Layers(const Network& net) : count(0) {
        for (int k = 0; k <= net.hidden; ++k) {
            rows[k] = k < net.hidden ? net.width : net.outputs;
            columns[k] = k ? net.width : net.inputs;
            weight[k] = count;
            bias[k] = count += int64_t(rows[k]) * columns[k];
            if (net.biases) count += rows[k];
        }
    }
};

// Scratch: ARRAYS of `width` rows for each hidden layer, and SPARE more. Of layer k, H and Z hold h_k+1 and z_k+1, CURVE at last u q act''.
enum Array { H, SLOPE, CURVE, P, Z, ARRAYS };
constexpr int SPARE = 2;
inline int64_t scratch_floats(const Network& net) { return int64_t(net.hidden * ARRAYS + SPARE) * net.width * TILE; }

template <activation::Kind KIND>
class Perceptron {
public:
    Perceptron(const Network& net, const float* parameters, float* scratch)
        : net(net), layers(net), last(net.hidden), size(net.width * TILE), parameters(parameters), scratch(scratch) {}

    // row: q_0, or null where it isn't wanted.
    void forward(const float* in, float* out, float* row) const {
        inside(in, row ? 1 : 0);
        product(last, hidden(last, in), out, net.biases, nothing);
        if (!row) return;
        float *p = spare(0), *q = spare(1);
        first_row(q);
        for (int k = last - 1; k >= 0; --k) {
            times(q, array(SLOPE, k), p);
            transposed(k, layers.columns[k], p, k ? q : row, nothing);
        }
    }

    // z: z_0, null where nothing is owed by it. owed_in: to the first `in_rows` inputs. owed: to all parameters, LANES partial sums of each,
    // added to; either is null where it isn't wanted.
    void backward(const float* in, const float* z, const float* y, float* owed_in, int in_rows, float* owed) const {
        inside(in, z ? 2 : 1);
        if (z) along(z);
        if (owed) {
            const lanes::Outer term = {y, hidden(last, in)};
            lanes::add_outer(&term, 1, net.outputs, net.width, owed + layers.weight[last] * LANES);
            if (z) lanes::add_rows(array(Z, last - 1), net.width, owed + layers.weight[last] * LANES);
            if (net.biases) lanes::add_rows(y, net.outputs, owed + layers.bias[last] * LANES);
        }
        const float* above = y;
        float *a = spare(0), *next = spare(1);
        for (int k = last - 1; k >= 0; --k) {
            transposed(k + 1, net.width, above, a, [&](int first, int rows) {
                float* const from = a + first * TILE;  // of H, for now
                const float *slope = array(SLOPE, k) + first * TILE, *curve = array(CURVE, k) + first * TILE;
#pragma omp simd
                for (int i = 0; i < rows * TILE; ++i) from[i] = from[i] * slope[i] + (z ? curve[i] : 0);
                if (!owed) return;
                const lanes::Outer terms[] = {{from, hidden(k, in)}, {array(P, k) + first * TILE, k ? array(Z, k - 1) : z}};
                const int columns = layers.columns[k];
                lanes::add_outer(terms, z ? 2 : 1, rows, columns, owed + (layers.weight[k] + first * columns) * LANES);
                if (net.biases) lanes::add_rows(from, rows, owed + (layers.bias[k] + first) * LANES);
            });
            above = a;
            std::swap(a, next);
        }
        if (owed_in) transposed(0, in_rows, above, owed_in, nothing);
    }

private:
    float* array(Array which, int k) const { return scratch + (k * ARRAYS + which) * int64_t(size); }
    float* spare(int which) const { return scratch + (last * ARRAYS + which) * int64_t(size); }
    const float* hidden(int k, const float* in) const { return k ? array(H, k - 1) : in; }

    static constexpr auto nothing = [](int, int) {};

    template <class Then>
    void product(int k, const float* in, float* out, bool biased, Then then) const {
        const float* bias = biased ? parameters + layers.bias[k] : nullptr;
        lanes::product<false>(parameters + layers.weight[k], layers.columns[k], layers.rows[k], layers.columns[k], bias, in, out, then);
    }

    template <class Then>
    void transposed(int k, int rows, const float* in, float* out, Then then) const {
        lanes::product<true>(parameters + layers.weight[k], layers.columns[k], rows, layers.rows[k], nullptr, in, out, then);
    }

    void times(const float* one, const float* other, float* result) const {
#pragma omp simd
        for (int i = 0; i < size; ++i) result[i] = one[i] * other[i];
    }

    void first_row(float* q) const {
        const float* w = parameters + layers.weight[last];
        for (int j = 0; j < net.width; ++j)
            for (int p = 0; p < TILE; ++p) q[j * TILE + p] = w[j];
    }

    // H of each layer, and as many derivatives.
    void inside(const float* in, int derivatives) const {
        for (int k = 0; k < last; ++k) {
            product(k, hidden(k, in), array(H, k), net.biases, [&](int first, int rows) {
                if (derivatives == 0) bend<0>(k, first, rows);
                if (derivatives == 1) bend<1>(k, first, rows);
                if (derivatives == 2) bend<2>(k, first, rows);
            });
        }
    }

    template <int DERIVATIVES>
    void bend(int k, int first, int rows) const {
        float *const h = array(H, k), *const slope = array(SLOPE, k), *const curve = array(CURVE, k);
        for (int i = first * TILE; i < (first + rows) * TILE; i += LANES) {
            const activation::Bend bent = activation::bend<KIND, DERIVATIVES>(lanes::load(h + i));
            lanes::store(h + i, bent.value);
            if (DERIVATIVES > 0) lanes::store(slope + i, bent.slope);
            if (DERIVATIVES > 1) lanes::store(curve + i, bent.curve);
        }
    }

    // P and Z of each layer; curves become their share in A.
    void along(const float* z) const {
        float *u = spare(0), *p = spare(1);
        first_row(array(P, last - 1));
        for (int k = last - 1; k > 0; --k) {
            times(array(P, k), array(SLOPE, k), p);
            transposed(k, net.width, p, array(P, k - 1), nothing);  // q_k, for now
        }
        for (int k = 0; k < last; ++k) {
            const float* slope = array(SLOPE, k);
            float *p = array(P, k), *curve = array(CURVE, k), *next = array(Z, k);
            product(k, k ? array(Z, k - 1) : z, u, false, [&](int first, int rows) {
#pragma omp simd
                for (int i = first * TILE; i < (first + rows) * TILE; ++i) {
                    curve[i] *= u[i] * p[i];
                    p[i] *= slope[i];
                    next[i] = u[i] * slope[i];
                }
            });
        }
    }

    const Network& net;
    const Layers layers;
    const int last, size;
    const float* const parameters;
    float* const scratch;
};

}  // namespace perceptron
