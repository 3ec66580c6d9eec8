// What a library says of itself before anything else in it is called.

#include "interface.h"

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

// The version of the interface that this library was built for.
SURFRECON_API int32_t surfrecon_interface() { return SURFRECON_INTERFACE; }

// 1 if this processor and its system run code for x86-64-v3, else 0.
SURFRECON_API int32_t surfrecon_runs_x86_64_v3() {
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
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
