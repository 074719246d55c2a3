// Between tokens and the rows that experts compute on, float32, forward and backward. Plain C interface.
//
//   inputs    x_j = h_t + (p_t - h_t) ratio_e       row j of expert e serves token t; p: the tokens before
//   outputs   y_t = sum over k of weight_tk out_j   j: row of token t's k-th winner
//
// Each is one pass over the rows, and so is each way back: a token's rows are added up in the order of its winners, by one
// thread. Gradients of the ratios are summed over segments of kSegment tokens; the caller adds the segments up.

#include <algorithm>
#include <cstdint>

#include "threads_cpu.h"

namespace {

constexpr int64_t kSegment = 256;
constexpr int64_t kNumbersPerThread = 1 << 18;  // that pay for starting a thread

// tokens n with top_k winners each, width C, experts E. An expert's rows lie in an array of its own.
struct Plan {
  int64_t tokens, top_k, width, experts, threads;
  const int64_t *winners, *places;  // [n,K] expert, E: nobody; row among all experts'
  const int64_t *token_of_row;      // of all experts' rows
  const int64_t *begins, *served;   // [E+1] first row of each; [E] rows that some place names, the first ones
};

// Calls work(segment, first token, end) for all segments.
template <class Work>
void for_each_segment(const Plan& plan, const Work& work) {
  const int64_t segments = (plan.tokens + kSegment - 1) / kSegment;
  const int64_t numbers = plan.tokens * plan.top_k * plan.width;
  share(segments, std::min(plan.threads, numbers / kNumbersPerThread), [&](int64_t segment) {
    work(segment, segment * kSegment, std::min(plan.tokens, (segment + 1) * kSegment));
  });
}

// Calls work(expert, offset of the row in the expert's array, place among all winners) for a token's winners.
template <class Work>
void for_each_winner(const Plan& plan, int64_t token, const Work& work) {
  for (int64_t at = token * plan.top_k; at < (token + 1) * plan.top_k; ++at) {
    const int64_t expert = plan.winners[at];
    if (expert < plan.experts) work(expert, (plan.places[at] - plan.begins[expert]) * plan.width, at);
  }
}

struct Inputs {
  Plan plan;
  const float *h, *previous;    // [n,C]; `previous` is null where no expert has a ratio
  const float* const* ratios;   // [E] times [C] or null
  float* const* rows;           // [E] times [rows,C]
};

struct InputsBackward {
  Inputs forward;                   // rows are not read
  const float* const* grad_rows;    // [E] times [rows,C], null: zero
  float *grad_h, *grad_previous;    // [n,C]; the second is null where `previous` is
  float* sums;                      // [segments,E,C], gradients of the ratios; null as well
};

// As torch's lerp: from the nearer end.
void shift_row(const float* h, const float* previous, const float* ratio, float* row, int64_t width) {
#pragma omp simd
  for (int64_t i = 0; i < width; ++i) {
    const bool near = ratio[i] < 0.5f;
    row[i] = (near ? h[i] : previous[i]) + (near ? ratio[i] : ratio[i] - 1.0f) * (previous[i] - h[i]);
  }
}

void gather(const Inputs& p, int64_t expert) {
  const int64_t width = p.plan.width, begin = p.plan.begins[expert];
  for (int64_t j = begin; j < p.plan.begins[expert + 1]; ++j) {
    const float *h = p.h + p.plan.token_of_row[j] * width, *ratio = p.ratios[expert];
    float* row = p.rows[expert] + (j - begin) * width;
    if (ratio) {
      shift_row(h, p.previous + p.plan.token_of_row[j] * width, ratio, row, width);
    } else {
      std::copy_n(h, width, row);
    }
  }
}

void gather_backward(const InputsBackward& p, int64_t token, float* sums) {
  const int64_t width = p.forward.plan.width;
  const float *h = p.forward.h + token * width, *previous = p.forward.previous + token * width;
  float *dh = p.grad_h + token * width, *dprevious = p.grad_previous + token * width;
  std::fill_n(dh, width, 0.0f);
  if (p.grad_previous) std::fill_n(dprevious, width, 0.0f);
  for_each_winner(p.forward.plan, token, [&](int64_t expert, int64_t offset, int64_t) {
    if (!p.grad_rows[expert]) return;
    const float *grad = p.grad_rows[expert] + offset, *ratio = p.forward.ratios[expert];
    if (!ratio) {
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) dh[i] += grad[i];
      return;
    }
    float* sum = sums + expert * width;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) {
      dh[i] += grad[i] * (1.0f - ratio[i]);
      dprevious[i] += grad[i] * ratio[i];
      sum[i] += grad[i] * (previous[i] - h[i]);
    }
  });
}

