// What the kernels on dense lattices share: loops over points, and sums of points on a lattice, the same bytes for any number of threads.
//
// Points go in chunks of fixed size, so that which of them a compiler takes together does not follow the threads. To be added to a lattice
// they are sorted, stably, by slab, the first plane that they touch. Runs of slabs, whose borders follow from the points alone, then go in
// two rounds, every other run at a time: runs of one round have no plane in common, and a node gets its shares in one order.
#pragma once

#include <algorithm>

#include "interface.h"

namespace dense {

constexpr int64_t CHUNK = 4096;
constexpr int64_t RUNS = 64;  // at most, of about as many points each: enough to share among threads

// Points by slab, those of slab -1 left out, in memory of the caller's.
struct Slabs {
    const int32_t* slab;  // (count,) slab of each point, -1 for none
    int64_t count;
    int64_t slabs;
    int64_t* start;  // (slabs + 2) filled here: slab s has order[start[s]] to order[start[s + 1] - 1]
    int32_t* order;  // (count,) filled here

    void sort() const {
        std::fill(start, start + slabs + 2, 0);
        for (int64_t i = 0; i < count; ++i) ++start[slab[i] + 2];  // counts, one place further than where a slab begins in the end
        start[1] = 0;                                              // those of slab -1
        for (int64_t s = 0; s < slabs; ++s) start[s + 2] += start[s + 1];
        for (int64_t i = 0; i < count; ++i)
            if (slab[i] >= 0) order[start[slab[i] + 1]++] = int32_t(i);
    }
};

// Calls add(point) for the points of all slabs; it may write to the `width` planes from the point's slab on.
template <class Add>
void scatter(const Slabs& points, int64_t width, int32_t threads, Add add) {
    points.sort();
    const int64_t* start = points.start;
    const int64_t enough = start[points.slabs] / RUNS + 1;  // points of a run
    int64_t border[RUNS + 2] = {0}, runs = 0;
    for (int64_t s = 0; s < points.slabs; border[++runs] = s) {
        const int64_t first = s;
        s = std::min(s + std::max<int64_t>(width - 1, 1), points.slabs);  // so wide that the runs on both sides don't meet
        while (s < points.slabs && start[s] - start[first] < enough) ++s;
    }
    for (int64_t round = 0; round < 2; ++round) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
        for (int64_t run = round; run < runs; run += 2)
            for (int64_t i = start[border[run]]; i < start[border[run + 1]]; ++i) add(points.order[i]);
    }
}

// Calls each(i) for 0 <= i < count.
template <class Each>
void for_points(int64_t count, int32_t threads, Each each) {
    const int64_t chunks = (count + CHUNK - 1) / CHUNK;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
        for (int64_t i = chunk * CHUNK; i < std::min((chunk + 1) * CHUNK, count); ++i) each(i);
}

}  // namespace dense
