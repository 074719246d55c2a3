// RWKV-7's state recurrence for CPUs, float32, forward and backward. Plain C interface, no dependencies.
//
//   sa = S a;   S <- S diag(w) + sa b^T + v k^T;   y = S r          (S: row = value channel, column = key channel)
//
// Forward. The rows of S never meet, so the value channels fill the vector lanes (S is kept transposed) and no sum runs
// across lanes; the pass over S that makes token t also reads it along a of token t + 1. S is saved every kInterval
// tokens.
//
// Backward. With D = d loss / d S, going from the state after token t to the one before it:
//
//   D += dy r^T;   dr = S^T dy;   dk = D^T v;   db = D^T sa;   dv = D k;   dsa += D b
//   dw = sum over rows of D * S_before;   da = S_before^T dsa;   D <- D diag(w) + dsa a^T
//
// The states are computed again from the saved ones, never by dividing by w, which loses three digits where w is small.
// Here the key channels fill the lanes, and kRows rows at a time go through kInterval tokens in the cache. The second
// line of token t and the first of token t - 1 meet the same state, and are one pass over it.
//
// Every head is computed by one thread in one order: the result does not depend on the number of threads.

#include <algorithm>
#include <cstdint>
#include <memory>

#include "threads_cpu.h"
#include "vectors_cpu.h"
#include "wkv7_token_cpu.h"

