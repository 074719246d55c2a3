// What a single row goes through, float32: products with matrices and LayerNorm.
//
// A matrix is read once and nothing else matters: it is one stream through memory, fetched a few pages ahead, where the
// CPU's own prefetcher would stop at the end of a page. Libraries made for large products read many short rows side by
// side and wait for memory instead.
//
// Every output is computed by one thread in one order: the result does not depend on the number of threads.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "threads_cpu.h"
#include "vectors_cpu.h"

namespace {

constexpr int kSums = 4;                        // independent sums, which hide the latency of the additions
constexpr int64_t kFetched = 1 << 12;           // entries of a matrix between fetching and using
constexpr int64_t kEntriesPerThread = 1 << 20;  // entries of a matrix that pay for starting a thread

inline float dot(const float* row, const float* x, int64_t columns) {
  Vec sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums * kLanes <= columns; i += kSums * kLanes) {
    UNROLLED for (int s = 0; s < kSums; ++s) {
      __builtin_prefetch(row + i + s * kLanes + kFetched, 0, 0);
      sums[s] += load(row + i + s * kLanes) * load(x + i + s * kLanes);
    }
  }
  for (; i + kLanes <= columns; i += kLanes) sums[0] += load(row + i) * load(x + i);
  const Vec all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  float lanes[kLanes], rest = 0;
  for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = all[lane];
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  for (; i < columns; ++i) rest += row[i] * x[i];
  return lanes[0] + rest;
}

// A matrix whose rows begin `stride` entries apart.
struct Matrix {
  const float* entries;
  int64_t rows, columns, stride;
};

inline Matrix whole(const float* entries, int64_t rows, int64_t columns) { return {entries, rows, columns, columns}; }

// y = M x + b: x [columns], b [rows] or null, y [rows].
inline void product(const Matrix& m, const float* x, const float* bias, float* y, int64_t threads = 1) {
  const int64_t parts = std::max<int64_t>(1, std::min({threads, m.rows, m.rows * m.columns / kEntriesPerThread}));
  share(parts, parts, [&](int64_t part) {
    for (int64_t row = m.rows * part / parts; row < m.rows * (part + 1) / parts; ++row)
      y[row] = dot(m.entries + row * m.stride, x, m.columns) + (bias ? bias[row] : 0.0f);
  });
}

// y = x M + b: x [rows], b [columns] or null, y [columns].
inline void product_from_left(const float* x, const Matrix& m, const float* bias, float* y) {
  for (int64_t j = 0; j < m.columns; ++j) y[j] = bias ? bias[j] : 0.0f;
  for (int64_t i = 0; i < m.rows; ++i) {
    const float *row = m.entries + i * m.stride, factor = x[i];
    for (int64_t j = 0; j < m.columns; j += 16) __builtin_prefetch(row + j + kFetched, 0, 0);
#pragma omp simd
    for (int64_t j = 0; j < m.columns; ++j) y[j] += factor * row[j];
  }
}

inline float sum(const float* x, int64_t n) {
  float total = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < n; ++i) total += x[i];
  return total;
}

// y = (x - mean) / sqrt(variance + eps) * weight + bias, all [n]; x and y may be the same.
inline void layer_norm(const float* x, int64_t n, const float* weight, const float* bias, float eps, float* y) {
  const float mean = sum(x, n) / n;
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (int64_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const float scale = 1.0f / std::sqrt(squares / n + eps);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - mean) * scale * weight[i] + bias[i];
}

}  // namespace
