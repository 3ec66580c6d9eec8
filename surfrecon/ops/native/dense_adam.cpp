// One step of Adam: both moments and the parameter in one pass.
//
// Memory: four arrays of `count` float32, contiguous. Threads: per block of BLOCK numbers; each number is its own.
// A block whose gradients and moments are all zero stays as it is, exactly, and is not written: far from the data a lattice has many.
// Must equal reference/adam.py.

#include <cmath>

#include "interface.h"

namespace {
constexpr int64_t BLOCK = 256;
constexpr double BETA_MEAN = 0.9, BETA_SQUARE = 0.999, EPSILON = 1e-8;
}  // namespace

SURFRECON_API void adam_step(
    float* parameter, const float* gradient, float* mean, float* square, int64_t count, int64_t step, double rate, int32_t threads) {
    const float keep_mean = float(BETA_MEAN), new_mean = float(1 - BETA_MEAN);
    const float keep_square = float(BETA_SQUARE), new_square = float(1 - BETA_SQUARE);
    const float rate_now = float(rate / (1 - std::pow(BETA_MEAN, double(step))));
    const float unbias = float(1 / std::sqrt(1 - std::pow(BETA_SQUARE, double(step)))), epsilon = float(EPSILON);
    const int64_t blocks = (count + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t block = 0; block < blocks; ++block) {
        const int64_t first = block * BLOCK, end = first + BLOCK < count ? first + BLOCK : count;
        int busy = 0;
        for (int64_t i = first; i < end; ++i) busy |= (gradient[i] != 0) | (mean[i] != 0) | (square[i] != 0);
        if (!busy) continue;
#pragma omp simd
        for (int64_t i = first; i < end; ++i) {
            const float g = gradient[i];
            const float m = keep_mean * mean[i] + new_mean * g, v = keep_square * square[i] + new_square * g * g;
            mean[i] = m;
            square[i] = v;
            parameter[i] -= rate_now * m / (std::sqrt(v) * unbias + epsilon);
        }
    }
}
