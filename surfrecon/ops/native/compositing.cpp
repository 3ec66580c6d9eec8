// What rays see of samples of a signed distance, by the opacity of NeuS, and its backward.
//
// Layout: S samples, those of ray r from offsets[r] on; directions, by_directions and all sums along rays (R, ...); gradient, color and what
// they are owed (S, 3); all float32, contiguous. A thread takes a chunk of rays at a time, whose samples go in tiles: slopes one after the
// other, exponentials several lanes at once, then the product along rays. Nothing is shared but sums over all samples, which are added
// chunk by chunk in order: the same bytes whatever the number of threads.
// Backward reads the weights and the transmittance behind each sample, and recomputes the rest. Nothing is divided by an opacity or its
// complement: with tau the optical depth, w = T (1 - exp(-tau)), the derivative by tau of sample k is (what w_k is owed) T_{k+1} less the
// sum of w times what it is owed over all samples behind k.
// Must equal reference/compositing.py: neus_composite and its autograd.

#include <algorithm>
#include <utility>

#include "activations.h"

namespace {

using activation::exp2_below;
using activation::LOG2_E;
using lanes::Lane;
using lanes::LANES;
using lanes::TILE;

constexpr int64_t CHUNK = 64;  // rays

inline float dot(const float* a, const float* b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

// How fast the distance is taken to fall along a ray, >= 0, and its derivative by the slope.
inline float falling(float slope, float anneal) {
    const float straight = slope > 0 ? 0 : -slope, early = slope > 1 ? 0 : 0.5f - 0.5f * slope;  // NaN stays
    return anneal * straight + (1 - anneal) * early;
}
inline float falling_slope(float slope, float anneal) { return (slope < 0 ? -anneal : 0) + (slope < 1 ? -0.5f * (1 - anneal) : 0); }

// s (f + half) and s (f - half): signed distances at the ends of intervals in units of 1 / s, and their difference.
struct Tile {
    alignas(64) float front[TILE], back[TILE], drop[TILE], first[TILE], second[TILE];

    void end(int64_t i, float sdf, float half, float inv_s) {
        front[i] = inv_s * (sdf + half);
        back[i] = inv_s * (sdf - half);
        drop[i] = inv_s * (2 * half);
    }

    void fill(int64_t from) {
        for (int64_t i = from; i % LANES; ++i) front[i] = back[i] = drop[i] = 0;
    }

    Lane below(const float* a, int64_t i) const {  // exp(-|a|)
        return exp2_below(lanes::same_bits<Lane>(lanes::same_bits<lanes::Whole>(lanes::load(a + i)) | INT32_MIN) * LOG2_E);
    }

    // first, second = opacity, and one minus it to its own precision.
    void opacities(int64_t count) {
        for (int64_t i = 0; i < count; i += LANES) {
            const Lane zero = {}, one = zero + 1;
            const Lane a = lanes::load(front + i), b = lanes::load(back + i), ea = below(front, i), eb = below(back, i);
            const Lane fall = exp2_below(lanes::load(drop + i) * -LOG2_E);
            const Lane whole = b < 0 ? (a < 0 ? fall : eb) : one;  // exp(min(b, 0) - min(a, 0))
            const Lane upper = 1 / (1 + eb);
            const Lane alpha = (b < 0 ? 1 - (a < 0 ? whole : whole * ea) : eb - ea) * upper, rest = whole * (1 + ea) * upper;
            lanes::store(first + i, alpha < 0 ? zero : alpha);
            lanes::store(second + i, rest > 1 ? one : rest);
        }
    }

    // first, second = the logistic function of -front and -back.
    void logistics(int64_t count) {
        for (int64_t i = 0; i < count; i += LANES)
            for (const auto& [from, to] : {std::pair{front, first}, std::pair{back, second}}) {
                const Lane e = below(from, i), upper = 1 / (1 + e);
                lanes::store(to + i, lanes::load(from + i) < 0 ? upper : e * upper);
            }
    }
};

}  // namespace

// behind (S,): the transmittance behind each sample; null: not wanted.
SURFRECON_API void neus_composite_forward(
    const int64_t* offsets, int64_t rays, const float* t, const float* lengths, const float* directions, const float* sdf,
    const float* gradient, const float* color, float inv_s, float anneal, float* weights, float* colors, float* depth, float* normal,
    float* transmittance, float* behind, int32_t threads) {
    const int64_t chunks = (rays + CHUNK - 1) / CHUNK;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        const int64_t begin = chunk * CHUNK, end = std::min(begin + CHUNK, rays), last = offsets[end];
        std::fill(colors + 3 * begin, colors + 3 * end, 0.0f);
        std::fill(normal + 3 * begin, normal + 3 * end, 0.0f);
        std::fill(depth + begin, depth + end, 0.0f);
        std::fill(transmittance + begin, transmittance + end, 1.0f);
        Tile tile;
        int64_t ray = begin, seen = begin;
        for (int64_t start = offsets[begin]; start < last; start += TILE) {
            const int64_t count = std::min<int64_t>(TILE, last - start);
            for (int64_t i = 0; i < count; ++i) {
                const int64_t s = start + i;
                while (s >= offsets[ray + 1]) ++ray;
                const float slope = dot(gradient + 3 * s, directions + 3 * ray);
                tile.end(i, sdf[s], falling(slope, anneal) * lengths[s] * 0.5f, inv_s);
            }
            tile.fill(count);
            tile.opacities(count);
            for (int64_t i = 0; i < count; ++i) {
                const int64_t s = start + i;
                while (s >= offsets[seen + 1]) ++seen;
                float& left = transmittance[seen];
                const float weight = left * tile.first[i];
                left *= tile.second[i];
                weights[s] = weight;
                if (behind) behind[s] = left;
                depth[seen] += weight * t[s];
                for (int d = 0; d < 3; ++d) {
                    colors[3 * seen + d] += weight * color[3 * s + d];
                    normal[3 * seen + d] += weight * gradient[3 * s + d];
                }
            }
        }
    }
}

