// Samples of rays in the occupied cells of a lattice over the box: counted, then written. Of those only what rays see of a surface, if one
// is given by its values on another lattice: there a ray ends where nothing gets through.
//
// Layout: occupied (M, M, M) bytes, last axis fastest; blocks (ceil(M / 8),)^3 bytes: whether any cell of 8^3 is occupied; origins,
// directions (R, 3), steps, jitter (R,) float32; t, lengths (S,) float32, those of ray r from offsets[r] on. A thread takes a chunk of rays.
// From a place in an empty block, or else an empty cell, a ray goes on at the first place that may be beyond it. Which cell a place is in
// is always told from the place itself, in double and by one formula, so that no sample is lost or won by skipping.
// values (nodes, nodes, nodes) float32, last axis fastest.
// Must equal reference/marching.py: march; with a surface but for samples on the edge of being seen, whose weights are summed in float32.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "dense_cell.h"
#include "interface.h"

namespace {

constexpr int BLOCK = 8;          // cells along an axis
constexpr int64_t CHUNK = 64;     // rays
constexpr double MARGIN = 1e-10;  // cells: what is left of a region before its border, for rounding
constexpr double EVER = std::numeric_limits<double>::infinity();

struct Lattice {
    const uint8_t *occupied, *blocks;
    int64_t cells;

    int64_t rows() const { return (cells + BLOCK - 1) / BLOCK; }
};

struct Ray {
    double at[3], speed[3], per_speed[3];  // where a ray begins, in cells, and cells per unit length along it
    double near = 0, far = EVER;

    Ray(const float* origin, const float* direction, int64_t cells) {
        const double per_side = 0.5 * double(cells);
        bool finite = true;
        for (int axis = 0; axis < 3; ++axis) {
            const double o = origin[axis], d = direction[axis], one = (-1 - o) / d, other = (1 - o) / d;
            if (d != 0) near = std::max(near, std::min(one, other)), far = std::min(far, std::max(one, other));
            else if (std::fabs(o) > 1) far = -EVER;
            finite = finite && std::isfinite(o) && std::isfinite(d);
            at[axis] = (o + 1) * per_side, speed[axis] = d * per_side, per_speed[axis] = 1 / speed[axis];
        }
        if (!finite || !std::isfinite(far)) far = -EVER;
    }
};

// A signed distance by its values at nodes; null values: none, all samples count.
struct Surface {
    const float* values;
    int64_t nodes;
    float inv_s, band, dark;
};

// What a ray sees of a surface: for one sample after the other, from the nearest on, whether it counts.
class Sight {
   public:
    Sight(const Surface& surface, const float* origin, const float* direction, float length)
        : surface_(surface), origin_(origin), direction_(direction), length_(length), step_(dense::step_of(surface.nodes)) {}

    bool ended() const { return through_ <= surface_.dark; }

    bool sees(double t) {
        if (!surface_.values) return true;
        float x[3], value, slope[3], along = 0;
        for (int d = 0; d < 3; ++d) x[d] = origin_[d] + float(t) * direction_[d];
        dense::read_cell(surface_.values, surface_.nodes, dense::cell_of(x, surface_.nodes, step_), value, slope);
        for (int d = 0; d < 3; ++d) along += slope[d] * direction_[d];
        const float half = std::max(-along / step_, 0.0f) * length_ * 0.5f;
        const float a = surface_.inv_s * (value + half), b = surface_.inv_s * (value - half);
        // Phi(b) / Phi(a), Phi the logistic function, from exponentials that can't overflow
        const float whole = std::exp(std::min(b, 0.0f) - std::min(a, 0.0f));
        const float rest = std::min(whole * (1 + std::exp(-std::fabs(a))) / (1 + std::exp(-std::fabs(b))), 1.0f);
        through_ *= rest;
        return std::fabs(value) < surface_.band;
    }

