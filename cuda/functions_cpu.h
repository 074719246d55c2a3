// Functions of one number, float32, to a few units in the last place. Loops over them fill vectors. NaN stays NaN.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

// e^x = 2^n e^f with |f| <= ln(2) / 2; beyond +-88 it stays at the borders of the normal numbers.
inline float exponential(float x) {
  constexpr float kWhole = 12582912.0f;  // 1.5 * 2^23: next to it float32 holds whole numbers only
  x = x < -87.3f ? -87.3f : x;
  x = x > 88.0f ? 88.0f : x;
  const float shifted = x * 1.44269504f + kWhole, n = shifted - kWhole;
  const float f = (x - n * 0.693145752f) - n * 1.42860677e-6f;  // ln 2 in two parts, the first times n exact
  float p = 1.395049104e-3f;  // (e^f - 1 - f) / f^2, least relative error of e^f
  p = p * f + 8.368889373e-3f;
  p = p * f + 4.166620580e-2f;
  p = p * f + 1.666651884e-1f;
  p = p * f + 5.000000095e-1f;
  uint32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits << 23) + 0x3f800000u;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return power * (p * (f * f) + f + 1.0f);
}

inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

inline float hyperbolic_tangent(float x) {
  const float size = std::fabs(x), z = x * x;
  float p = -5.717044510e-3f;  // (tanh(x) / x - 1) / x^2
  p = p * z + 2.065058678e-2f;
  p = p * z - 5.374349792e-2f;
  p = p * z + 1.333149128e-1f;
  p = p * z - 3.333328393e-1f;
  const float far = std::copysign(1.0f - 2.0f / (exponential(2.0f * size) + 1.0f), x);
  return size < 0.625f ? x + x * (z * p) : far;
}

// What lies beyond |x| of the normal distribution: e^(-x^2 / 2) times a polynomial in 1 / (1 + 0.35 |x|).
inline float normal_tail(float x) {
  constexpr float kTerms[] = {-2.914592736e-2f, 1.439716832e-1f, -2.557142238e-1f, 1.591741255e-1f, -2.310981163e-2f,
                              1.055079945e-1f,  1.198328699e-1f, 1.398618694e-1f,  1.396214043e-1f};
  const float t = 1.0f / (1.0f + 0.35f * std::fabs(x));
  float p = 0.0f;
  for (const float term : kTerms) p = p * t + term;
  return exponential(-0.5f * x * x) * t * p;
}

// x times the normal distribution up to x.
inline float gelu(float x) {
  const float tail = normal_tail(x);
  return x * (x < 0.0f ? tail : 1.0f - tail);
}

}  // namespace
