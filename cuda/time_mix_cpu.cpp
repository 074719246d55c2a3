// What RWKV-7's time mixing does between its matrix products and its recurrence, float32, forward and backward: formulas
// and names as in camoe/model/time_mix.py. Plain C interface.
//
//   shifts        m_q = x + (x_before - x) mu_q                                                       q = r, w, k, v, a, g
//   projections   w = exp(-e^-0.5 sigmoid(z_w + w0));  rate = sigmoid(z_a + a0);  v = v' + (v_first - v') sigmoid(z_v + v0)
//                 kk = k' k_k / |k' k_k| per head;  k = k' (1 + (rate - 1) k_a);  a = -kk;  b = kk rate
//   answers       out = (GroupNorm(y) + (sum r k r_k) v) g                                            per head
//
// Everything is a pass over rows (one row per token), and nothing is kept between the passes but their inputs: the
// backward passes compute what lies between anew. Gradients of vectors [C] are summed over segments of kSegment rows;
// the caller adds the segments up. Every segment is computed by one thread: no result depends on the number of threads.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "functions_cpu.h"
#include "threads_cpu.h"

namespace {

constexpr int64_t kSegment = 64;
constexpr int64_t kNumbersPerThread = 1 << 18;  // of one array, that pay for starting a thread
constexpr float kDecayScale = 0.606530660f;     // e^-0.5
constexpr int kShifts = 6;

// count = B * length rows of width C = heads * size.
struct Rows {
  int64_t count, length, width, size, threads;
};

// Calls work(segment, first row, end) for all segments.
template <class Work>
void for_each_segment(const Rows& rows, const Work& work) {
  const int64_t segments = (rows.count + kSegment - 1) / kSegment;
  share(segments, std::min(rows.threads, rows.count * rows.width / kNumbersPerThread), [&](int64_t segment) {
    work(segment, segment * kSegment, std::min(rows.count, (segment + 1) * kSegment));
  });
}

struct Shifts {
  Rows rows;
  const float *x, *last;          // [count,C]; [B,C] before the first rows
  const float* ratios[kShifts];   // [C]
  float* mixed;                   // [6,count,C]
};

struct ShiftsBackward {
  Rows rows;
  const float *x, *last, *ratios[kShifts], *grad_mixed;
  float *grad_x, *grad_last, *sums;  // sums: [segments,6,C], gradients of the ratios
};

const float* row_before(const Rows& rows, const float* x, const float* last, int64_t row) {
  return row % rows.length ? x + (row - 1) * rows.width : last + row / rows.length * rows.width;
}

void shift_row(const Shifts& p, int64_t row) {
  const int64_t width = p.rows.width;
  const float *x = p.x + row * width, *before = row_before(p.rows, p.x, p.last, row);
  for (int q = 0; q < kShifts; ++q) {
    const float* ratio = p.ratios[q];
    float* to = p.mixed + (q * p.rows.count + row) * width;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) to[i] = x[i] + (before[i] - x[i]) * ratio[i];
  }
}

// Adds one row's part to the sums and to the gradients of the row and of the one before it.
void unshift_row(const ShiftsBackward& p, int64_t row, float* sums) {
  const int64_t width = p.rows.width, count = p.rows.count;
  const float *x = p.x + row * width, *before = row_before(p.rows, p.x, p.last, row);
  const bool is_first = row % p.rows.length == 0, is_last = row % p.rows.length == p.rows.length - 1;
  float *dx = p.grad_x + row * width, *dlast = p.grad_last + row / p.rows.length * width;
  std::fill_n(dx, width, 0.0f);
  if (is_first) std::fill_n(dlast, width, 0.0f);
  for (int q = 0; q < kShifts; ++q) {
    const float *ratio = p.ratios[q], *grad = p.grad_mixed + (q * count + row) * width, *next = grad + width;
    float* sum = sums + q * width;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) {
      dx[i] += grad[i] - grad[i] * ratio[i];
      sum[i] += grad[i] * (before[i] - x[i]);
    }
    if (!is_last) {
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) dx[i] += next[i] * ratio[i];
    }
    if (is_first) {
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) dlast[i] += grad[i] * ratio[i];
    }
  }
}

