// RWKV-7's state recurrence for one token and one head, float32: formula and layout as in wkv7_cpu.cpp.

#pragma once

#include "vectors_cpu.h"

namespace {

// What the token brings to the head, [N] each.
struct HeadToken {
  const float *r, *w, *k, *v, *a, *b;
};

// States before and after [N,N]; they may be the same. y, sa: [N].
template <int N>
void wkv7_token(const HeadToken& in, const float* before, float* y, float* sa, float* after) {
  for (int row = 0; row < N; row += kLanes, before += kLanes * N, after += kLanes * N) {
    Vec sums[kLanes] = {};
    for (int j = 0; j < N; j += kLanes) {
      const Vec a = load(in.a + j);
      UNROLLED for (int i = 0; i < kLanes; ++i) sums[i] += load(before + i * N + j) * a;
    }
    store(sa + row, lane_sums(sums));
    UNROLLED for (int i = 0; i < kLanes; ++i) sums[i] = Vec{};
    for (int j = 0; j < N; j += kLanes) {
      const Vec r = load(in.r + j), w = load(in.w + j), k = load(in.k + j), b = load(in.b + j);
      UNROLLED for (int i = 0; i < kLanes; ++i) {
        const Vec s = load(before + i * N + j) * w + b * sa[row + i] + k * in.v[row + i];
        store(after + i * N + j, s);
        sums[i] += s * r;
      }
    }
    store(y + row, lane_sums(sums));
  }
}

}  // namespace
