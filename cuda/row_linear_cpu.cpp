// One row times a matrix, y = W x + b, float32. Plain C interface, no dependencies.

#include "row_cpu.h"

// W [rows,columns], x [columns], b [rows] or null, y [rows].
struct RowLinear {
  int64_t rows, columns, threads;
  const float *matrix, *x, *bias;
  float* y;
};

extern "C" void row_linear(const RowLinear* p) {
  product(whole(p->matrix, p->rows, p->columns), p->x, p->bias, p->y, p->threads);
}