// Rows [count,C] before and after; z_v, v_bias and v_first are null in the first layer, where v is v' and not written.
struct Projections {
  Rows rows;
  const float *k_raw, *v_raw, *z_w, *z_a, *z_v, *v_first;
  const float *w0, *a0, *v0, *k_k, *k_a;  // [C]
  float *w, *k, *v, *a, *b;
};

// Gradients of w, k, v, a, b are overwritten by those of z_w, k', v', z_a, z_v (the last only where there is one).
struct ProjectionsBackward {
  Projections forward;            // w, k, v, a, b are not read
  const float *more_k, *more_v;   // further gradients of k and v
  float *grad_w, *grad_k, *grad_v, *grad_a, *grad_b, *grad_v_first, *sums;  // sums: [segments,5,C], as w0 .. k_a
};

// 1 / |k' k_k| over one head from `at` on; the second: whether the norm is large enough to have a gradient.
struct Norm {
  float inverse;
  bool moves;
};

Norm norm_of_head(const float* k, const float* k_k, int64_t size) {
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < size; ++i) squares += k[i] * k_k[i] * (k[i] * k_k[i]);
  const float norm = std::sqrt(squares);
  return {1.0f / std::max(norm, 1e-12f), norm > 1e-12f};
}

void project_head(const Projections& p, int64_t row, int64_t at) {
  const int64_t n = p.rows.size, from = row * p.rows.width + at;
  const float *k_raw = p.k_raw + from, *z_w = p.z_w + from, *z_a = p.z_a + from;
  const float *w0 = p.w0 + at, *a0 = p.a0 + at, *k_k = p.k_k + at, *k_a = p.k_a + at;
  float *w = p.w + from, *k = p.k + from, *a = p.a + from, *b = p.b + from;
  const float scale = norm_of_head(k_raw, k_k, n).inverse;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float rate = sigmoid(z_a[i] + a0[i]), kk = k_raw[i] * k_k[i] * scale;
    w[i] = exponential(-kDecayScale * sigmoid(z_w[i] + w0[i]));
    k[i] = k_raw[i] * (1.0f + (rate - 1.0f) * k_a[i]);
    a[i] = -kk;
    b[i] = kk * rate;
  }
  if (!p.z_v) return;
  const float *v_raw = p.v_raw + from, *z_v = p.z_v + from, *v_first = p.v_first + from, *v0 = p.v0 + at;
  float* v = p.v + from;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) v[i] = v_raw[i] + (v_first[i] - v_raw[i]) * sigmoid(z_v[i] + v0[i]);
}

void keys_backward(const ProjectionsBackward& p, int64_t from, int64_t at, float* sums) {
  const Projections& f = p.forward;
  const int64_t n = f.rows.size, width = f.rows.width;
  const float *k_raw = f.k_raw + from, *z_w = f.z_w + from, *z_a = f.z_a + from, *more_k = p.more_k + from;
  const float *w0 = f.w0 + at, *a0 = f.a0 + at, *k_k = f.k_k + at, *k_a = f.k_a + at;
  float *dw = p.grad_w + from, *dk = p.grad_k + from, *da = p.grad_a + from, *db = p.grad_b + from;
  float *sum_w0 = sums + at, *sum_a0 = sum_w0 + width, *sum_k_k = sum_w0 + 3 * width, *sum_k_a = sum_w0 + 4 * width;
  const Norm norm = norm_of_head(k_raw, k_k, n);
  float along = 0;  // kk . dkk
#pragma omp simd reduction(+ : along)
  for (int64_t i = 0; i < n; ++i) {
    const float rate = sigmoid(z_a[i] + a0[i]);
    along += k_raw[i] * k_k[i] * norm.inverse * (db[i] * rate - da[i]);
  }
  if (!norm.moves) along = 0;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float rate = sigmoid(z_a[i] + a0[i]), squash = sigmoid(z_w[i] + w0[i]);
    const float kk = k_raw[i] * k_k[i] * norm.inverse, grad_k = dk[i] + more_k[i];
    const float grad_scaled = (db[i] * rate - da[i] - kk * along) * norm.inverse;  // of k' k_k
    const float grad_rate = db[i] * kk + grad_k * k_raw[i] * k_a[i];
    const float decay = exponential(-kDecayScale * squash);
    dw[i] *= -kDecayScale * decay * squash * (1.0f - squash);
    da[i] = grad_rate * rate * (1.0f - rate);
    dk[i] = grad_k * (1.0f + (rate - 1.0f) * k_a[i]) + grad_scaled * k_k[i];
    sum_w0[i] += dw[i];
    sum_a0[i] += da[i];
    sum_k_k[i] += grad_scaled * k_raw[i];
    sum_k_a[i] += grad_k * k_raw[i] * (rate - 1.0f);
  }
}

