// RWKV-7's time mixing of one token, float32: formulas and names as in camoe/model/time_mix.py. Plain C interface.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "functions_cpu.h"
#include "row_cpu.h"
#include "wkv7_token_cpu.h"

namespace {

// C = width = heads * size. Matrices of low rank [C,rank] and [rank,C]; rank_v is 0 in the first layer, which makes v.
struct TimeMixToken {
  int64_t width, size, rank_w, rank_a, rank_v, rank_g, threads;
  double eps;
  const float *x, *shift, *state, *v_first;  // [C] twice, [H,N,N], [C] or null
  const float *x_r, *x_w, *x_k, *x_v, *x_a, *x_g;
  const float *w0, *w1, *w2, *a0, *a1, *a2, *v0, *v1, *v2, *g1, *g2;
  const float *k_k, *k_a, *r_k, *receptance, *key, *value, *output, *norm_weight, *norm_bias;
  float *out, *v, *readout, *state_after;  // [C] three times, [H,N,N]
};

// Space for vectors of C numbers, until the end of the token.
class Space {
 public:
  Space(int64_t width, int64_t count) : width_(width), memory_(width * count) {}
  float* next() { return memory_.data() + width_ * used_++; }

 private:
  int64_t width_, used_ = 0;
  std::vector<float> memory_;
};

// x + (previous - x) ratio
void shifted(const TimeMixToken& p, const float* ratio, float* to) {
  for (int64_t i = 0; i < p.width; ++i) to[i] = p.x[i] + (p.shift[i] - p.x[i]) * ratio[i];
}

// The token, shifted by `ratio`, through a matrix [C,C].
void through_matrix(const TimeMixToken& p, const float* ratio, const float* matrix, float* mixed, float* to) {
  shifted(p, ratio, mixed);
  product(whole(matrix, p.width, p.width), mixed, nullptr, to, p.threads);
}

// bias + f(m first) second of the shifted token m.
template <class Function>
void through_low_rank(const TimeMixToken& p, const float* mixed, const float* first, int64_t rank, Function f,
                      const float* second, const float* bias, float* to) {
  std::vector<float> hidden(rank);
  product_from_left(mixed, whole(first, p.width, rank), nullptr, hidden.data());
  for (float& h : hidden) h = f(h);
  product_from_left(hidden.data(), whole(second, rank, p.width), bias, to);
}

// Removal key a = -kk and b = kk * rate of one head, and the key as written.
void keys_of_head(int64_t n, const float* k_k, const float* k_a, const float* rate, float* k, float* a, float* b) {
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < n; ++i) {
    a[i] = -k[i] * k_k[i];
    squares += a[i] * a[i];
  }
  const float scale = 1.0f / std::max(std::sqrt(squares), 1e-12f);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    a[i] *= scale;
    b[i] = -a[i] * rate[i];
    k[i] *= 1.0f + (rate[i] - 1.0f) * k_a[i];
  }
}

// The recurrence's answer y of one head: normalised, with the bonus, gated.
void finish_head(const TimeMixToken& p, int64_t at, const float* r, const float* k, const float* v, const float* g,
                 float* y) {
  layer_norm(y + at, p.size, p.norm_weight + at, p.norm_bias + at, float(p.eps), y + at);
  float bonus = 0;
#pragma omp simd reduction(+ : bonus)
  for (int64_t i = at; i < at + p.size; ++i) bonus += r[i] * k[i] * p.r_k[i];
  for (int64_t i = at; i < at + p.size; ++i) y[i] = (y[i] + bonus * v[i]) * g[i];
}

template <int N>
void compute(const TimeMixToken& p) {
  Space space(p.width, 9);
  float *mixed = space.next(), *r = space.next(), *k = space.next(), *w = space.next(), *rate = space.next();
  float *g = space.next(), *a = space.next(), *b = space.next(), *y = space.next();
  const auto same = [](float x) { return x; };
  through_matrix(p, p.x_r, p.receptance, mixed, r);
  through_matrix(p, p.x_k, p.key, mixed, k);
  through_matrix(p, p.x_v, p.value, mixed, p.v);
  if (p.rank_v) {
    through_low_rank(p, mixed, p.v1, p.rank_v, same, p.v2, p.v0, g);
    for (int64_t i = 0; i < p.width; ++i) p.v[i] += (p.v_first[i] - p.v[i]) * sigmoid(g[i]);
  }
  shifted(p, p.x_w, mixed);
  through_low_rank(p, mixed, p.w1, p.rank_w, hyperbolic_tangent, p.w2, p.w0, w);
  for (int64_t i = 0; i < p.width; ++i) w[i] = exponential(-0.606530660f * sigmoid(w[i]));
  shifted(p, p.x_a, mixed);
  through_low_rank(p, mixed, p.a1, p.rank_a, same, p.a2, p.a0, rate);
  for (int64_t i = 0; i < p.width; ++i) rate[i] = sigmoid(rate[i]);
  shifted(p, p.x_g, mixed);
  through_low_rank(p, mixed, p.g1, p.rank_g, sigmoid, p.g2, nullptr, g);
  for (int64_t at = 0, state = 0; at < p.width; at += N, state += N * N) {
    keys_of_head(N, p.k_k + at, p.k_a + at, rate + at, k + at, a + at, b + at);
    wkv7_token<N>({r + at, w + at, k + at, p.v + at, a + at, b + at}, p.state + state, y + at, p.readout + at,
                  p.state_after + state);
    finish_head(p, at, r, k, p.v, g, y);
  }
  product(whole(p.output, p.width, p.width), y, nullptr, p.out, p.threads);
}

}  // namespace

// Head sizes other than 16, 32, 64 and 128 are not for it.
extern "C" void time_mix_token(const TimeMixToken* p) {
  switch (p->size) {
    case 16: return compute<16>(*p);
    case 32: return compute<32>(*p);
    case 64: return compute<64>(*p);
    case 128: return compute<128>(*p);
  }
}
