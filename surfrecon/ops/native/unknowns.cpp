// Unknowns to their places among all coefficients, and back. Must equal indexing by `rows`.
//
// Layout: (count,) rows, each once. A thread takes a run of them.

#include "interface.h"

// full[rows[m]] = values[m]: unknowns to their places among all coefficients.
SURFRECON_API void spread(int64_t count, const int32_t* rows, const float* values, float* full, int32_t threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t m = 0; m < count; ++m) full[rows[m]] = values[m];
}

// values[m] = full[rows[m]]: the other way.
SURFRECON_API void collect(int64_t count, const int32_t* rows, const float* full, float* values, int32_t threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t m = 0; m < count; ++m) values[m] = full[rows[m]];
}
