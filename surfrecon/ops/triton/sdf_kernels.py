"""hash_sdf in one kernel, and its backward in another. Layout, letters and frame: see hash_grid.py; tiles: see cells.py.

A program has B points. `forward` encodes them (features and their three derivatives), sends them through the network by products on the
tensor cores, and one row of derivatives back. `backward` is given nothing of that: it computes it again, and adds to the table's
derivatives once, for value and gradient together.

Letters: a_k = W_k h_(k-1) + b_k, h_k = act(a_k), s_k = act'(a_k); the row is u_k = r_k s_k, r_(k-1) = u_k W_k, r_last = row 0 of W_last.
Backward of the row: q_0 = the derivative of the inputs along n, which is what the loss asks of the gradient, p_k = W_k q_(k-1),
q_k = p_k s_k; then W_k gets u_k q_(k-1), row 0 of W_last gets q_last, and a_k gets p_k r_k act''(a_k).

Parameters are one array: weights, layer after layer, then biases, layer after layer; so is each of the copies that their derivatives are
added to. What enters a matrix product is rounded to PRECISION first. The products of the point itself, biases, the distance and all sums
are float32. Must equal reference/hash_sdf.py.
"""

from __future__ import annotations

import triton
import triton.language as tl

from surfrecon.ops.hash_grid import SOFTPLUS_BETA
from surfrecon.ops.triton.cells import clamped, encode, scatter, weights_of_columns

BETA = tl.constexpr(SOFTPLUS_BETA)


@triton.jit
def dot(a, b, PRECISION: tl.constexpr):
    """The matrix product."""
    if PRECISION == "bf16":
        return tl.dot(a.to(tl.bfloat16), b.to(tl.bfloat16))
    else:
        return tl.dot(a, b, input_precision=PRECISION)


@triton.jit
def matrix(at, ROWS: tl.constexpr, COLUMNS: tl.constexpr, STRIDE: tl.constexpr, TALL: tl.constexpr, WIDE: tl.constexpr):
    """(TALL, WIDE) tile of a (ROWS, COLUMNS) matrix whose rows begin STRIDE apart, zero beyond."""
    row, column = tl.arange(0, TALL)[:, None], tl.arange(0, WIDE)[None, :]
    return tl.load(at + row * STRIDE + column, mask=(row < ROWS) & (column < COLUMNS), other=0.0)


@triton.jit
def add_matrix(at, amount, ROWS: tl.constexpr, COLUMNS: tl.constexpr, STRIDE: tl.constexpr, TALL: tl.constexpr, WIDE: tl.constexpr):
    row, column = tl.arange(0, TALL)[:, None], tl.arange(0, WIDE)[None, :]
    tl.atomic_add(at + row * STRIDE + column, amount, mask=(row < ROWS) & (column < COLUMNS), sem="relaxed")


@triton.jit
def add_column(at, amount, STRIDE: tl.constexpr, LENGTH: tl.constexpr, PADDED: tl.constexpr):
    """Add the sums of the columns of an amount."""
    place = tl.arange(0, PADDED)
    tl.atomic_add(at + place * STRIDE, tl.sum(amount, axis=0), mask=place < LENGTH, sem="relaxed")


@triton.jit
def activated(a, ACTIVATION: tl.constexpr):
    """The activation and its derivative; NaN stays."""
    if ACTIVATION == "relu":
        return tl.where(a <= 0.0, 0.0, a), (a > 0.0).to(tl.float32)
    else:
        z = a if ACTIVATION == "silu" else BETA * a
        small = tl.exp(-tl.abs(z))
        share = 1.0 / (1.0 + small)
        s = tl.where(z < 0.0, small * share, share)  # the sigmoid of z
        if ACTIVATION == "silu":
            return a * s, s * (1.0 + a * (1.0 - s))
        else:
            return tl.where(a <= 0.0, 0.0, a) + tl.log(1.0 + small) / BETA, s


@triton.jit
def curved(a, s, ACTIVATION: tl.constexpr):
    """The activation's second derivative; s is the first."""
    if ACTIVATION == "relu":
        return tl.zeros_like(a)
    elif ACTIVATION == "softplus":
        return BETA * s * (1.0 - s)
    else:
        g = tl.sigmoid(a)
        return g * (1.0 - g) * (2.0 + a * (1.0 - 2.0 * g))


