// The activations of a network, with their first and second derivatives, of several numbers at once.
// Must equal activated() in reference/hash_sdf.py.
//
// Polynomials are those of least relative error, which is given beside them. Terms are taken in pairs: a shorter chain than Horner's.
#pragma once

#include "lanes.h"

namespace activation {

using lanes::Lane;
using lanes::Whole;

constexpr float BETA = 100;  // SOFTPLUS_BETA
constexpr float LOG2_E = 1.44269504f;

enum Kind : int32_t { SOFTPLUS, RELU, SILU };  // in the order of ACTIVATIONS

struct Bend {
    Lane value, slope, curve;
};

// 2^y for y <= 0, never below 2^-50: its square is a normal number still, and those that aren't take ten times as long.
SURFRECON_INLINE Lane exp2_below(Lane y) {
    constexpr float LEAST = -50;
    y = y < LEAST ? Lane{} + LEAST : y;                                // NaN stays
    const Whole whole = __builtin_convertvector(y - 0.5f, Whole);      // the nearest, as y <= 0
    const Lane f = y - __builtin_convertvector(whole, Lane), f2 = f * f;
    const Lane low = (1 + f * 0.693147206f) + f2 * (0.240226469f + f * 0.0555032878f);
    const Lane power = low + f2 * f2 * ((0.00961848896f + f * 0.00133999314f) + f2 * 1.53458118e-4f);  // 2e-9
    return power * lanes::same_bits<Lane>((whole + 127) << 23);
}

// ln(1 + e) / e for 0 <= e <= 1.
SURFRECON_INLINE Lane log_above(Lane e) {
    const Lane e2 = e * e;
    Lane sum = (0.0782259443f - e * 0.0295052289f) + e2 * 0.00523269069f;
    sum = (0.191060074f - e * 0.13663246f) + e2 * sum;
    sum = (0.333190969f - e * 0.248429826f) + e2 * sum;
    return (0.99999997f - e * 0.499994931f) + e2 * sum;  // 3e-8
}

// DERIVATIVES: how many are wanted.
template <Kind KIND, int DERIVATIVES>
SURFRECON_INLINE Bend bend(Lane a) {
    const Lane zero = {}, one = zero + 1;
    const Lane positive = a < 0 ? zero : a;  // NaN stays
    if (KIND == RELU) return {positive, a > 0 ? one : zero, zero};
    constexpr float STEEP = KIND == SOFTPLUS ? BETA : 1;
    const Lane e = exp2_below(lanes::same_bits<Lane>(lanes::same_bits<Whole>(a) | INT32_MIN) * (STEEP * LOG2_E));  // of -|a|
    Bend bent;
    if (KIND == SOFTPLUS) bent.value = positive + (e * (1 / BETA)) * log_above(e);
    if (KIND == SOFTPLUS && DERIVATIVES == 0) return bent;
    const Lane upper = 1 / (1 + e), lower = e * upper;
    const Lane logistic = a < 0 ? lower : upper, curve = lower * upper;  // and its slope
    if (KIND == SOFTPLUS) {
        bent.slope = logistic;
        bent.curve = BETA * curve;
    } else {
        bent.value = a * logistic;
        bent.slope = logistic + a * curve;
        bent.curve = curve * (2 + a * (1 - 2 * logistic));
    }
    return bent;
}

}  // namespace activation
