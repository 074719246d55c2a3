// One row times a matrix, y = W x + b, float32. Plain C interface, no dependencies.
//
// The matrix is read once and nothing else matters: each row is one stream through memory, which the CPU's prefetcher
// follows to the end. Libraries made for large products read many short rows side by side and wait for memory instead.
//
// Every output is computed by one thread in one order: the result does not depend on the number of threads.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <system_error>
#include <thread>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
constexpr int kSums = 4;                       // independent sums, which hide the latency of the additions
constexpr int64_t kEntriesPerThread = 1 << 20;  // entries of the matrix that pay for starting a thread

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef float Unaligned __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

inline Vec load(const float* from) { return *reinterpret_cast<const Unaligned*>(from); }

// W [rows,columns], x [columns], b [rows] or null, y [rows].
struct Problem {
  int64_t rows, columns, threads;
  const float *matrix, *x, *bias;
  float* y;
};

float dot(const float* row, const float* x, int64_t columns) {
  Vec sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums * kLanes <= columns; i += kSums * kLanes)
    for (int s = 0; s < kSums; ++s) sums[s] += load(row + i + s * kLanes) * load(x + i + s * kLanes);
  for (; i + kLanes <= columns; i += kLanes) sums[0] += load(row + i) * load(x + i);
  const Vec all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  float lanes[kLanes], rest = 0;
  for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = all[lane];
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  for (; i < columns; ++i) rest += row[i] * x[i];
  return lanes[0] + rest;
}

void compute(const Problem& p, int64_t from, int64_t to) {
  for (int64_t row = from; row < to; ++row)
    p.y[row] = dot(p.matrix + row * p.columns, p.x, p.columns) + (p.bias ? p.bias[row] : 0.0f);
}

}  // namespace

extern "C" void row_linear(const Problem* problem) {
  const Problem& p = *problem;
  const int64_t parts = std::max<int64_t>(1, std::min({p.threads, p.rows, p.rows * p.columns / kEntriesPerThread}));
  const auto begin = [&](int64_t part) { return p.rows * part / parts; };
  std::vector<std::thread> helpers;
  int64_t started = 1;
  try {
    for (; started < parts; ++started)
      helpers.emplace_back(compute, std::cref(p), begin(started), begin(started + 1));
  } catch (const std::system_error&) {
    // The system has no thread left to give: this one does the rest.
    compute(p, begin(started), p.rows);
  }
  compute(p, 0, begin(1));
  for (std::thread& helper : helpers) helper.join();
}