struct Outputs {
  Plan plan;
  const float* const* rows;  // [E] times [rows,C]
  const float* weights;      // [n,K]
  float* mixed;              // [n,C]
};

struct OutputsBackward {
  Outputs forward;  // mixed is not read
  const float* grad_mixed;
  float* const* grad_rows;  // [E] times [rows,C]
  float* grad_weights;      // [n,K]
};

void mix_token(const Outputs& p, int64_t token) {
  const int64_t width = p.plan.width;
  float* mixed = p.mixed + token * width;
  std::fill_n(mixed, width, 0.0f);
  for_each_winner(p.plan, token, [&](int64_t expert, int64_t offset, int64_t at) {
    const float *row = p.rows[expert] + offset, weight = p.weights[at];
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) mixed[i] += row[i] * weight;
  });
}

void unmix_token(const OutputsBackward& p, int64_t token) {
  const int64_t width = p.forward.plan.width;
  const float* grad = p.grad_mixed + token * width;
  std::fill_n(p.grad_weights + token * p.forward.plan.top_k, p.forward.plan.top_k, 0.0f);
  for_each_winner(p.forward.plan, token, [&](int64_t expert, int64_t offset, int64_t at) {
    const float *row = p.forward.rows[expert] + offset, weight = p.forward.weights[at];
    float *grad_row = p.grad_rows[expert] + offset, along = 0.0f;
#pragma omp simd reduction(+ : along)
    for (int64_t i = 0; i < width; ++i) {
      grad_row[i] = grad[i] * weight;
      along += grad[i] * row[i];
    }
    p.grad_weights[at] = along;
  });
}

}  // namespace

extern "C" {

int64_t expert_rows_segment() { return kSegment; }

void expert_inputs(const Inputs* p) {
  const int64_t rows = p->plan.begins[p->plan.experts];
  share(p->plan.experts, std::min(p->plan.threads, rows * p->plan.width / kNumbersPerThread),
        [&](int64_t expert) { gather(*p, expert); });
}

void expert_inputs_backward(const InputsBackward* p) {
  const int64_t size = p->forward.plan.experts * p->forward.plan.width;
  for_each_segment(p->forward.plan, [&](int64_t segment, int64_t first, int64_t end) {
    float* sums = p->sums + segment * size;
    if (p->sums) std::fill_n(sums, size, 0.0f);
    for (int64_t token = first; token < end; ++token) gather_backward(*p, token, sums);
  });
}

void expert_outputs(const Outputs* p) {
  for_each_segment(p->plan, [&](int64_t, int64_t first, int64_t end) {
    for (int64_t token = first; token < end; ++token) mix_token(*p, token);
  });
}

void expert_outputs_backward(const OutputsBackward* p) {
  const Plan& plan = p->forward.plan;
  for (int64_t expert = 0; expert < plan.experts; ++expert) {
    const int64_t rows = plan.begins[expert + 1] - plan.begins[expert];
    std::fill(p->grad_rows[expert] + plan.served[expert] * plan.width, p->grad_rows[expert] + rows * plan.width, 0.0f);
  }
  for_each_segment(plan, [&](int64_t, int64_t first, int64_t end) {
    for (int64_t token = first; token < end; ++token) unmix_token(*p, token);
  });
}
}
