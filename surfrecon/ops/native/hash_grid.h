// The layout of a hash grid, and where points are on it.
//
// Layout: see ../hash_grid.py; the table is (E, F). Points go in tiles of TILE, whose arrays are [row][TILE]: a loop over a tile is one
// over SIMD lanes. Places are computed in double: in float the finest level would know them to 1e-4 of a cell only.
// Must equal reference/hash_encoding.py.
#pragma once

#include <algorithm>
#include <cstdint>

#include "interface.h"
#include "lanes.h"

// As in hash_encoding.py.
struct HashLevel {
    float scale;
    int32_t vertices, dense, entries, offset;
};

struct HashGrid {
    int32_t levels, features, smooth;
    HashLevel level[32];
};

namespace hash {

using lanes::TILE;

constexpr int CORNERS = 8;  // of a cell, last axis fastest
constexpr uint32_t PRIME_Y = 2654435761u, PRIME_Z = 805459861u;

// The cells of a tile's points on a level.
struct Cells {
    alignas(64) float beyond[3][TILE];  // t, from the lower vertex to the upper: 0 to 1, NaN where the point is
    alignas(64) int32_t row[CORNERS][TILE];

    // x: 3 rows, in the box.
    Cells(const HashLevel& level, const float* x) {
        alignas(64) int32_t vertex[3][TILE];
        const double half = 0.5 * double(level.scale), middle = half + 0.5;
        for (int axis = 0; axis < 3; ++axis)
            for (int p = 0; p < TILE; ++p) {
                const double place = double(x[axis * TILE + p]) * half + middle;
                vertex[axis][p] = int32_t(place >= 0 ? place : 0);
                beyond[axis][p] = float(place - vertex[axis][p]);
            }
        if (level.dense) find_dense(level, vertex);
        else find_hashed(level, vertex);
    }

private:
    void find_dense(const HashLevel& level, const int32_t (*vertex)[TILE]) {
        const int32_t y = level.vertices, z = y * y, entries = level.entries;
        for (int c = 0; c < CORNERS; ++c)
            for (int p = 0; p < TILE; ++p) {
                const int32_t entry = (vertex[0][p] + (c >> 2)) + y * (vertex[1][p] + (c >> 1 & 1)) + z * (vertex[2][p] + (c & 1));
                row[c][p] = (entry < entries ? entry : entry - entries) + level.offset;  // all are below 2 entries
            }
    }

    void find_hashed(const HashLevel& level, const int32_t (*vertex)[TILE]) {
        const uint32_t last = uint32_t(level.entries) - 1;
        for (int c = 0; c < CORNERS; ++c)
            for (int p = 0; p < TILE; ++p) {
                const uint32_t x = uint32_t(vertex[0][p] + (c >> 2)), y = uint32_t(vertex[1][p] + (c >> 1 & 1)) * PRIME_Y;
                const uint32_t z = uint32_t(vertex[2][p] + (c & 1)) * PRIME_Z;
                row[c][p] = int32_t((x ^ y ^ z) & last) + level.offset;
            }
    }
};

}  // namespace hash
