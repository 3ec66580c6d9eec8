// The objective of GridPull as published on a dense lattice, and its gradient in the lattice's values, in one pass over pairs of query and
// target and one over the lattice.
//
// Memory: values, weights, gradient (M, M, M) float32, last axis fastest; queries, targets (N, 3) float32, all contiguous.
// Threads: roughness per plane of the lattice, each node gathers from its six neighbours; pairs per chunk, whose sums are added in order;
// their gradients per run of planes (dense.h): the same bytes whatever their number.
// Must equal reference/pulling.py: pulling and its autograd in the values.

#include <cmath>

#include "dense.h"
#include "dense_cell.h"

namespace {

constexpr float TINY_NORM = 1e-12f;   // below it a gradient's direction counts as its quotient with this, as torch's normalize does
constexpr float TINY_COSINE = 1e-8f;  // the same of torch's cosine_similarity

inline float dot(const float* a, const float* b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
inline float norm(const float* a) { return std::sqrt(dot(a, a)); }

// Where a row of nodes along z has weights: first <= z < end.
struct Range {
    int32_t first, end;
};

// What the nodes of a range of one row (x, y fixed) add to the sum over edges of (w_a + w_b) (f_a - f_b)^2; its gradient times scale / 2
// goes to `out`.
double rough_row(const float* f, const float* w, int64_t nodes, int64_t x, int64_t y, Range range, float scale, float* out) {
    const int64_t at = (x * nodes + y) * nodes, last = nodes - 1;
    const int64_t steps[4] = {x > 0 ? -nodes * nodes : 0, x < last ? nodes * nodes : 0, y > 0 ? -nodes : 0, y < last ? nodes : 0};
    const float *f0 = f + at, *fa = f0 + steps[0], *fb = f0 + steps[1], *fc = f0 + steps[2], *fd = f0 + steps[3];
    const float *w0 = w + at, *wa = w0 + steps[0], *wb = w0 + steps[1], *wc = w0 + steps[2], *wd = w0 + steps[3];
    float energy = 0;
    const auto node = [&](int64_t z, int64_t below, int64_t above) {
        const float here = f0[z], own = w0[z];
        const float a = here - fa[z], b = here - fb[z], c = here - fc[z], d = here - fd[z];
        const float e = here - f0[z + below], g = here - f0[z + above];
        const float pa = (own + wa[z]) * a, pb = (own + wb[z]) * b, pc = (own + wc[z]) * c, pd = (own + wd[z]) * d;
        const float pe = (own + w0[z + below]) * e, pg = (own + w0[z + above]) * g;
        if (out) out[at + z] = scale * (((pa + pb) + (pc + pd)) + (pe + pg));
        return ((pa * a + pb * b) + (pc * c + pd * d)) + (pe * e + pg * g);
    };
    if (range.first == 0) energy += node(0, 0, 1);
    const int64_t first = std::max(range.first, 1), end = std::min<int64_t>(range.end, last);
#pragma omp simd reduction(+ : energy)
    for (int64_t z = first; z < end; ++z) energy += node(z, -1, 1);
    if (range.end == nodes) energy += node(last, -1, 0);
    return 0.5 * energy;  // each edge is met from both its ends
}

// The same for a plane of the lattice, x fixed; `ranges` of all rows. Most rows of a lattice are far from the scan and have no weight.
double rough_plane(const float* f, const float* w, int64_t nodes, int64_t x, const Range* ranges, float scale, float* out) {
    const int32_t end = int32_t(nodes);
    double energy = 0;
    for (int64_t y = 0; y < nodes; ++y) {
        const Range* row = ranges + x * nodes + y;
        Range range = {end, 0};  // of nodes with a weighty edge: what the weights of the row and of its neighbours reach
        const auto reach = [&](bool there, const Range* other, int32_t further) {
            if (!there || other->first >= other->end) return;
            range.first = std::min(range.first, std::max(other->first - further, 0));
            range.end = std::max(range.end, std::min(other->end + further, end));
        };
        reach(true, row, 1);
        reach(x > 0, row - nodes, 0), reach(x < nodes - 1, row + nodes, 0), reach(y > 0, row - 1, 0), reach(y < nodes - 1, row + 1, 0);
        if (range.first < range.end) energy += rough_row(f, w, nodes, x, y, range, scale, out);
        if (!out) continue;
        float* gradient = out + (x * nodes + y) * nodes;
        std::fill(gradient, gradient + range.first, 0.0f);
        std::fill(gradient + std::max(range.first, range.end), gradient + nodes, 0.0f);
    }
    return energy;
}

struct Sums {
    double pull = 0, surface = 0, cosine = 0;
};

// One pair: adds to the sums, and gives the derivatives of its share by f(q), f(t), grad f(q), grad f(t), as [value, slope] each.
void pair(
    const float* q, const float* t, float at_q, const float* slope_q, float at_t, const float* slope_t, float surface, float align,
    Sums& sums, float* back_q, float* back_t) {
    float n[3], away[3], miss[3];
    const float length = norm(slope_q), floor = length > TINY_NORM ? length : TINY_NORM;
    for (int d = 0; d < 3; ++d) n[d] = slope_q[d] / floor, away[d] = q[d] - t[d], miss[d] = at_q * n[d] - away[d];
    const float far = std::exp(norm(away)), missed = norm(miss);
    const float la = length > TINY_COSINE ? length : TINY_COSINE, other = norm(slope_t), lb = other > TINY_COSINE ? other : TINY_COSINE;
    const float cosine = dot(slope_q, slope_t) / (la * lb);
    sums.pull += far * missed;
    sums.surface += at_t * at_t;
    sums.cosine += cosine;
    const float scale = missed > 0 ? far / missed : 0;
    const float along = dot(n, miss) * scale;  // derivative by f(q)
    const float turn = at_q / floor;
    back_q[0] = along;
    back_t[0] = 2 * surface * at_t;
    for (int d = 0; d < 3; ++d) {
        const float across = scale * miss[d] - (length > TINY_NORM ? along * n[d] : 0);
        const float a = slope_q[d] / la, b = slope_t[d] / lb;
        back_q[1 + d] = turn * across - align * (b - a * cosine) / la;
        back_t[1 + d] = -align * (a - b * cosine) / lb;
    }
}

}  // namespace

// Returns the loss. gradient null: not wanted; else it is overwritten, and there is scratch: back (N, 2, 4), slab (N, 2), order (N, 2),
// start (M + 1,). More scratch: ranges (M, M, 2), sums (M + 3 ceil(N / CHUNK),).
SURFRECON_API double pulling(
    const float* values, const float* weights, int64_t nodes, const float* queries, const float* targets, int64_t count, double smooth,
    double surface, double align, float* gradient, float* back, int32_t* slab, int32_t* order, int64_t* start, int32_t* ranges,
    double* sums, int32_t threads) {
    int64_t weighty = 0;
    Range* range = reinterpret_cast<Range*>(ranges);
#pragma omp parallel for schedule(static) num_threads(threads) reduction(+ : weighty)
    for (int64_t row = 0; row < nodes * nodes; ++row) {
        const float* w = weights + row * nodes;
        int64_t here = 0, first = 0, end = nodes;
        for (int64_t z = 0; z < nodes; ++z) here += w[z] > 0;
        while (here && !(w[first] > 0)) ++first;
        while (here && !(w[end - 1] > 0)) --end;
        range[row] = {int32_t(first), int32_t(here ? end : 0)};
        weighty += here;
    }
    const double per_node = smooth / double(std::max<int64_t>(weighty, 1));
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t x = 0; x < nodes; ++x) sums[x] = rough_plane(values, weights, nodes, x, range, float(2 * per_node), gradient);

