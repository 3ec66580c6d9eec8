// The plane pull's linear map: the values of a spline at N points and its 3 N slopes, times a scale, from the coefficients; its transpose,
// its normal map and the squares of its columns. Must equal the matrix of pull_rows in reference/terms.py.
//
// Layout: points are sorted by brick; `coordinates` (N, 3) lie in the brick, 0 to 4; rows are in the caller's order, `order` (N,) leads
// there. Unknowns and results are full: 64 floats a stored brick. `near` (bricks with points, 27) are the slots of a brick's neighbours,
// last axis fastest, -1 beyond the lattice; `border` its sides that are the lattice's: bits 0-2 low x y z, 3-5 high.
// A thread takes a layer of bricks of one x and goes through its points in order. Layers of even x come first, then the odd ones: the nodes
// that two even layers write to don't meet, so no two threads write to one place, and every place gets its parts in the same order whatever
// the number of threads.

#include "interface.h"
#include "spline.h"

namespace {

using namespace spline;

struct Points {
    int64_t count, layers;
    const float* coordinates;
    const int32_t* order;
    const int32_t* start;  // (bricks + 1,) first point of each brick
    const int32_t* near;
    const uint8_t* border;
    const int32_t* layer;  // (layers + 1,) first brick of each layer
    float scale;
};

inline Stencil stencil(const float* u, uint8_t border, const int32_t* near) {
    Axis axes[3];
    for (int d = 0; d < 3; ++d) {
        int cell = static_cast<int>(u[d]);
        cell = cell < 0 ? 0 : (cell > BRICK - 1 ? BRICK - 1 : cell);
        axes[d] = axis_of(cell, u[d] - static_cast<float>(cell) - 0.5f, border >> d & 1, border >> (d + 3) & 1);
    }
    return stencil_of(axes[0], axes[1], axes[2], [&](int x, int y, int z) { return int64_t{near[(x * 3 + y) * 3 + z]}; });
}

inline void square(Stencil& s) {
    for (int axis = 0; axis < 2; ++axis)
        for (int k = 0; k < 3; ++k) {
            s.weights[axis][k] *= s.weights[axis][k];
            s.slopes[axis][k] *= s.slopes[axis][k];
        }
    for (int part = 0; part < s.parts; ++part) {
        s.weight_z[part] *= s.weight_z[part];
        s.slope_z[part] *= s.slope_z[part];
    }
}

enum class Job { forward, adjoint, normal, squares };

// rows: in the caller's order, (4 N,): N values, then 3 N slopes. Read but by `forward`, which writes them.
template <Job job>
void run_point(const Points& points, int64_t brick, int64_t n, const float* full, float* rows, float* result) {
    Stencil s = stencil(points.coordinates + 3 * n, points.border[brick], points.near + 27 * brick);
    float *value = rows + points.order[n], *slopes = rows + points.count + 3 * int64_t{points.order[n]};
    float at[4];
    if (job == Job::forward || job == Job::normal) {
        gather(full, s, at);
        for (int k = 1; k < 4; ++k) at[k] *= points.scale;
    }
    if (job == Job::forward) {
        *value = at[0];
        for (int k = 0; k < 3; ++k) slopes[k] = at[k + 1];
        return;
    }
    const float given[4] = {*value, slopes[0], slopes[1], slopes[2]};
    for (int k = 0; k < 4; ++k) at[k] = job == Job::normal ? at[k] * given[k] : given[k];
    if (job == Job::squares) square(s);
    for (int k = 1; k < 4; ++k) at[k] *= job == Job::squares ? points.scale * points.scale : points.scale;
    scatter(result, s, at);
}

template <Job job>
void run(const Points& points, const float* full, float* rows, float* result, int32_t threads) {
#pragma omp parallel num_threads(threads)
    for (int64_t parity = 0; parity < 2; ++parity) {
#pragma omp for schedule(dynamic)
        for (int64_t layer = parity; layer < points.layers; layer += 2)
            for (int64_t brick = points.layer[layer]; brick < points.layer[layer + 1]; ++brick)
                for (int64_t n = points.start[brick]; n < points.start[brick + 1]; ++n) run_point<job>(points, brick, n, full, rows, result);
    }
}

}  // namespace

// job: 0 A x into rows, 1 A^T rows, 2 A^T diag(rows) A x, 3 diagonal of A^T diag(rows) A; results are added to `result`.
SURFRECON_API void pull_rows(int32_t job, int64_t count, int64_t layers, const float* coordinates, const int32_t* order,
                             const int32_t* start, const int32_t* near, const uint8_t* border, const int32_t* layer, float scale,
                             const float* full, float* rows, float* result, int32_t threads) {
    const Points points = {count, layers, coordinates, order, start, near, border, layer, scale};
    if (job == 0) run<Job::forward>(points, full, rows, result, threads);
    if (job == 1) run<Job::adjoint>(points, full, rows, result, threads);
    if (job == 2) run<Job::normal>(points, full, rows, result, threads);
    if (job == 3) run<Job::squares>(points, full, rows, result, threads);
}
