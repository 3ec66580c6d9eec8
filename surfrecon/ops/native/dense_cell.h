// A point's cell on a dense (M, M, M) lattice over the box [-1, 1]^3, and what trilinear interpolation reads and writes there.
#pragma once

#include <cstdint>

namespace dense {

inline float step_of(int64_t nodes) { return float(2.0 / double(nodes - 1)); }

struct Cell {
    int64_t node[3];  // its lowest corner
    float t[3];       // place inside, 0 to 1; NaN stays NaN
};

// Points beyond the box take its border. The arithmetic is that of the reference, so that points on nodes fall into the same cell.
inline Cell cell_of(const float* x, int64_t nodes, float step) {
    Cell cell;
    for (int d = 0; d < 3; ++d) {
        const float inside = x[d] < -1.0f ? -1.0f : (x[d] > 1.0f ? 1.0f : x[d]);
        const float u = (inside + 1.0f) / step;
        cell.node[d] = u < float(nodes - 2) ? int64_t(u) : nodes - 2;
        cell.t[d] = u - float(cell.node[d]);
    }
    return cell;
}

inline int64_t place_of(const Cell& cell, int64_t nodes) { return (cell.node[0] * nodes + cell.node[1]) * nodes + cell.node[2]; }

// value and gradient (unit frame), the latter times `step`.
inline void read_cell(const float* values, int64_t nodes, const Cell& cell, float& value, float* slope) {
    const float* corner = values + place_of(cell, nodes);
    const float tx = cell.t[0], ty = cell.t[1], tz = cell.t[2];
    const int64_t x = nodes * nodes, y = nodes;
    const float v000 = corner[0], v001 = corner[1], v010 = corner[y], v011 = corner[y + 1];
    const float v100 = corner[x], v101 = corner[x + 1], v110 = corner[x + y], v111 = corner[x + y + 1];
    const float sx = 1 - tx, sy = 1 - ty, sz = 1 - tz;
    const float r00 = v001 - v000, r01 = v011 - v010, r10 = v101 - v100, r11 = v111 - v110;  // rises along z
    const float a00 = sz * v000 + tz * v001, a01 = sz * v010 + tz * v011, a10 = sz * v100 + tz * v101, a11 = sz * v110 + tz * v111;
    const float b0 = sy * a00 + ty * a01, b1 = sy * a10 + ty * a11;
    value = sx * b0 + tx * b1;
    slope[0] = b1 - b0;
    slope[1] = sx * (a01 - a00) + tx * (a11 - a10);
    slope[2] = sx * (sy * r00 + ty * r01) + tx * (sy * r10 + ty * r11);
}

// Adds to a cell's corners what value and gradient there owe to them: the transpose of read_cell.
inline void write_cell(float* lattice, int64_t nodes, const Cell& cell, float value, const float* slope) {
    float* corner = lattice + place_of(cell, nodes);
    const float ty = cell.t[1], tz = cell.t[2], sy = 1 - ty, sz = 1 - tz;
    const float w00 = sy * sz, w01 = sy * tz, w10 = ty * sz, w11 = ty * tz;
    const float a00 = w00 * value - sz * slope[1] - sy * slope[2], a01 = w01 * value - tz * slope[1] + sy * slope[2];
    const float a10 = w10 * value + sz * slope[1] - ty * slope[2], a11 = w11 * value + tz * slope[1] + ty * slope[2];
    for (int i = 0; i < 2; ++i) {
        const float w = i ? cell.t[0] : 1 - cell.t[0], s = i ? slope[0] : -slope[0];
        float* plane = corner + i * nodes * nodes;
        plane[0] += w * a00 + s * w00;
        plane[1] += w * a01 + s * w01;
        plane[nodes] += w * a10 + s * w10;
        plane[nodes + 1] += w * a11 + s * w11;
    }
}

}  // namespace dense