// What is owed to weights, colors, depth, normal and transmittance: null for zero. What directions, gradient and color are owed: null if
// not wanted. sums (ceil(R / 64),) is scratch. Returns what inv_s is owed.
SURFRECON_API double neus_composite_backward(
    const int64_t* offsets, int64_t rays, const float* t, const float* lengths, const float* directions, const float* sdf,
    const float* gradient, const float* color, float inv_s, float anneal, const float* weights, const float* transmittance,
    const float* behind, const float* to_weights, const float* to_colors, const float* to_depth, const float* to_normal,
    const float* to_transmittance, float* by_directions, float* by_sdf, float* by_gradient, float* by_color, double* sums,
    int32_t threads) {
    const int64_t chunks = (rays + CHUNK - 1) / CHUNK;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        const int64_t begin = chunk * CHUNK, end = std::min(begin + CHUNK, rays), first = offsets[begin];
        if (by_directions) std::fill(by_directions + 3 * begin, by_directions + 3 * end, 0.0f);
        Tile tile;
        float by_tau[TILE], slopes[TILE];
        int64_t ray = end, seen = end;  // cursors from the last sample on
        float owed_behind = 0;
        double sharpness = 0;
        for (int64_t stop = offsets[end]; stop > first;) {
            const int64_t count = std::min<int64_t>(TILE, stop - first), start = stop - count;
            for (int64_t i = count - 1; i >= 0; --i) {
                const int64_t s = start + i;
                if (ray == end || s < offsets[ray]) {
                    do --ray;
                    while (s < offsets[ray]);
                    owed_behind = to_transmittance ? to_transmittance[ray] * transmittance[ray] : 0.0f;
                }
                float owed = to_weights ? to_weights[s] : 0.0f;
                if (to_colors) owed += dot(to_colors + 3 * ray, color + 3 * s);
                if (to_depth) owed += to_depth[ray] * t[s];
                if (to_normal) owed += dot(to_normal + 3 * ray, gradient + 3 * s);
                by_tau[i] = owed * behind[s] - owed_behind;
                owed_behind += owed * weights[s];
                slopes[i] = dot(gradient + 3 * s, directions + 3 * ray);
                tile.end(i, sdf[s], falling(slopes[i], anneal) * lengths[s] * 0.5f, inv_s);
            }
            tile.fill(count);
            tile.logistics(count);
            for (int64_t i = count - 1; i >= 0; --i) {
                const int64_t s = start + i;
                while (seen == end || s < offsets[seen]) --seen;
                const float front = tile.first[i], back = tile.second[i], half = falling(slopes[i], anneal) * lengths[s] * 0.5f;
                const float by_end = by_tau[i] * inv_s;
                by_sdf[s] = by_end * (front - back);
                sharpness += by_tau[i] * (front * (sdf[s] + half) - back * (sdf[s] - half));
                const float by_slope = by_end * (front + back) * (lengths[s] * 0.5f) * falling_slope(slopes[i], anneal);
                for (int d = 0; d < 3; ++d) {
                    if (by_gradient) {
                        const float along = by_slope * directions[3 * seen + d];
                        by_gradient[3 * s + d] = to_normal ? along + weights[s] * to_normal[3 * seen + d] : along;
                    }
                    if (by_directions) by_directions[3 * seen + d] += by_slope * gradient[3 * s + d];
                    if (by_color) by_color[3 * s + d] = to_colors ? weights[s] * to_colors[3 * seen + d] : 0.0f;
                }
            }
            stop = start;
        }
        sums[chunk] = sharpness;
    }
    double sharpness = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) sharpness += sums[chunk];
    return sharpness;
}
