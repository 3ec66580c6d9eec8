// What a library says of itself before anything else in it is called.

#include "interface.h"

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

// The version of the interface that this library was built for.
SURFRECON_API int32_t surfrecon_interface() { return SURFRECON_INTERFACE; }

// The highest of x86-64's levels that this processor and its system run and that there are libraries for: 4, 3, or 0.
SURFRECON_API int32_t surfrecon_x86_64_level() {
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool three = avx2 && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd");
    const bool four = avx512 && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return !three ? 0 : four ? 4 : 3;
#else
    return 0;
#endif
}

// Asks the system for large pages under memory that is about to be written to for the first time: it then comes several times sooner.
SURFRECON_API void surfrecon_large_pages(void* start, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    const uintptr_t page = uintptr_t(sysconf(_SC_PAGESIZE)), first = (uintptr_t(start) + page - 1) / page * page;
    const uintptr_t end = (uintptr_t(start) + uintptr_t(bytes)) / page * page;
    if (end > first) madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);  // a refusal changes nothing
#else
    (void)start, (void)bytes;
#endif
}