   private:
    const Surface& surface_;
    const float *origin_, *direction_;
    float length_, step_, through_ = 1;
};

// Calls found(count, t) for each sample of a ray that sight sees, of at most `most`; returns how many there are.
template <class Found>
int64_t along(const Lattice& lattice, const Ray& ray, double step, double first, int64_t most, Sight sight, Found found) {
    const int64_t cells = lattice.cells, rows = lattice.rows();
    const double per_step = 1 / step;
    int64_t count = 0, places = 0;
    for (double k = 0; places < most && !sight.ended();) {
        const double t = ray.near + (k + first) * step;
        if (!(t < ray.far)) break;
        int64_t cell[3];
        for (int axis = 0; axis < 3; ++axis)
            cell[axis] = std::min(std::max<int64_t>(int64_t(ray.at[axis] + t * ray.speed[axis]), 0), cells - 1);
        if (lattice.occupied[(cell[0] * cells + cell[1]) * cells + cell[2]]) {
            ++places;
            if (sight.sees(t)) found(count++, t);
            k += 1;
            continue;
        }
        const bool wide = !lattice.blocks[(cell[0] / BLOCK * rows + cell[1] / BLOCK) * rows + cell[2] / BLOCK];
        double leaves = EVER;
        for (int axis = 0; axis < 3; ++axis) {
            if (ray.speed[axis] == 0) continue;
            const int64_t low = wide ? cell[axis] / BLOCK * BLOCK : cell[axis], high = wide ? low + BLOCK : low + 1;
            const double border = ray.speed[axis] > 0 ? double(high) - MARGIN : double(low) + MARGIN;
            leaves = std::min(leaves, (border - ray.at[axis]) * ray.per_speed[axis]);
        }
        k = std::max(k + 1, std::ceil((leaves - ray.near) * per_step - first));
    }
    return count;
}

template <class Each>
void for_rays(int64_t rays, int32_t threads, Each each) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int64_t begin = 0; begin < rays; begin += CHUNK)
        for (int64_t ray = begin; ray < std::min(begin + CHUNK, rays); ++ray) each(ray);
}

}  // namespace

// Fills blocks, and counts (R,) the samples of each ray.
SURFRECON_API void march_count(
    const uint8_t* occupied, int64_t cells, uint8_t* blocks, const float* origins, const float* directions, const float* steps,
    const float* jitter, int64_t rays, int64_t most, const float* values, int64_t nodes, float inv_s, float band, float dark, int64_t* counts,
    int32_t threads) {
    const Lattice lattice = {occupied, blocks, cells};
    const Surface surface = {values, nodes, inv_s, band, dark};
    const int64_t rows = lattice.rows();
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t x = 0; x < rows; ++x) {
        std::fill(blocks + x * rows * rows, blocks + (x + 1) * rows * rows, uint8_t(0));
        for (int64_t i = x * BLOCK; i < std::min((x + 1) * BLOCK, cells); ++i)
            for (int64_t j = 0; j < cells; ++j) {
                const uint8_t* from = occupied + (i * cells + j) * cells;
                uint8_t* to = blocks + (x * rows + j / BLOCK) * rows;
                for (int64_t k = 0; k < cells; k += BLOCK) {
                    uint64_t eight = 0;
                    static_assert(sizeof eight == BLOCK, "a byte a cell");
                    std::memcpy(&eight, from + k, std::min<int64_t>(BLOCK, cells - k));
                    to[k / BLOCK] |= eight != 0;
                }
            }
    }
    for_rays(rays, threads, [=](int64_t r) {
        const Ray ray(origins + 3 * r, directions + 3 * r, cells);
        const Sight sight(surface, origins + 3 * r, directions + 3 * r, steps[r]);
        counts[r] = along(lattice, ray, steps[r], double(jitter[r]) + 0.5, most, sight, [](int64_t, double) {});
    });
}

SURFRECON_API void march_write(
    const uint8_t* occupied, int64_t cells, const uint8_t* blocks, const float* origins, const float* directions, const float* steps,
    const float* jitter, int64_t rays, int64_t most, const float* values, int64_t nodes, float inv_s, float band, float dark,
    const int64_t* offsets, float* t, float* lengths, int32_t threads) {
    const Lattice lattice = {occupied, blocks, cells};
    const Surface surface = {values, nodes, inv_s, band, dark};
    for_rays(rays, threads, [=](int64_t r) {
        if (offsets[r] == offsets[r + 1]) return;
        const Ray ray(origins + 3 * r, directions + 3 * r, cells);
        const double step = steps[r], first = double(jitter[r]) + 0.5;
        const Sight sight(surface, origins + 3 * r, directions + 3 * r, steps[r]);
        along(lattice, ray, step, first, most, sight, [=](int64_t place, double middle) {
            t[offsets[r] + place] = float(middle);
            lengths[offsets[r] + place] = steps[r];
        });
    });
}
