// spline_field: value and gradient of a spline on nested levels at N points. Must equal spline_field in reference/field.py.
//
// Layout: per level a table of bricks, last axis fastest, and coefficients brick by brick, 64 floats each; points and gradients (N, 3).
// A thread takes a run of points.

#include "interface.h"
#include "spline.h"

namespace {

using namespace spline;

// A point on one axis of a level: its cell, and how far it lies beyond the cell's node.
struct Place {
    int64_t cell;
    float beyond;
};

Place place(float x, int64_t resolution) {
    float clamped = x < -1.0f ? -1.0f : (x > 1.0f ? 1.0f : x);  // NaN stays
    float cells = (clamped + 1.0f) * (0.5f * static_cast<float>(resolution));
    int64_t cell = cells >= 0.0f ? static_cast<int64_t>(cells) : 0;
    if (cell > resolution - 1) cell = resolution - 1;
    return {cell, (cells - static_cast<float>(cell)) - 0.5f};
}

void evaluate(const Place* at, int64_t resolution, const int64_t* table, const float* coefficients, float* value, float* gradient) {
    const int64_t last = resolution / BRICK - 1;
    int64_t brick[3];
    Axis axes[3];
    for (int d = 0; d < 3; ++d) {
        brick[d] = at[d].cell / BRICK;
        axes[d] = axis_of(static_cast<int>(at[d].cell % BRICK), at[d].beyond, brick[d] == 0, brick[d] == last);
    }
    const auto slot_of = [&](int x, int y, int z) {
        return table[((brick[0] + x - 1) * (last + 1) + brick[1] + y - 1) * (last + 1) + brick[2] + z - 1];
    };
    float found[4];
    gather(coefficients, stencil_of(axes[0], axes[1], axes[2], slot_of), found);
    *value = found[0];
    if (gradient)
        for (int d = 0; d < 3; ++d) gradient[d] = found[d + 1] * (0.5f * static_cast<float>(resolution));
}

}  // namespace

// Levels from the finest to the coarsest. Points that no level holds keep what value and gradient (which may be null) hold.
SURFRECON_API void spline_field(int64_t levels, const int64_t* resolution, const int64_t* const* table, const int64_t* active,
                                const float* const* coefficients, int64_t points, const float* x, float* value, float* gradient,
                                int32_t threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < points; ++n) {
        for (int64_t l = 0; l < levels; ++l) {
            Place at[3];
            for (int axis = 0; axis < 3; ++axis) at[axis] = place(x[3 * n + axis], resolution[l]);
            const int64_t side = resolution[l] / BRICK;
            const int64_t slot = table[l][(at[0].cell / BRICK * side + at[1].cell / BRICK) * side + at[2].cell / BRICK];
            if (slot < 0 || slot >= active[l]) continue;
            evaluate(at, resolution[l], table[l], coefficients[l], value + n, gradient ? gradient + 3 * n : nullptr);
            break;
        }
    }
}
