// Quadratic B-splines on a dense lattice: read it at points, or write points to it, without storing any stencil.
//
// Memory: lattice (nx, ny, nz), last axis fastest; lattice coordinates u (N, 3), amounts (N,) or (N, 3), value (N,), gradient (N, 3); all
// float32, contiguous. Node n of an axis stands at n; a point whose 27 nodes are not all on the lattice takes and gives nothing.
// Threads: gather per chunk of points, splat per run of planes (dense.h): the same bytes whatever their number.
// Must equal reference/dense_spline.py.

#include <cmath>

#include "dense.h"

namespace {

struct Stencil {
    bool held;
    int64_t corner[3];       // the lowest node
    float w[3][3], d[3][3];  // along each axis: weights of its three nodes and their slopes
};

inline Stencil stencil_of(const float* u, const int64_t* shape) {
    Stencil s;
    s.held = true;
    for (int axis = 0; axis < 3; ++axis) {
        const float middle = std::floor(u[axis] + 0.5f);
        s.held &= middle >= 1 && middle <= float(shape[axis] - 2);  // NaN: not held
        const float t = u[axis] - middle, below = 0.5f - t, above = 0.5f + t;
        s.corner[axis] = s.held ? int64_t(middle) - 1 : 0;
        s.w[axis][0] = 0.5f * below * below, s.w[axis][1] = 0.75f - t * t, s.w[axis][2] = 0.5f * above * above;
        s.d[axis][0] = -below, s.d[axis][1] = -2 * t, s.d[axis][2] = above;
    }
    return s;
}

}  // namespace

// gradient null: not wanted.
SURFRECON_API void spline_gather(
    const float* lattice, int64_t nx, int64_t ny, int64_t nz, const float* u, int64_t count, float* value, float* gradient,
    int32_t threads) {
    const int64_t shape[3] = {nx, ny, nz};
    dense::for_points(count, threads, [=](int64_t i) {
        const Stencil s = stencil_of(u + 3 * i, shape);
        float v = 0, gx = 0, gy = 0, gz = 0;
        if (s.held) {
            const float* corner = lattice + (s.corner[0] * shape[1] + s.corner[1]) * shape[2] + s.corner[2];
            const float* wz = s.w[2];
            const float* dz = s.d[2];
            for (int x = 0; x < 3; ++x) {
                float plane = 0, plane_y = 0, plane_z = 0;
                for (int y = 0; y < 3; ++y) {
                    const float* row = corner + (x * shape[1] + y) * shape[2];
                    const float along = row[0] * wz[0] + row[1] * wz[1] + row[2] * wz[2];
                    plane += s.w[1][y] * along;
                    plane_y += s.d[1][y] * along;
                    plane_z += s.w[1][y] * (row[0] * dz[0] + row[1] * dz[1] + row[2] * dz[2]);
                }
                v += s.w[0][x] * plane;
                gx += s.d[0][x] * plane;
                gy += s.w[0][x] * plane_y;
                gz += s.w[0][x] * plane_z;
            }
        }
        value[i] = v;
        if (gradient) gradient[3 * i] = gx, gradient[3 * i + 1] = gy, gradient[3 * i + 2] = gz;
    });
}

// amounts (N, width), width 1: scalars by weights; 3: vectors by slopes. lattice comes zeroed. Scratch: slab (N,), order (N,), start (nx,).
SURFRECON_API void spline_splat(
    const float* u, const float* amounts, int64_t width, int64_t count, int64_t nx, int64_t ny, int64_t nz, float* lattice, int32_t* slab,
    int32_t* order, int64_t* start, int32_t threads) {
    const int64_t shape[3] = {nx, ny, nz};
    dense::for_points(count, threads, [=](int64_t i) {
        const Stencil s = stencil_of(u + 3 * i, shape);
        slab[i] = s.held ? int32_t(s.corner[0]) : -1;
    });
    dense::scatter({slab, count, nx - 2, start, order}, 3, threads, [=](int64_t i) {
        const Stencil s = stencil_of(u + 3 * i, shape);
        const float* a = amounts + width * i;
        float* corner = lattice + (s.corner[0] * shape[1] + s.corner[1]) * shape[2] + s.corner[2];
        for (int x = 0; x < 3; ++x) {
            for (int y = 0; y < 3; ++y) {
                // Of the row along z: what goes with its weights, and with its slopes.
                const float w = s.w[0][x] * s.w[1][y];
                const float by_weight = width == 1 ? w * a[0] : s.d[0][x] * s.w[1][y] * a[0] + s.w[0][x] * s.d[1][y] * a[1];
                const float by_slope = width == 1 ? 0 : w * a[2];
                float* row = corner + (x * shape[1] + y) * shape[2];
                for (int z = 0; z < 3; ++z) row[z] += by_weight * s.w[2][z] + by_slope * s.d[2][z];
            }
        }
    });
}
