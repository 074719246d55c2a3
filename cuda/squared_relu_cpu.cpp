// The squared ReLU and its derivative in place, float32, a pass over memory each. Plain C interface.

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "threads_cpu.h"

namespace {

constexpr int64_t kPiece = 1 << 16;
constexpr int64_t kPiecesPerThread = 4;  // that pay for starting one

template <class Work>
void for_each_piece(int64_t count, int64_t threads, const Work& work) {
  const int64_t pieces = (count + kPiece - 1) / kPiece;
  share(pieces, std::min(threads, pieces / kPiecesPerThread),
        [&](int64_t piece) { work(piece * kPiece, std::min(count, (piece + 1) * kPiece)); });
}

struct Square {
  int64_t count, threads;
  float* x;  // becomes relu(x)^2
};

struct SquareBackward {
  int64_t count, threads;
  const float* squared;
  float* grad;  // becomes grad sqrt(squared)
};

}  // namespace

extern "C" {

void squared_relu(const Square* p) {
  for_each_piece(p->count, p->threads, [&](int64_t first, int64_t end) {
    float* x = p->x;
#pragma omp simd
    for (int64_t i = first; i < end; ++i) x[i] = x[i] < 0.0f ? 0.0f : x[i] * x[i];  // NaN stays
  });
}

void squared_relu_backward(const SquareBackward* p) {
  for_each_piece(p->count, p->threads, [&](int64_t first, int64_t end) {
    const float* squared = p->squared;
    float* grad = p->grad;
#pragma omp simd
    for (int64_t i = first; i < end; ++i) grad[i] *= std::sqrt(squared[i]);
  });
}
}