void values_backward(const ProjectionsBackward& p, int64_t from, int64_t at, float* sums) {
  const Projections& f = p.forward;
  const int64_t n = f.rows.size;
  const float* more_v = p.more_v + from;
  float *dv = p.grad_v + from, *dz_v = p.grad_b + from;
  if (!f.z_v) {
    for (int64_t i = 0; i < n; ++i) dv[i] += more_v[i];
    return;
  }
  const float *v_raw = f.v_raw + from, *z_v = f.z_v + from, *v_first = f.v_first + from, *v0 = f.v0 + at;
  float *dv_first = p.grad_v_first + from, *sum_v0 = sums + 2 * f.rows.width + at;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float share = sigmoid(z_v[i] + v0[i]), grad = dv[i] + more_v[i];
    dz_v[i] = grad * (v_first[i] - v_raw[i]) * share * (1.0f - share);
    dv_first[i] = grad * share;
    dv[i] = grad - dv_first[i];
    sum_v0[i] += dz_v[i];
  }
}

// Rows [count,C] all but norm_weight, norm_bias and r_k [C].
struct Answers {
  Rows rows;
  double eps;
  const float *y, *r, *k, *v, *g, *norm_weight, *norm_bias, *r_k;
  float* out;
};

struct AnswersBackward {
  Answers forward;  // out is not written
  const float* grad_out;
  float *grad_y, *grad_r, *grad_k, *grad_v, *grad_g, *sums;  // sums: [segments,3,C], as norm_weight .. r_k
};

// Of one head's answers y [N].
struct Statistics {
  float mean, scale;
};

Statistics statistics(const float* y, int64_t n, double eps) {
  float total = 0, squares = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < n; ++i) total += y[i];
  const float mean = total / n;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < n; ++i) squares += (y[i] - mean) * (y[i] - mean);
  return {mean, 1.0f / std::sqrt(squares / n + float(eps))};
}

float bonus_of_head(const float* r, const float* k, const float* r_k, int64_t n) {
  float bonus = 0;
#pragma omp simd reduction(+ : bonus)
  for (int64_t i = 0; i < n; ++i) bonus += r[i] * k[i] * r_k[i];
  return bonus;
}

void answer_head(const Answers& p, int64_t row, int64_t at) {
  const int64_t n = p.rows.size, from = row * p.rows.width + at;
  const float *y = p.y + from, *v = p.v + from, *g = p.g + from;
  const float *weight = p.norm_weight + at, *bias = p.norm_bias + at;
  const Statistics s = statistics(y, n, p.eps);
  const float bonus = bonus_of_head(p.r + from, p.k + from, p.r_k + at, n);
  float* out = p.out + from;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = ((y[i] - s.mean) * s.scale * weight[i] + bias[i] + bonus * v[i]) * g[i];
}

