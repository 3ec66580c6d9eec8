// Trilinear interpolation on a dense lattice: value and gradient at points, and their backward to the lattice.
//
// Memory: values and their gradient (M, M, M), last axis fastest; points (N, 3), value (N,), gradient (N, 3); all float32, contiguous.
// Threads: forward per chunk of points, backward per run of planes (dense.h): the same bytes whatever their number.
// Backward recomputes the cells. Must equal reference/trilinear.py: trilinear and its autograd in the values.

#include "dense.h"
#include "dense_cell.h"

// gradient null: not wanted.
SURFRECON_API void trilinear_forward(
    const float* values, int64_t nodes, const float* points, int64_t count, float* value, float* gradient, int32_t threads) {
    const float step = dense::step_of(nodes), per_step = 1 / step;
    dense::for_points(count, threads, [=](int64_t i) {
        float slope[3];
        dense::read_cell(values, nodes, dense::cell_of(points + 3 * i, nodes, step), value[i], slope);
        if (gradient)
            for (int d = 0; d < 3; ++d) gradient[3 * i + d] = slope[d] * per_step;
    });
}

// lattice comes zeroed. grad_value or grad_gradient null: zero. Scratch: slab (N,), order (N,), start (M + 1,).
SURFRECON_API void trilinear_backward(
    const float* points, int64_t count, const float* grad_value, const float* grad_gradient, int64_t nodes, float* lattice, int32_t* slab,
    int32_t* order, int64_t* start, int32_t threads) {
    const float step = dense::step_of(nodes), per_step = 1 / step;
    dense::for_points(count, threads, [=](int64_t i) { slab[i] = int32_t(dense::cell_of(points + 3 * i, nodes, step).node[0]); });
    dense::scatter({slab, count, nodes - 1, start, order}, 2, threads, [=](int64_t i) {
        float slope[3] = {0, 0, 0};
        if (grad_gradient)
            for (int d = 0; d < 3; ++d) slope[d] = grad_gradient[3 * i + d] * per_step;
        dense::write_cell(lattice, nodes, dense::cell_of(points + 3 * i, nodes, step), grad_value ? grad_value[i] : 0.0f, slope);
    });
}