    const float step = dense::step_of(nodes), per_step = 1 / step;
    const int64_t chunks = (count + dense::CHUNK - 1) / dense::CHUNK;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        Sums sum;
        for (int64_t i = chunk * dense::CHUNK; i < std::min((chunk + 1) * dense::CHUNK, count); ++i) {
            const dense::Cell cell_q = dense::cell_of(queries + 3 * i, nodes, step), cell_t = dense::cell_of(targets + 3 * i, nodes, step);
            float at_q, at_t, slope_q[3], slope_t[3], unused[8];
            dense::read_cell(values, nodes, cell_q, at_q, slope_q);
            dense::read_cell(values, nodes, cell_t, at_t, slope_t);
            for (int d = 0; d < 3; ++d) slope_q[d] *= per_step, slope_t[d] *= per_step;
            float* out = gradient ? back + 8 * i : unused;
            pair(queries + 3 * i, targets + 3 * i, at_q, slope_q, at_t, slope_t, float(surface), float(align), sum, out, out + 4);
            if (gradient) slab[2 * i] = int32_t(cell_q.node[0]), slab[2 * i + 1] = int32_t(cell_t.node[0]);
        }
        double* out = sums + nodes + 3 * chunk;
        out[0] = sum.pull, out[1] = sum.surface, out[2] = sum.cosine;
    }
    if (gradient) {
        const float share = float(1.0 / double(count));
        dense::scatter({slab, 2 * count, nodes - 1, start, order}, 2, threads, [=](int64_t i) {
            const float* given = back + 4 * i;
            float slope[3];
            for (int d = 0; d < 3; ++d) slope[d] = given[1 + d] * (share * per_step);
            const float* point = (i % 2 ? targets : queries) + 3 * (i / 2);
            dense::write_cell(gradient, nodes, dense::cell_of(point, nodes, step), given[0] * share, slope);
        });
    }
    double roughness = 0;
    Sums total;
    for (int64_t x = 0; x < nodes; ++x) roughness += sums[x];
    for (const double* part = sums + nodes; part < sums + nodes + 3 * chunks; part += 3)
        total.pull += part[0], total.surface += part[1], total.cosine += part[2];
    return (total.pull + surface * total.surface - align * total.cosine) / double(count) + align + per_node * roughness;
}