namespace {

constexpr int kRows = kRegisters / 4;        // rows of S per block of the backward pass: two sums each, in registers
constexpr int kWidth = kRegisters / 8;       // vectors per block of value channels in the forward pass
constexpr int64_t kInterval = 32;            // tokens per saved state
constexpr int64_t kAhead = 4;                // tokens between fetching and using, forward
constexpr int64_t kWorkPerThread = 1 << 20;  // state entries times tokens that pay for starting a thread
static_assert(2 * kRows % kLanes == 0, "the sums of a block fill whole vectors");

// Transposes the kLanes x kLanes tile x: one bit of the row number at a time changes places with one of the lane.
template <int Bit = 1>
INLINE void transpose_tile(Vec* x) {
  if constexpr (Bit < kLanes) {
    UNROLLED for (int i = 0; i < kLanes; ++i) {
      if (i & Bit) continue;
      const Vec low = x[i], high = x[i + Bit];
      // Odd lanes of `low` come from even lanes of `high`, and the other way round.
      x[i] = pick<Bit, 0, false>(low, pick<0, Bit, false>(high, high, AllLanes{}), AllLanes{});
      x[i + Bit] = pick<Bit, 0, true>(high, pick<0, Bit, false>(low, low, AllLanes{}), AllLanes{});
    }
    transpose_tile<2 * Bit>(x);
  }
}

// to[j][i] = from[i][j]; rows of `from` and of `to` begin `from_stride` and `to_stride` entries apart.
INLINE void transpose(const float* from, int64_t from_stride, float* to, int64_t to_stride, int rows, int columns) {
  for (int i = 0; i < rows; i += kLanes) {
    for (int j = 0; j < columns; j += kLanes) {
      Vec tile[kLanes];
      UNROLLED for (int n = 0; n < kLanes; ++n) tile[n] = load(from + (i + n) * from_stride + j);
      transpose_tile(tile);
      UNROLLED for (int n = 0; n < kLanes; ++n) store(to + (j + n) * to_stride + i, tile[n]);
    }
  }
}

// Inputs [B,T,H,N], N = size, to be computed by up to `threads` threads.
struct Tokens {
  int64_t batch, length, heads, size, threads;
  const float *r, *w, *k, *v, *a, *b;
};

// Calls work(head) for each of B * H heads.
template <int N, class Work>
void for_each_head(const Tokens& in, const Work& work) {
  const int64_t count = in.batch * in.heads;
  share(count, std::min(in.threads, count * in.length * N * N / kWorkPerThread), work);
}

// Offset of a head's first token, and from each token to the next.
template <int N>
int64_t first_token(const Tokens& in, int64_t head) {
  return (head / in.heads * in.length * in.heads + head % in.heads) * N;
}

// Tokens lie far apart and a store that misses the cache holds up all others, so what comes is fetched ahead, spread
// over the work on what is there; into the second level (2), because S fills the first.
template <bool Write, class... Pointers>
INLINE void prefetch(int64_t offset, Pointers... from) {
  (__builtin_prefetch(from + offset, Write, 2), ...);
}

struct Forward {
  Tokens in;
  const float* state;                    // [B,H,N,N]
  float *y, *sa, *final_state, *saved;  // saved [B,H,ceil(T / kInterval),N,N], transposed states; may be null
};

template <int N>
void forward_head(const Forward& p, int64_t head) {
  constexpr int kVectors = std::min(N / kLanes, kWidth), kBlock = kVectors * kLanes;
  constexpr int kChains = std::max(1, 4 / kVectors);  // independent sums per value, to hide the latency of an addition
  const Tokens& in = p.in;
  const int64_t stride = in.heads * N, intervals = (in.length + kInterval - 1) / kInterval;
  alignas(64) float state[N][kBlock];
  for (int block = 0; block < N; block += kBlock) {
    const int64_t origin = first_token<N>(in, head);
    int64_t at = origin;
    transpose(p.state + head * N * N + block * N, N, state[0], kBlock, kBlock, N);
    Vec sa[kVectors] = {};
    for (int j = 0; j < N; ++j) {
      UNROLLED for (int n = 0; n < kVectors; ++n) sa[n] += load(state[j] + n * kLanes) * in.a[at + j];
    }
    for (int64_t t = 0; t < in.length; ++t, at += stride) {
      if (p.saved && t % kInterval == 0) {
        float* to = p.saved + (head * intervals + t / kInterval) * N * N + block;
        for (int j = 0; j < N; ++j) std::copy_n(state[j], kBlock, to + j * N);
      }
      const int64_t soon = std::min(t + kAhead, in.length - 1) * stride + origin;
      const float *r = in.r + at, *w = in.w + at, *k = in.k + at, *b = in.b + at;
      const float* next_a = in.a + (t + 1 < in.length ? at + stride : at);  // of the last token: read, not used
      Vec v[kVectors], y[kChains][kVectors] = {}, next_sa[kChains][kVectors] = {};
      UNROLLED for (int n = 0; n < kVectors; ++n) {
        v[n] = load(in.v + at + block + n * kLanes);
        store(p.sa + at + block + n * kLanes, sa[n]);
      }
      for (int j0 = 0; j0 < N; j0 += kChains) {
        if (j0 % 16 == 0) {
          prefetch<false>(soon + j0, in.r, in.w, in.k, in.v, in.a, in.b);
          prefetch<true>(soon + j0, p.y, p.sa);
        }
        UNROLLED for (int c = 0; c < kChains; ++c) {
          const int j = j0 + c;
          UNROLLED for (int n = 0; n < kVectors; ++n) {
            Vec s = load(state[j] + n * kLanes);
            s = s * w[j] + sa[n] * b[j] + v[n] * k[j];
            store(state[j] + n * kLanes, s);
            y[c][n] += s * r[j];
            next_sa[c][n] += s * next_a[j];
          }
        }
      }
      UNROLLED for (int n = 0; n < kVectors; ++n) {
        UNROLLED for (int c = 1; c < kChains; ++c) {
          y[0][n] += y[c][n];
          next_sa[0][n] += next_sa[c][n];
        }
        store(p.y + at + block + n * kLanes, y[0][n]);
        sa[n] = next_sa[0][n];
      }
    }
    transpose(state[0], kBlock, p.final_state + head * N * N + block * N, N, N, kBlock);
  }
}

// One token, the state in the order it is stored in: nothing is transposed.
template <int N>
void single_token_head(const Forward& p, int64_t head) {
  const Tokens& in = p.in;
  const int64_t at = first_token<N>(in, head), state = head * N * N;
  wkv7_token<N>({in.r + at, in.w + at, in.k + at, in.v + at, in.a + at, in.b + at}, p.state + state, p.y + at, p.sa + at,
                p.final_state + state);
}

struct Backward {
  Tokens in;
  const float *sa, *saved;                      // as the forward pass left them
  const float *grad_y, *grad_sa, *grad_final;   // [B,T,H,N] twice, [B,H,N,N]
  float *dr, *dw, *dk, *dv, *da, *db, *dstate;  // like the inputs
};

template <int N>
struct alignas(64) Scratch {
  float grad[N][N];                          // D
  float dsa[N];                              // of the token that the pass has reached
  float start[N][N];                         // the state before the interval
  float states[kInterval + 1][kRows][N];     // of one block of rows, before each token and after the last
};

// The states of rows row .. row + kRows before the token at `at` and after it and each of the next, `length` in all.
template <int N>
void recompute(const Backward& p, Scratch<N>& scratch, int row, int64_t at, int64_t length) {
  const Tokens& in = p.in;
  const int64_t stride = in.heads * N;
  for (int j = 0; j < N; j += kLanes) {
    Vec s[kRows];
    UNROLLED for (int i = 0; i < kRows; ++i) {
      s[i] = load(scratch.start[row + i] + j);
      store(scratch.states[0][i] + j, s[i]);
    }
    for (int64_t t = 0, here = at; t < length; ++t, here += stride) {
      const Vec w = load(in.w + here + j), k = load(in.k + here + j), b = load(in.b + here + j);
      const float *v = in.v + here + row, *sa = p.sa + here + row;
      UNROLLED for (int i = 0; i < kRows; ++i) {
        s[i] = s[i] * w + b * sa[i] + k * v[i];
        store(scratch.states[t + 1][i] + j, s[i]);
      }
    }
  }
}

// At one state, for kRows rows: ends the token after it (at `later`) and begins the token before it (at `earlier`).
template <int N, bool End, bool Begin>
INLINE void visit(const Backward& p, Scratch<N>& scratch, int64_t state, int row, int64_t later, int64_t earlier) {
  const Tokens& in = p.in;
  const float(*states)[N] = scratch.states[state];
  float(*grad)[N] = scratch.grad + row;
  float* dsa = scratch.dsa + row;
  const float *v = in.v + earlier + row, *sa = p.sa + earlier + row, *dy = p.grad_y + earlier + row;
  const bool add = row > 0;
  Vec sums[2 * kRows] = {};
  for (int j = 0; j < N; j += kLanes) {
    Vec w, a, r, k, b, dw{}, da{}, dr{}, dk{}, db{};
    if constexpr (End) {
      w = load(in.w + later + j), a = load(in.a + later + j);
      if (add) dw = load(p.dw + later + j), da = load(p.da + later + j);
    }
    if constexpr (Begin) {
      r = load(in.r + earlier + j), k = load(in.k + earlier + j), b = load(in.b + earlier + j);
      if (add) dr = load(p.dr + earlier + j), dk = load(p.dk + earlier + j), db = load(p.db + earlier + j);
    }
    UNROLLED for (int i = 0; i < kRows; ++i) {
      const Vec s = load(states[i] + j);
      Vec d = load(grad[i] + j);
      if constexpr (End) {
        dw += d * s;
        da += s * dsa[i];
        d = d * w + a * dsa[i];
      }
      if constexpr (Begin) {
        d += r * dy[i];
        dr += s * dy[i];
        dk += d * v[i];
        db += d * sa[i];
        sums[i] += d * k;
        sums[kRows + i] += d * b;
      }
      store(grad[i] + j, d);
    }
    if constexpr (End) store(p.dw + later + j, dw), store(p.da + later + j, da);
    if constexpr (Begin) store(p.dr + earlier + j, dr), store(p.dk + earlier + j, dk), store(p.db + earlier + j, db);
  }
  if constexpr (Begin) {
    alignas(64) float totals[2 * kRows];
    UNROLLED for (int i = 0; i < 2 * kRows; i += kLanes) store(totals + i, lane_sums(sums + i));
    std::copy_n(totals, kRows, p.dv + earlier + row);
    UNROLLED for (int i = 0; i < kRows; ++i) dsa[i] = totals[kRows + i] + p.grad_sa[earlier + row + i];
  }
}

// At token s of an interval and a block of rows: its share of what the interval before will touch.
template <int N>
INLINE void fetch_interval_before(const Backward& p, int64_t saved, int64_t s, int row, int64_t at) {
  constexpr int kShare = N * kRows / kInterval;  // of the saved state
  const float* state = p.saved + saved * N * N + s * kShare + row * N;
  for (int i = 0; i < kShare; i += 16) prefetch<false>(i, state);
  if (row % 16) return;
  prefetch<false>(at, p.in.r, p.in.w, p.in.k, p.in.v, p.in.a, p.in.b, p.sa, p.grad_y, p.grad_sa);
  prefetch<true>(at, p.dr, p.dw, p.dk, p.dv, p.da, p.db);
}

template <int N>
void backward_head(const Backward& p, int64_t head) {
  const Tokens& in = p.in;
  const int64_t stride = in.heads * N, intervals = (in.length + kInterval - 1) / kInterval;
  const auto memory = std::make_unique<Scratch<N>>();
  Scratch<N>& scratch = *memory;
  std::copy_n(p.grad_final + head * N * N, N * N, scratch.grad[0]);
  for (int64_t n = intervals - 1; n >= 0; --n) {
    const int64_t first = n * kInterval, length = std::min(kInterval, in.length - first);
    const int64_t at = first_token<N>(in, head) + first * stride;
    transpose(p.saved + (head * intervals + n) * N * N, N, scratch.start[0], N, N, N);
    for (int row = 0; row < N; row += kRows) {
      recompute<N>(p, scratch, row, at, n == intervals - 1 ? length : length - 1);
      if (n == intervals - 1) visit<N, false, true>(p, scratch, length, row, 0, at + (length - 1) * stride);
      for (int64_t s = length - 1; s > 0 || (s == 0 && n > 0); --s) {
        if (n > 0) fetch_interval_before<N>(p, head * intervals + n - 1, s, row, at + (s - kInterval) * stride + row);
        visit<N, true, true>(p, scratch, s, row, at + s * stride, at + (s - 1) * stride);
      }
      if (n == 0) visit<N, true, false>(p, scratch, 0, row, at, at);
    }
  }
  std::copy_n(scratch.grad[0], N * N, p.dstate + head * N * N);
}

template <int N>
void forward(const Forward& p) {
  for_each_head<N>(p.in, [&](int64_t head) {
    if (p.in.length == 1 && !p.saved) {
      single_token_head<N>(p, head);
    } else {
      forward_head<N>(p, head);
    }
  });
}

template <int N>
void backward(const Backward& p) {
  for_each_head<N>(p.in, [&](int64_t head) { backward_head<N>(p, head); });
}

}  // namespace

// One pointer to a struct of 8-byte fields: Python packs it in a fraction of the time that as many arguments take, which
// a call for one token would feel.
extern "C" {

int64_t wkv7_interval() { return kInterval; }

// Both return 0, or 1 for a head size other than 16, 32, 64 and 128.
int wkv7_forward(const Forward* p) {
  switch (p->in.size) {
    case 16: forward<16>(*p); return 0;
    case 32: forward<32>(*p); return 0;
    case 64: forward<64>(*p); return 0;
    case 128: forward<128>(*p); return 0;
    default: return 1;
  }
}

int wkv7_backward(const Backward* p) {
  switch (p->in.size) {
    case 16: backward<16>(*p); return 0;
    case 32: backward<32>(*p); return 0;
    case 64: backward<64>(*p); return 0;
    case 128: backward<128>(*p); return 0;
    default: return 1;
  }
}
}
