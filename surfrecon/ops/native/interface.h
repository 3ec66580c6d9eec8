// What every kernel file includes. Functions are plain C: pointers to contiguous arrays, sizes as int64_t, and nothing that throws.
// Each takes the number of threads, so that one and many give the same bytes whoever owns OpenMP's own settings.
#pragma once

#include <cstdint>

#define SURFRECON_INTERFACE 8  // INTERFACE in loader.py must be the same: raise both when a function's arguments change

#if defined(__GNUC__)
#define SURFRECON_API extern "C" __attribute__((visibility("default")))
#define SURFRECON_INLINE inline __attribute__((always_inline))  // loops around it are vectorised only then
#else
#define SURFRECON_API extern "C"
#define SURFRECON_INLINE inline
#endif
