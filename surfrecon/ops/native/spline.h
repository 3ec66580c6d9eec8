// The quadratic B-spline on bricks of 4^3 nodes: what its kernels share. Weights are those of reference/bspline.py.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace spline {

constexpr int BRICK = 4;  // nodes along a brick's side; a brick's row along z fills one vector
constexpr int BRICK_NODES = 64;

typedef float Row __attribute__((vector_size(16)));  // 4 nodes along z

inline Row load(const float* from) {
    Row row;
    std::memcpy(&row, from, sizeof row);
    return row;
}

inline void store(float* to, Row row) { std::memcpy(to, &row, sizeof row); }

inline float sum(Row row) { return (row[0] + row[1]) + (row[2] + row[3]); }

// A point on one axis: the three nodes that it touches, as places in the bricks before, at and after its own, and what they count.
struct Axis {
    int brick[3], local[3];  // brick: 0, 1 or 2
    float weights[3], slopes[3];
};

// cell: of the brick, 0 to 3; beyond: how far the point lies from that cell's node, -1/2 to 1/2; low, high: whether the brick's side is the
// lattice's: nodes beyond it are its border's.
inline Axis axis_of(int cell, float beyond, bool low, bool high) {
    Axis a;
    const float t = beyond;
    a.weights[0] = 0.5f * (0.5f - t) * (0.5f - t);
    a.weights[1] = 0.75f - t * t;
    a.weights[2] = 0.5f * (0.5f + t) * (0.5f + t);
    a.slopes[0] = t - 0.5f;
    a.slopes[1] = -2.0f * t;
    a.slopes[2] = t + 0.5f;
    for (int k = 0; k < 3; ++k) {
        const unsigned node = static_cast<unsigned>(cell + k - 1 + BRICK);
        a.brick[k] = static_cast<int>(node / BRICK);
        a.local[k] = static_cast<int>(node % BRICK);
    }
    const int outside = cell == 0 && low ? 0 : (cell == BRICK - 1 && high ? 2 : 1);
    if (outside != 1) {
        a.weights[1] += a.weights[outside];
        a.slopes[1] += a.slopes[outside];
        a.weights[outside] = a.slopes[outside] = 0.0f;
        a.brick[outside] = 1;
    }
    return a;
}

// A point's 27 nodes: 9 rows along z, in its own brick's and, where they reach beyond it, in another's too.
struct Stencil {
    int parts;               // 1 or 2
    int64_t at[3][3][2];     // of the first of a row's 4 coefficients
    float weights[2][3];     // along x and y
    float slopes[2][3];
    Row weight_z[2], slope_z[2];
};

// slot_of(x, y, z): of the brick at an offset of 0 to 2 from the one before the point's; negative where none is stored. Such rows count
// for nothing, and the point's own brick is read in their place.
template <class SlotOf>
inline Stencil stencil_of(const Axis& x, const Axis& y, const Axis& z, SlotOf slot_of) {
    Stencil s;
    float weights[3 * BRICK] = {}, slopes[3 * BRICK] = {};
    for (int k = 0; k < 3; ++k) {
        weights[z.brick[k] * BRICK + z.local[k]] += z.weights[k];
        slopes[z.brick[k] * BRICK + z.local[k]] += z.slopes[k];
        s.weights[0][k] = x.weights[k], s.slopes[0][k] = x.slopes[k];
        s.weights[1][k] = y.weights[k], s.slopes[1][k] = y.slopes[k];
    }
    const int other = z.brick[0] != 1 ? 0 : 2;
    s.parts = z.brick[0] != 1 || z.brick[2] != 1 ? 2 : 1;
    for (int part = 0; part < s.parts; ++part) {
        const int brick = part == 0 ? 1 : other;
        s.weight_z[part] = load(weights + brick * BRICK);
        s.slope_z[part] = load(slopes + brick * BRICK);
        for (int i = 0; i < 3; ++i)
            for (int j = 0; j < 3; ++j) {
                int64_t slot = slot_of(x.brick[i], y.brick[j], brick);
                if (slot < 0) slot = slot_of(1, 1, 1);
                s.at[i][j][part] = slot * BRICK_NODES + (x.local[i] * BRICK + y.local[j]) * BRICK;
            }
    }
    return s;
}

// Value and slopes (in cells): value, x, y, z.
inline void gather(const float* coefficients, const Stencil& s, float* found) {
    found[0] = found[1] = found[2] = found[3] = 0.0f;
    for (int part = 0; part < s.parts; ++part) {
        Row even = {}, along_x = {}, along_y = {};
        for (int i = 0; i < 3; ++i) {
            Row sum_y = {}, sum_slope = {};
            for (int j = 0; j < 3; ++j) {
                const Row row = load(coefficients + s.at[i][j][part]);
                sum_y += s.weights[1][j] * row;
                sum_slope += s.slopes[1][j] * row;
            }
            even += s.weights[0][i] * sum_y;
            along_x += s.slopes[0][i] * sum_y;
            along_y += s.weights[0][i] * sum_slope;
        }
        found[0] += sum(even * s.weight_z[part]);
        found[1] += sum(along_x * s.weight_z[part]);
        found[2] += sum(along_y * s.weight_z[part]);
        found[3] += sum(even * s.slope_z[part]);
    }
}

// The transpose: add to the coefficients what a value and three slopes give.
inline void scatter(float* coefficients, const Stencil& s, const float* given) {
    for (int part = 0; part < s.parts; ++part) {
        const Row even = given[0] * s.weight_z[part] + given[3] * s.slope_z[part];
        const Row along_x = given[1] * s.weight_z[part], along_y = given[2] * s.weight_z[part];
        for (int i = 0; i < 3; ++i) {
            const Row of_weight = s.weights[0][i] * even + s.slopes[0][i] * along_x;
            const Row of_slope = s.weights[0][i] * along_y;
            for (int j = 0; j < 3; ++j) {
                float* to = coefficients + s.at[i][j][part];
                store(to, load(to) + s.weights[1][j] * of_weight + s.slopes[1][j] * of_slope);
            }
        }
    }
}

}  // namespace spline