void answer_backward(const AnswersBackward& p, int64_t row, int64_t at, float* sums) {
  const Answers& f = p.forward;
  const int64_t n = f.rows.size, width = f.rows.width, from = row * width + at;
  const float *y = f.y + from, *r = f.r + from, *k = f.k + from, *v = f.v + from, *g = f.g + from;
  const float *weight = f.norm_weight + at, *bias = f.norm_bias + at, *r_k = f.r_k + at, *grad = p.grad_out + from;
  float *dy = p.grad_y + from, *dr = p.grad_r + from, *dk = p.grad_k + from, *dv = p.grad_v + from;
  float *dg = p.grad_g + from, *sum_weight = sums + at, *sum_bias = sum_weight + width, *sum_r_k = sum_bias + width;
  const Statistics s = statistics(y, n, f.eps);
  const float bonus = bonus_of_head(r, k, r_k, n);
  float grad_bonus = 0, total = 0, along = 0;  // the last two: of the gradient of the normalised y
#pragma omp simd reduction(+ : grad_bonus, total, along)
  for (int64_t i = 0; i < n; ++i) {
    const float normed = (y[i] - s.mean) * s.scale, inner = grad[i] * g[i];
    dg[i] = grad[i] * (normed * weight[i] + bias[i] + bonus * v[i]);
    dv[i] = inner * bonus;
    sum_weight[i] += inner * normed;
    sum_bias[i] += inner;
    grad_bonus += inner * v[i];
    total += inner * weight[i];
    along += inner * weight[i] * normed;
  }
  total /= n;
  along /= n;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float normed = (y[i] - s.mean) * s.scale;
    dy[i] = s.scale * (grad[i] * g[i] * weight[i] - total - normed * along);
    dr[i] = grad_bonus * k[i] * r_k[i];
    dk[i] = grad_bonus * r[i] * r_k[i];
    sum_r_k[i] += grad_bonus * r[i] * k[i];
  }
}

// Calls work(row, channel) at the begin of every head in the rows.
template <class Work>
void for_each_head(const Rows& rows, int64_t first, int64_t end, const Work& work) {
  for (int64_t row = first; row < end; ++row)
    for (int64_t at = 0; at < rows.width; at += rows.size) work(row, at);
}

}  // namespace

extern "C" {

int64_t time_mix_segment() { return kSegment; }

void time_mix_shifts(const Shifts* p) {
  for_each_segment(p->rows, [&](int64_t, int64_t first, int64_t end) {
    for (int64_t row = first; row < end; ++row) shift_row(*p, row);
  });
}

void time_mix_shifts_backward(const ShiftsBackward* p) {
  for_each_segment(p->rows, [&](int64_t segment, int64_t first, int64_t end) {
    float* sums = p->sums + segment * kShifts * p->rows.width;
    std::fill_n(sums, kShifts * p->rows.width, 0.0f);
    for (int64_t row = first; row < end; ++row) unshift_row(*p, row, sums);
  });
}

void time_mix_projections(const Projections* p) {
  for_each_segment(p->rows, [&](int64_t, int64_t first, int64_t end) {
    for_each_head(p->rows, first, end, [&](int64_t row, int64_t at) { project_head(*p, row, at); });
  });
}

void time_mix_projections_backward(const ProjectionsBackward* p) {
  const Rows& rows = p->forward.rows;
  for_each_segment(rows, [&](int64_t segment, int64_t first, int64_t end) {
    float* sums = p->sums + segment * 5 * rows.width;
    std::fill_n(sums, 5 * rows.width, 0.0f);
    for_each_head(rows, first, end, [&](int64_t row, int64_t at) {
      keys_backward(*p, row * rows.width + at, at, sums);
      values_backward(*p, row * rows.width + at, at, sums);
    });
  });
}

void time_mix_answers(const Answers* p) {
  for_each_segment(p->rows, [&](int64_t, int64_t first, int64_t end) {
    for_each_head(p->rows, first, end, [&](int64_t row, int64_t at) { answer_head(*p, row, at); });
  });
}

void time_mix_answers_backward(const AnswersBackward* p) {
  const Rows& rows = p->forward.rows;
  for_each_segment(rows, [&](int64_t segment, int64_t first, int64_t end) {
    float* sums = p->sums + segment * 3 * rows.width;
    std::fill_n(sums, 3 * rows.width, 0.0f);
    for_each_head(rows, first, end, [&](int64_t row, int64_t at) { answer_backward(*p, row, at, sums); });
  });
}
}