@triton.jit
def first_layer(
    e, w, x0, x1, x2, parameters,
    ENCODED: tl.constexpr, WIDTH: tl.constexpr, XYZ: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """(B, WIDTH) the first weights, of which w are the features' columns, times features e and the vector (x0, x1, x2)."""
    a = dot(e, tl.trans(w), PRECISION)
    if XYZ:
        column = parameters + tl.arange(0, WIDTH)[None, :] * (ENCODED + 3) + ENCODED
        a += x0[:, None] * tl.load(column) + x1[:, None] * tl.load(column + 1) + x2[:, None] * tl.load(column + 2)
    return a


@triton.jit
def asked_of_gradient(by_slope, rows, inside, x0):
    """(B,) three components of n; something or other if nothing is asked."""
    if by_slope is None:
        return x0, x0, x0
    else:
        at = by_slope + rows * 3
        return tl.load(at, mask=inside, other=0.0), tl.load(at + 1, mask=inside, other=0.0), tl.load(at + 2, mask=inside, other=0.0)


@triton.jit(do_not_specialize=["count"])
def forward(
    x, table, scales, layout, mask, parameters, sdf, slope, features, count, radius,
    LEVELS: tl.constexpr, LANES: tl.constexpr, FEATURES: tl.constexpr, SMOOTH: tl.constexpr,
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr, OUTPUTS: tl.constexpr, PADDED: tl.constexpr,
    ACTIVATION: tl.constexpr, BIASES: tl.constexpr, XYZ: tl.constexpr, PRECISION: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    ENCODED: tl.constexpr = LEVELS * FEATURES
    INPUTS: tl.constexpr = ENCODED + 3 * XYZ
    WIDE: tl.constexpr = LANES * FEATURES
    SQUARES: tl.constexpr = WIDTH * INPUTS  # where the weights between hidden layers begin
    LAST: tl.constexpr = SQUARES + (HIDDEN - 1) * WIDTH * WIDTH
    OFFSETS: tl.constexpr = LAST + OUTPUTS * WIDTH  # biases
    GRADIENT: tl.constexpr = slope is not None
    rows = tl.program_id(0) * B + tl.arange(0, B)
    inside = rows < count
    x0, x1, x2 = clamped(x, rows, inside, 0), clamped(x, rows, inside, 1), clamped(x, rows, inside, 2)
    e, dx, dy, dz = encode(table, x0, x1, x2, inside, scales, layout, mask, LEVELS, LANES, FEATURES, SMOOTH, GRADIENT)
    weight = weights_of_columns(mask, LEVELS, LANES, FEATURES)[None, :]
    unit = tl.arange(0, WIDTH)
    w = matrix(parameters, WIDTH, ENCODED, INPUTS, WIDTH, WIDE)

    a = first_layer(tl.reshape(e, [B, WIDE]) * weight, w, x0, x1, x2, parameters, ENCODED, WIDTH, XYZ, PRECISION)
    if BIASES:
        a += tl.load(parameters + OFFSETS + unit)[None, :]
    h, s = activated(a, ACTIVATION)
    rises = (s,)
    for layer in tl.static_range(1, HIDDEN):
        between = matrix(parameters + SQUARES + (layer - 1) * WIDTH * WIDTH, WIDTH, WIDTH, WIDTH, WIDTH, WIDTH)
        a = dot(h, tl.trans(between), PRECISION)
        if BIASES:
            a += tl.load(parameters + OFFSETS + layer * WIDTH + unit)[None, :]
        h, s = activated(a, ACTIVATION)
        rises = rises + (s,)  # noqa: RUF005

    row = tl.load(parameters + LAST + unit)
    distance = tl.sum(h * row[None, :], axis=1) - radius
    if BIASES:
        distance += tl.load(parameters + OFFSETS + HIDDEN * WIDTH)
    tl.store(sdf + rows, distance, mask=inside)
    if OUTPUTS > 1:
        output = tl.arange(0, PADDED)
        there = output < OUTPUTS - 1
        others = dot(h, tl.trans(matrix(parameters + LAST + WIDTH, OUTPUTS - 1, WIDTH, WIDTH, PADDED, WIDTH)), PRECISION)
        if BIASES:
            others += tl.load(parameters + OFFSETS + HIDDEN * WIDTH + 1 + output, mask=there, other=0.0)[None, :]
        place = rows.to(tl.int64)[:, None] * (OUTPUTS - 1) + output[None, :]
        tl.store(features + place, others, mask=inside[:, None] & there[None, :])

    if GRADIENT:
        u = row[None, :] * rises[HIDDEN - 1]
        for layer in tl.static_range(HIDDEN - 2, -1, -1):
            between = matrix(parameters + SQUARES + layer * WIDTH * WIDTH, WIDTH, WIDTH, WIDTH, WIDTH, WIDTH)
            u = dot(u, between, PRECISION) * rises[layer]
        r = tl.reshape(dot(u, w, PRECISION) * weight, [B, LANES, FEATURES])
        g0 = tl.sum(tl.sum(r * dx, axis=2), axis=1)
        g1 = tl.sum(tl.sum(r * dy, axis=2), axis=1)
        g2 = tl.sum(tl.sum(r * dz, axis=2), axis=1)
        if XYZ:
            column = parameters + unit * INPUTS + ENCODED
            g0 += tl.sum(u * tl.load(column)[None, :], axis=1)
            g1 += tl.sum(u * tl.load(column + 1)[None, :], axis=1)
            g2 += tl.sum(u * tl.load(column + 2)[None, :], axis=1)
        tl.store(slope + rows * 3, g0, mask=inside)
        tl.store(slope + rows * 3 + 1, g1, mask=inside)
        tl.store(slope + rows * 3 + 2, g2, mask=inside)


@triton.jit(do_not_specialize=["count", "copies"])
def backward(
    x, table, scales, layout, mask, parameters, by_sdf, by_slope, by_features, to_table, to_parameters, count, copies,
    LEVELS: tl.constexpr, LANES: tl.constexpr, FEATURES: tl.constexpr, SMOOTH: tl.constexpr,
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr, OUTPUTS: tl.constexpr, PADDED: tl.constexpr,
    ACTIVATION: tl.constexpr, BIASES: tl.constexpr, XYZ: tl.constexpr, PRECISION: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    ENCODED: tl.constexpr = LEVELS * FEATURES
    INPUTS: tl.constexpr = ENCODED + 3 * XYZ
    WIDE: tl.constexpr = LANES * FEATURES
    SQUARES: tl.constexpr = WIDTH * INPUTS
    LAST: tl.constexpr = SQUARES + (HIDDEN - 1) * WIDTH * WIDTH
    OFFSETS: tl.constexpr = LAST + OUTPUTS * WIDTH
    NUMBERS: tl.constexpr = OFFSETS + BIASES * (HIDDEN * WIDTH + OUTPUTS)
    GRADIENT: tl.constexpr = by_slope is not None
    WEIGHTS: tl.constexpr = to_parameters is not None
    rows = tl.program_id(0) * B + tl.arange(0, B)
    inside = rows < count
    x0, x1, x2 = clamped(x, rows, inside, 0), clamped(x, rows, inside, 1), clamped(x, rows, inside, 2)
    n0, n1, n2 = asked_of_gradient(by_slope, rows, inside, x0)
    e, dx, dy, dz = encode(table, x0, x1, x2, inside, scales, layout, mask, LEVELS, LANES, FEATURES, SMOOTH, GRADIENT)
    along = dx * n0[:, None, None] + dy * n1[:, None, None] + dz * n2[:, None, None]
    weight = weights_of_columns(mask, LEVELS, LANES, FEATURES)[None, :]
    e = tl.reshape(e, [B, WIDE]) * weight
    unit = tl.arange(0, WIDTH)
    w = matrix(parameters, WIDTH, ENCODED, INPUTS, WIDTH, WIDE)
    if WEIGHTS:
        to_parameters += (tl.program_id(0) % copies) * NUMBERS

    # The values again: h_0 to h_last, a and s of each hidden layer.
    a = first_layer(e, w, x0, x1, x2, parameters, ENCODED, WIDTH, XYZ, PRECISION)
    if BIASES:
        a += tl.load(parameters + OFFSETS + unit)[None, :]
    h, s = activated(a, ACTIVATION)
    sums, rises, layers = (a,), (s,), (e, h)
    for layer in tl.static_range(1, HIDDEN):
        between = matrix(parameters + SQUARES + (layer - 1) * WIDTH * WIDTH, WIDTH, WIDTH, WIDTH, WIDTH, WIDTH)
        a = dot(h, tl.trans(between), PRECISION)
        if BIASES:
            a += tl.load(parameters + OFFSETS + layer * WIDTH + unit)[None, :]
        h, s = activated(a, ACTIVATION)
        sums, rises, layers = sums + (a,), rises + (s,), layers + (h,)  # noqa: RUF005

    # What is asked of the outputs.
    row = tl.load(parameters + LAST + unit)
    to_h = tl.zeros([B, WIDTH], tl.float32)
    if by_sdf is not None:
        by = tl.load(by_sdf + rows, mask=inside, other=0.0)
        to_h += by[:, None] * row[None, :]
        if WEIGHTS:
            add_column(to_parameters + LAST, by[:, None] * h, 1, WIDTH, WIDTH)
            if BIASES:
                tl.atomic_add(to_parameters + OFFSETS + HIDDEN * WIDTH, tl.sum(by, axis=0), sem="relaxed")
    if by_features is not None:
        output = tl.arange(0, PADDED)
        place = rows.to(tl.int64)[:, None] * (OUTPUTS - 1) + output[None, :]
        by_others = tl.load(by_features + place, mask=inside[:, None] & (output < OUTPUTS - 1)[None, :], other=0.0)
        to_h += dot(by_others, matrix(parameters + LAST + WIDTH, OUTPUTS - 1, WIDTH, WIDTH, PADDED, WIDTH), PRECISION)
        if WEIGHTS:
            amount = dot(tl.trans(by_others), h, PRECISION)
            add_matrix(to_parameters + LAST + WIDTH, amount, OUTPUTS - 1, WIDTH, WIDTH, PADDED, WIDTH)
            if BIASES:
                add_column(to_parameters + OFFSETS + HIDDEN * WIDTH + 1, by_others, 1, OUTPUTS - 1, PADDED)

    # What is asked of the gradient: r down to the inputs (last layer first), then q up again.
    r = row[None, :] + tl.zeros([B, WIDTH], tl.float32)
    descent = (r,)
    for layer in tl.static_range(HIDDEN - 2, -1, -1):
        between = matrix(parameters + SQUARES + layer * WIDTH * WIDTH, WIDTH, WIDTH, WIDTH, WIDTH, WIDTH)
        r = dot(r * rises[layer + 1], between, PRECISION)
        descent = descent + (r,)  # noqa: RUF005
    u = r * rises[0]
    if GRADIENT:
        q = tl.reshape(along, [B, WIDE]) * weight
        p = first_layer(q, w, n0, n1, n2, parameters, ENCODED, WIDTH, XYZ, PRECISION)
        ascent, bends = (q,), ()
        for layer in tl.static_range(HIDDEN):
            q = p * rises[layer]
            bend = p * descent[HIDDEN - 1 - layer] * curved(sums[layer], rises[layer], ACTIVATION)
            ascent, bends = ascent + (q,), bends + (bend,)  # noqa: RUF005
            if layer < HIDDEN - 1:
                between = matrix(parameters + SQUARES + layer * WIDTH * WIDTH, WIDTH, WIDTH, WIDTH, WIDTH, WIDTH)
                p = dot(q, tl.trans(between), PRECISION)
        if WEIGHTS:
            add_column(to_parameters + LAST, q, 1, WIDTH, WIDTH)

    # Down the layers, both together.
    for layer in tl.static_range(HIDDEN - 1, -1, -1):
        to_a = to_h * rises[layer]
        if GRADIENT:
            to_a += bends[layer]
        if WEIGHTS:
            if BIASES:
                add_column(to_parameters + OFFSETS + layer * WIDTH, to_a, 1, WIDTH, WIDTH)
            amount = dot(tl.trans(to_a), layers[layer], PRECISION)
            if GRADIENT:
                amount += dot(tl.trans(descent[HIDDEN - 1 - layer] * rises[layer]), ascent[layer], PRECISION)
            if layer == 0:
                add_matrix(to_parameters, amount, WIDTH, ENCODED, INPUTS, WIDTH, WIDE)
            else:
                add_matrix(to_parameters + SQUARES + (layer - 1) * WIDTH * WIDTH, amount, WIDTH, WIDTH, WIDTH, WIDTH, WIDTH)
        if layer > 0:
            between = matrix(parameters + SQUARES + (layer - 1) * WIDTH * WIDTH, WIDTH, WIDTH, WIDTH, WIDTH, WIDTH)
            to_h = dot(to_a, between, PRECISION)
        else:
            if WEIGHTS and XYZ:
                column = to_parameters + ENCODED
                amount_0, amount_1, amount_2 = to_a * x0[:, None], to_a * x1[:, None], to_a * x2[:, None]
                if GRADIENT:
                    amount_0 += u * n0[:, None]
                    amount_1 += u * n1[:, None]
                    amount_2 += u * n2[:, None]
                add_column(column, amount_0, INPUTS, WIDTH, WIDTH)
                add_column(column + 1, amount_1, INPUTS, WIDTH, WIDTH)
                add_column(column + 2, amount_2, INPUTS, WIDTH, WIDTH)
            if to_table is not None:
                by_value = tl.reshape(dot(to_a, w, PRECISION) * weight, [B, LANES, FEATURES])
                by_slope_ = by_value
                if GRADIENT:
                    by_slope_ = tl.reshape(dot(u, w, PRECISION) * weight, [B, LANES, FEATURES])
                # Points are read again: kept on through the network, their places and weights would take 40 registers of each thread.
                x0, x1, x2 = clamped(x, rows, inside, 0), clamped(x, rows, inside, 1), clamped(x, rows, inside, 2)
                n0, n1, n2 = asked_of_gradient(by_slope, rows, inside, x0)
                by_x, by_y, by_z = by_slope_ * n0[:, None, None], by_slope_ * n1[:, None, None], by_slope_ * n2[:, None, None]
                scatter(
                    to_table, x0, x1, x2, inside, by_value, by_x, by_y, by_z, scales, layout, mask,
                    LEVELS, LANES, FEATURES, SMOOTH, GRADIENT,
                )  # fmt: skip
