// The Laplacian of a lattice in bricks: at each node of the first `count` bricks the sum over its face neighbours of (theirs - its own),
// beyond the lattice nothing. Must equal the matrix of laplacian_rows in reference/terms.py.
//
// Layout: values 64 floats a brick, last axis fastest; `near` (count, 6) are the slots of the bricks at x - 1, x + 1, y - 1 ... z + 1,
// -1 beyond the lattice. Bricks from `stored` on count as zero. A thread takes a brick; each node is written once, so results don't
// depend on the number of threads. The map is its own transpose, so that A^T W A takes two passes.

#include "interface.h"
#include "spline.h"

namespace {

using namespace spline;

// A brick's rows along z, and those next to them in the bricks around.
struct Rows {
    Row at[BRICK + 2][BRICK + 2];  // by x and y, the brick's own from 1 to 4
    Row low[BRICK], high[BRICK];   // by x; lanes are y: the nodes before and after each row, where there are none the row's own ends
};

// Neighbours beyond the lattice are the border's own nodes, so that differences vanish.
inline void read(const float* own, const float* const* near, Rows& rows) {
    const auto row = [](const float* brick, int x, int y) { return load(brick + (x * BRICK + y) * BRICK); };
    constexpr int last = BRICK - 1;
    for (int k = 0; k < BRICK; ++k) {
        for (int j = 0; j < BRICK; ++j) rows.at[k + 1][j + 1] = row(own, k, j);
        rows.at[0][k + 1] = near[0] ? row(near[0], last, k) : row(own, 0, k);
        rows.at[BRICK + 1][k + 1] = near[1] ? row(near[1], 0, k) : row(own, last, k);
        rows.at[k + 1][0] = near[2] ? row(near[2], k, last) : row(own, k, 0);
        rows.at[k + 1][BRICK + 1] = near[3] ? row(near[3], k, 0) : row(own, k, last);
        const float* before = near[4] ? near[4] + last : own;
        const float* after = near[5] ? near[5] : own + last;
        const int64_t x = k * BRICK * BRICK;
        rows.low[k] = Row{before[x], before[x + 4], before[x + 8], before[x + 12]};
        rows.high[k] = Row{after[x], after[x + 4], after[x + 8], after[x + 12]};
    }
}

// The sum over the face neighbours of the row at (i, j).
inline Row neighbours(const Rows& rows, int i, int j) {
    const Row here = rows.at[i + 1][j + 1];
    const Row below = {rows.low[i][j], here[0], here[1], here[2]}, above = {here[1], here[2], here[3], rows.high[i][j]};
    return ((rows.at[i][j + 1] + rows.at[i + 2][j + 1]) + (rows.at[i + 1][j] + rows.at[i + 1][j + 2])) + (below + above);
}

// How many of the six neighbours of the nodes of the row at (i, j) are on the lattice.
inline Row present(const float* const* near, int i, int j) {
    const auto missing = [&](int side, bool there) { return there && !near[side] ? 1.0f : 0.0f; };
    const float across = 6 - missing(0, i == 0) - missing(1, i == BRICK - 1) - missing(2, j == 0) - missing(3, j == BRICK - 1);
    return Row{across - missing(4, true), across, across, across - missing(5, true)};
}

template <bool squares>
void run(int64_t count, int64_t stored, const int32_t* near, const float* values, const float* weights, float* result, int32_t threads) {
    static const float zeros[BRICK_NODES] = {};
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t brick = 0; brick < count; ++brick) {
        const float* sides[6];
        for (int side = 0; side < 6; ++side) {
            const int32_t slot = near[6 * brick + side];
            sides[side] = slot < 0 ? nullptr : (slot < stored ? values + int64_t{slot} * BRICK_NODES : zeros);
        }
        Rows rows;
        read(values + brick * BRICK_NODES, sides, rows);
        for (int i = 0; i < BRICK; ++i)
            for (int j = 0; j < BRICK; ++j) {
                const int64_t place = brick * BRICK_NODES + (i * BRICK + j) * BRICK;
                Row found = neighbours(rows, i, j);
                const Row here = rows.at[i + 1][j + 1];
                if (squares) {
                    const Row there = present(sides, i, j);
                    found += (there * there - (6.0f - there)) * here;  // nodes beyond the lattice were taken for the border's own
                } else {
                    found -= 6.0f * here;
                }
                store(result + place, weights ? found * load(weights + place) : found);
            }
    }
}

}  // namespace

// result (count * 64,) = weights (null for ones) times the Laplacian of values (stored * 64,).
SURFRECON_API void laplacian(int64_t count, int64_t stored, const int32_t* near, const float* values, const float* weights, float* result,
                             int32_t threads) {
    run<false>(count, stored, near, values, weights, result, threads);
}

// result (count * 64,) = the squares of the Laplacian's matrix, transposed, times values (stored * 64,).
SURFRECON_API void laplacian_squares(int64_t count, int64_t stored, const int32_t* near, const float* values, float* result,
                                     int32_t threads) {
    run<true>(count, stored, near, values, nullptr, result, threads);
}
