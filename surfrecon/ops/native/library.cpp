// What a library says of itself before anything else in it is called.

#include "interface.h"

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
