// RWKV-7's state recurrence for NVIDIA GPUs (compute capability 8.0 and later): inputs float32 or bfloat16 (the decay
// w always float32), state and sums float32, forward and backward. Plain C interface, no dependencies.
//
//   sa = S a;   S <- S diag(w) + sa b^T + v k^T;   y = S r          (S: row = value channel, column = key channel)
//
// A block owns some or all rows of one head's state and goes through the tokens in order. Each thread keeps R x C
// entries in registers (`Tile`), so that a number read from shared memory serves R or C entries; C entries are C / 4
// groups of four neighbours. Sums along a row go through the lanes of one warp and leave one row's total on a lane.
// The inputs of the next kInterval tokens travel to shared memory while these are computed.
//
// Forward. The pass over S that makes token t also reads it along a of token t + 1. S is saved every kInterval
// tokens.
//
// Backward. With D = d loss / d S, going from the state after token t to the one before it:
//
//   D += dy r^T;   dr = S^T dy;   dk = D^T v;   db = D^T sa;   dv = D k;   dsa += D b
//   dw = sum over rows of D * S_before;   da = S_before^T dsa;   D <- D diag(w) + dsa a^T
//
// The second line of token t and the first of token t - 1 meet the same state: one visit. States come from the saved
// ones: a first pass through an interval leaves every kHeld-th in shared memory, from there kHeld at a time are made
// in registers. Nothing divides by w, which loses three digits where w is small. Sums over rows are added in one
// order, and blocks that share a head write theirs apart for a second kernel to add: the same bits every time.
//
// What it should cost: a model, to be held against a measurement (H200: 132 multiprocessors x 128 lanes, 1.9 GHz;
// bf16, B8 T4096 H16 N64, so 128 blocks of 4 warps, one warp per scheduler). Per entry and token the forward pass
// needs 5 multiply-adds, the backward pass 10 and 4.5 for the states: 0.33 + 0.96 ms. As compiled for sm_90a a warp
// issues, per token, 232 instructions for 160 of them forward; backward 494 for the visit and the second making of
// the states, 111 for the first pass, about 80 to add and write sums and 25 to fetch: 710 for 464. That is 0.50 +
// 1.53 ms without any waiting. The longest chain of one token (sum along rows, spread it, use it) takes about 150 of
// 232 and 170 of 710 clocks, with other work to fill it. Shared memory is busy for about 480 clocks of 710, device
// memory for 0.65 ms (2.8 GB at 4.3 TB/s). Expect 2.2 to 2.5 ms. First things to try there: blocks of one head in a
// cluster, which add sums without the second kernel; two heads or half the rows per thread, for two warps per
// scheduler.

#include <cuda_bf16.h>
#include <cuda_pipeline.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

extern __shared__ float4 shared_memory[];

namespace {

constexpr int kInterval = 16;     // tokens per saved state, and per trip to shared memory
constexpr int kHeld = 2;          // states in registers at a time, backward
constexpr int kMaxThreads = 128;  // per block
constexpr int kSegments = kInterval / kHeld;
// Per thread: two saved states (this interval's and the next one's), and the start of every segment but the first,
// which is the saved state, and the last, which is used as soon as it is made.
constexpr int kSlots = 2 + kSegments - 2;
static_assert(kInterval % 2 == 0 && kSegments >= 2, "tokens are told apart as even and odd; two segments at least");

using bfloat16 = __nv_bfloat16;

// ---- Four numbers at a time, as floats

__device__ __forceinline__ void load4(float (&to)[4], const float* from) {
  const float4 x = *reinterpret_cast<const float4*>(from);
  to[0] = x.x, to[1] = x.y, to[2] = x.z, to[3] = x.w;
}

__device__ __forceinline__ void load4(float (&to)[4], const bfloat16* from) {
  const uint2 x = *reinterpret_cast<const uint2*>(from);
  to[0] = __uint_as_float(x.x << 16), to[1] = __uint_as_float(x.x & 0xffff0000u);
  to[2] = __uint_as_float(x.y << 16), to[3] = __uint_as_float(x.y & 0xffff0000u);
}

__device__ __forceinline__ void store4(float* to, const float (&x)[4]) {
  *reinterpret_cast<float4*>(to) = make_float4(x[0], x[1], x[2], x[3]);
}

__device__ __forceinline__ unsigned pair(float low, float high) {
  return __bfloat16_as_ushort(__float2bfloat16_rn(low)) |
         static_cast<unsigned>(__bfloat16_as_ushort(__float2bfloat16_rn(high))) << 16;
}

__device__ __forceinline__ void store4(bfloat16* to, const float (&x)[4]) {
  *reinterpret_cast<uint2*>(to) = make_uint2(pair(x[0], x[1]), pair(x[2], x[3]));
}

__device__ __forceinline__ void store(float* to, float x) { *to = x; }
__device__ __forceinline__ void store(bfloat16* to, float x) { *to = __float2bfloat16_rn(x); }

// ---- Who owns what

// A thread has R rows and C columns; kColumnLanes neighbouring lanes share R rows.
template <int N_, int R_, int C_>
struct Tile {
  static constexpr int N = N_, R = R_, C = C_, kGroups = C / 4;
  static constexpr int kColumnLanes = N / C, kRowLanes = 32 / kColumnLanes, kWarpRows = R * kRowLanes;
  static constexpr int kMaxSplit = N / kWarpRows;  // blocks of one warp each
  static constexpr int kMinSplit = kMaxSplit > kMaxThreads / 32 ? kMaxSplit / (kMaxThreads / 32) : 1;
  static_assert(C % 4 == 0 && R <= kColumnLanes && kWarpRows <= N, "a lane for every row's total");
};

// Forward only row sums cross lanes, which favours wide tiles; backward the column sums of five gradients leave the
// thread too, which favours tall ones.
template <int N>
using ForwardTile = Tile<N, (N == 16 ? 1 : 4), 8>;
template <int N>
using BackwardTile = Tile<N, (N == 16 ? 2 : N == 32 ? 4 : 8), 4>;

// Keeps a number in its register: the compiler would rather compute it again and again.
__device__ __forceinline__ int kept(int x) {
  asm volatile("" : "+r"(x));
  return x;
}

template <class L>
struct Place {
  int lane = threadIdx.x % 32;
  int column = kept(4 * (lane % L::kColumnLanes));                     // of the first group
  int partial = threadIdx.x / L::kColumnLanes;                         // which R rows of the block's
  int first_row = blockIdx.y * (blockDim.x / L::kColumnLanes) * L::R;  // the block's first row of the head
  int row = kept(first_row + partial * L::R);                          // the thread's first row of the head
  bool owner = lane % L::kColumnLanes < L::R;                          // the one to write a row's total; the row
  int owned;                                                           // of the head whose total it receives

  __device__ __forceinline__ Place() {
    int index = row;
#pragma unroll
    for (int bit = 1, half = L::R / 2; half > 0; bit *= 2, half /= 2) index += lane & bit ? half : 0;
    owned = kept(index);
  }
  __device__ __forceinline__ int group(int g) const { return column + 4 * L::kColumnLanes * g; }  // first column
};

// Sums x[i] over the column lanes; lane l receives the total of the row that `Place::owned` names. Uses x up.
template <class L, int Bit = 1, int Half = L::R / 2>
__device__ __forceinline__ float row_total(float (&x)[L::R], int lane) {
  if constexpr (Bit == L::kColumnLanes) {
    return x[0];
  } else if constexpr (Half == 0) {
    x[0] += __shfl_xor_sync(0xffffffffu, x[0], Bit);
    return row_total<L, 2 * Bit, 0>(x, lane);
  } else {
    const bool upper = lane & Bit;  // keeps the upper half of the rows, gives the lower one away
#pragma unroll
    for (int i = 0; i < Half; ++i) {
      const float kept = upper ? x[i + Half] : x[i], given = upper ? x[i] : x[i + Half];
      x[i] = kept + __shfl_xor_sync(0xffffffffu, given, Bit);
    }
    return row_total<L, 2 * Bit, Half / 2>(x, lane);
  }
}

// The other way: every lane receives all of its R rows from the lanes that own them.
template <class L>
__device__ __forceinline__ void gather_rows(float (&all)[L::R], float mine) {
#pragma unroll
  for (int i = 0; i < L::R; ++i) {
    int owner = 0;
#pragma unroll
    for (int bit = 1, half = L::R / 2; half > 0; bit *= 2, half /= 2) owner += i & half ? bit : 0;
    all[i] = __shfl_sync(0xffffffffu, mine, owner, L::kColumnLanes);
  }
}

template <int R>
__device__ __forceinline__ void load_rows(float (&to)[R], const float* from) {
  if constexpr (R % 4 == 0) {
#pragma unroll
    for (int i = 0; i < R; i += 4) load4(reinterpret_cast<float(&)[4]>(to[i]), from + i);
  } else {
#pragma unroll
    for (int i = 0; i < R; ++i) to[i] = from[i];
  }
}

// `from` and `to` point to the first of the thread's rows in a state.
template <class L>
__device__ __forceinline__ void load_state(float (&s)[L::R][L::C], const float* from, const Place<L>& me) {
#pragma unroll
  for (int i = 0; i < L::R; ++i) {
#pragma unroll
    for (int g = 0; g < L::kGroups; ++g) {
      load4(reinterpret_cast<float(&)[4]>(s[i][4 * g]), from + i * L::N + me.group(g));
    }
  }
}

template <class L>
__device__ __forceinline__ void store_state(float* to, const float (&s)[L::R][L::C], const Place<L>& me) {
#pragma unroll
  for (int i = 0; i < L::R; ++i) {
#pragma unroll
    for (int g = 0; g < L::kGroups; ++g) {
      store4(to + i * L::N + me.group(g), reinterpret_cast<const float(&)[4]>(s[i][4 * g]));
    }
  }
}

// ---- From device memory to shared memory

// One head of a [B,T,H,N] tensor.
struct Series {
  int64_t origin, stride, length;  // offset of its first token, from each token to the next, and how many tokens

  __device__ Series(int64_t length, int64_t heads, int size)
      : origin((blockIdx.x / heads * length * heads + blockIdx.x % heads) * size),
        stride(heads * size),
        length(length) {}
  __device__ int64_t at(int64_t token) const { return origin + token * stride; }
};

// Starts copying tokens first .. first + kInterval of each of `from` to `raw`, one tensor after another; before the
// first and after the last token, those again.
template <int N, typename E, class... From>
__device__ __forceinline__ void fetch(E* raw, const Series& series, int64_t first, From... from) {
  constexpr int kPiece = 16 / sizeof(E), kPieces = N / kPiece;
  for (int i = threadIdx.x; i < kInterval * kPieces; i += blockDim.x) {
    int64_t token = first + i / kPieces;
    token = token < 0 ? 0 : token < series.length ? token : series.length - 1;
    const int64_t at = series.at(token) + i % kPieces * kPiece;
    E* to = raw + i * kPiece;
    ((__pipeline_memcpy_async(to, from + at, 16), to += kInterval * N), ...);
  }
}

template <int kCount, typename E>
__device__ __forceinline__ void widen(float* to, const E* raw) {
  for (int i = 4 * threadIdx.x; i < kCount; i += 4 * blockDim.x) {
    float x[4];
    load4(x, raw + i);
    store4(to + i, x);
  }
}

// ---- Forward

template <typename T>
struct Inputs {
  int64_t length, heads;
  const T *r;
  const float* w;
  const T *k, *v, *a, *b;
};

template <typename T>
struct Forward {
  Inputs<T> in;
  const float* state;   // [B,H,N,N]
  T *y, *sa;
  float* final_state;
  float* saved;         // [B,H,T / kInterval + 1,N,N]; may be null
  float* exact_sa;      // sa unrounded; may be null
};

// The inputs as floats, one after another, and as they come.
template <typename T, int N>
struct ForwardMemory {
  static constexpr int kSize = kInterval * N;
  float w[kSize], r[kSize], k[kSize], v[kSize], b[kSize], next_a[kSize];
  float raw_w[kSize];
  T raw[5 * kSize];

  __device__ __forceinline__ void fetch_all(const Inputs<T>& in, const Series& series, int64_t first) {
    fetch<N>(raw_w, series, first, in.w);
    fetch<N>(raw, series, first, in.r, in.k, in.v, in.b);
    fetch<N>(raw + 4 * kSize, series, first + 1, in.a);
    __pipeline_commit();
  }
  __device__ __forceinline__ void widen_all() { widen<kSize>(w, raw_w), widen<5 * kSize>(r, raw); }
};

template <typename T, int N>
__global__ void __launch_bounds__(kMaxThreads, 4) wkv7_forward_kernel(const Forward<T> p) {
  using L = ForwardTile<N>;
  auto& shared = *reinterpret_cast<ForwardMemory<T, N>*>(shared_memory);
  const Place<L> me;
  const Series series(p.in.length, p.in.heads, N);
  const int64_t in_state = (static_cast<int64_t>(blockIdx.x) * N + me.row) * N;
  const int64_t intervals = p.in.length / kInterval + 1;
  float* saved = p.saved ? p.saved + (blockIdx.x * intervals * N + me.row) * N : nullptr;
  float s[L::R][L::C], next_sa[L::R];

  shared.fetch_all(p.in, series, 0);
  load_state<L>(s, p.state + in_state, me);
#pragma unroll
  for (int i = 0; i < L::R; ++i) next_sa[i] = 0;
#pragma unroll
  for (int g = 0; g < L::kGroups; ++g) {
    float a[4];
    load4(a, p.in.a + series.at(0) + me.group(g));
#pragma unroll
    for (int i = 0; i < L::R; ++i) {
#pragma unroll
      for (int c = 0; c < 4; ++c) next_sa[i] = fmaf(s[i][4 * g + c], a[c], next_sa[i]);
    }
  }
  float my_sa = row_total<L>(next_sa, me.lane);

  for (int64_t first = 0; first < series.length; first += kInterval) {
    if (saved) store_state<L>(saved + first / kInterval * N * N, s, me);
    __pipeline_wait_prior(0);
    __syncthreads();  // the fetch is complete, and the interval before is done with
    shared.widen_all();
    __syncthreads();
    if (first + kInterval < series.length) shared.fetch_all(p.in, series, first + kInterval);
    const int count = static_cast<int>(min(static_cast<int64_t>(kInterval), series.length - first));
    int64_t out = series.at(first) + me.owned;
#pragma unroll 2
    for (int t = 0; t < count; ++t, out += series.stride) {
      float sa[L::R], v[L::R], y[L::R];
      gather_rows<L>(sa, my_sa);
      load_rows<L::R>(v, shared.v + t * N + me.row);
#pragma unroll
      for (int i = 0; i < L::R; ++i) y[i] = next_sa[i] = 0;
#pragma unroll
      for (int g = 0; g < L::kGroups; ++g) {
        const int at = t * N + me.group(g);
        float r[4], w[4], k[4], b[4], next_a[4];
        load4(r, shared.r + at), load4(w, shared.w + at), load4(k, shared.k + at), load4(b, shared.b + at);
        load4(next_a, shared.next_a + at);
#pragma unroll
        for (int i = 0; i < L::R; ++i) {
#pragma unroll
          for (int c = 0; c < 4; ++c) {
            float& x = s[i][4 * g + c];
            x = fmaf(sa[i], b[c], fmaf(x, w[c], v[i] * k[c]));
            next_sa[i] = fmaf(x, next_a[c], next_sa[i]);
            y[i] = fmaf(x, r[c], y[i]);
          }
        }
      }
      if (me.owner) {
        store(p.sa + out, my_sa);
        if (p.exact_sa) p.exact_sa[out] = my_sa;
      }
      my_sa = row_total<L>(next_sa, me.lane);
      const float my_y = row_total<L>(y, me.lane);
      if (me.owner) store(p.y + out, my_y);
    }
  }
  if (saved && series.length % kInterval == 0) store_state<L>(saved + (intervals - 1) * N * N, s, me);
  store_state<L>(p.final_state + in_state, s, me);
}

// ---- Backward

template <typename T>
struct Backward {
  Inputs<T> in;
  const float *sa, *saved;            // unrounded sa, and the saved states, as the forward pass left them
  const T *grad_y, *grad_sa;
  const float* grad_final;
  float* dw;
  T* others;                          // [4,B,T,H,N]: da, dr, dk, db
  T* dv;
  float* dstate;
  float* partial;                     // [split,5,B,T,H,N]: dw, da, dr, dk, db of each block's rows; null if split is 1
  int64_t total;                      // B T H N
};

// Row j of an interval that begins at token `first`: of w and a token first + j, which follows state j; of the others
// token first + j - 1, which ends in state j.
template <typename T, int N>
struct BackwardMemory {
  static constexpr int kSize = kInterval * N;
  float w[kSize], sa[kSize], a[kSize], r[kSize], k[kSize], v[kSize], b[kSize], dy[kSize], dsa_given[kSize];
  float raw_w[kSize], raw_sa[kSize];
  T raw[7 * kSize];
  float dv[kHeld * N];

  __device__ __forceinline__ void fetch_all(const Backward<T>& p, const Series& series, int64_t first) {
    fetch<N>(raw_w, series, first, p.in.w);
    fetch<N>(raw_sa, series, first - 1, p.sa);
    fetch<N>(raw, series, first, p.in.a);
    fetch<N>(raw + kSize, series, first - 1, p.in.r, p.in.k, p.in.v, p.in.b, p.grad_y, p.grad_sa);
    __pipeline_commit();
  }
  __device__ __forceinline__ void widen_all() { widen<2 * kSize>(w, raw_w), widen<7 * kSize>(a, raw); }
};

// The states before tokens n kInterval + j for j < states; the token before state j exists from j = begin on, the
// token after it up to j < end.
struct Interval {
  int64_t n, at;  // `at`: offset of its first token
  int states, begin, end;

  __device__ Interval(int64_t n, const Series& series)
      : n(n), at(series.at(n * kInterval)),
        states(static_cast<int>(min(static_cast<int64_t>(kInterval), series.length + 1 - n * kInterval))),
        begin(n == 0), end(static_cast<int>(min(static_cast<int64_t>(kInterval), series.length - n * kInterval))) {}
};

template <typename T, int N>
struct BackwardBlock {
  using L = BackwardTile<N>;
  using State = float[L::R][L::C];
  using Memory = BackwardMemory<T, N>;

  // After Memory come the slots, then the sums over each thread's rows, for kHeld states and five gradients.
  static constexpr int64_t bytes(int rows) {
    return sizeof(Memory) + sizeof(float) * (kSlots * rows * N + kHeld * 5 * (rows / L::R) * N);
  }

  const Backward<T>& p;
  const Place<L> me;
  const Series series;
  Memory& shared;
  float4* slots;
  float* sums;

  __device__ explicit BackwardBlock(const Backward<T>& p)
      : p(p), series(p.in.length, p.in.heads, N), shared(*reinterpret_cast<Memory*>(shared_memory)),
        slots(reinterpret_cast<float4*>(&shared + 1)),
        sums(reinterpret_cast<float*>(slots + kSlots * (L::R * L::kGroups) * blockDim.x)) {}

  // A thread's numbers lie 32 apart from each other, next to those of its warp.
  __device__ __forceinline__ float* slot(int index) const {
    return reinterpret_cast<float*>(slots + (index * (blockDim.x / 32) + threadIdx.x / 32) * L::R * 32 + me.lane);
  }

  __device__ __forceinline__ void to_slot(int index, const State& s) const {
    float* to = slot(index);
#pragma unroll
    for (int i = 0; i < L::R; ++i) store4(to + i * 4 * 32, s[i]);
  }

  __device__ __forceinline__ void from_slot(State& s, int index) const {
    const float* from = slot(index);
#pragma unroll
    for (int i = 0; i < L::R; ++i) load4(s[i], from + i * 4 * 32);
  }

  // Starts copying all that interval n needs.
  __device__ __forceinline__ void fetch_interval(int64_t n) const {
    const int64_t intervals = series.length / kInterval + 1;
    const float* from = p.saved + ((blockIdx.x * intervals + n) * N + me.row) * N + me.column;
    float* to = slot(n % 2);
#pragma unroll
    for (int i = 0; i < L::R; ++i) __pipeline_memcpy_async(to + i * 4 * 32, from + i * N, 16);
    shared.fetch_all(p, series, n * kInterval);
  }

  // Waits for an interval. No token follows the last state: w = 1 there keeps D. None ends in the first: dy = 0.
  __device__ __forceinline__ void receive(const Interval& in) const {
    __pipeline_wait_prior(0);
    __syncthreads();
    shared.widen_all();
    __syncthreads();
    if (in.end == kInterval && in.begin == 0) return;
    for (int j = threadIdx.x; j < N; j += blockDim.x) {
      if (in.end < kInterval) shared.w[in.end * N + j] = 1;
      if (in.begin) shared.dy[j] = 0;
    }
    __syncthreads();
  }

  // From state j of the interval to the next.
  __device__ __forceinline__ void advance(State& s, int j) const {
    float w[4], k[4], b[4], v[L::R], sa[L::R];
    load4(w, shared.w + j * N + me.column);
    load4(k, shared.k + (j + 1) * N + me.column), load4(b, shared.b + (j + 1) * N + me.column);
    load_rows<L::R>(v, shared.v + (j + 1) * N + me.row);
    load_rows<L::R>(sa, shared.sa + (j + 1) * N + me.row);
#pragma unroll
    for (int i = 0; i < L::R; ++i) {
#pragma unroll
      for (int c = 0; c < 4; ++c) s[i][c] = fmaf(sa[i], b[c], fmaf(s[i][c], w[c], v[i] * k[c]));
    }
  }

  // At state j: ends the token after it, begins the token before it. `my_dsa`: of the owned row, now of the token
  // after it, then of the token before it. `held`: which of the kHeld sums are its own.
  __device__ __forceinline__ void visit(State& grad, float& my_dsa, const State& s, int j, int held) const {
    float w[4], a[4], r[4], k[4], b[4], dsa[L::R], v[L::R], sa[L::R], dy[L::R];
    const int at = j * N + me.column, row = j * N + me.row;
    load4(w, shared.w + at), load4(a, shared.a + at), load4(r, shared.r + at), load4(k, shared.k + at);
    load4(b, shared.b + at);
    load_rows<L::R>(v, shared.v + row), load_rows<L::R>(sa, shared.sa + row), load_rows<L::R>(dy, shared.dy + row);
    const float dsa_given = shared.dsa_given[j * N + me.owned];
    gather_rows<L>(dsa, my_dsa);
    float dw[4] = {}, da[4] = {}, dr[4] = {}, dk[4] = {}, db[4] = {}, dv[L::R] = {}, next_dsa[L::R] = {};
#pragma unroll
    for (int i = 0; i < L::R; ++i) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const float x = s[i][c];
        float& d = grad[i][c];
        dw[c] = fmaf(d, x, dw[c]);
        da[c] = fmaf(dsa[i], x, da[c]);
        dr[c] = fmaf(dy[i], x, dr[c]);
        d = fmaf(dsa[i], a[c], fmaf(d, w[c], dy[i] * r[c]));
        next_dsa[i] = fmaf(d, b[c], next_dsa[i]);
        dv[i] = fmaf(d, k[c], dv[i]);
        dk[c] = fmaf(d, v[i], dk[c]);
        db[c] = fmaf(d, sa[i], db[c]);
      }
    }
    my_dsa = row_total<L>(next_dsa, me.lane) + dsa_given;
    const float my_dv = row_total<L>(dv, me.lane);
    if (me.owner) shared.dv[held * N + me.owned] = my_dv;
    float* to = sums + (held * partials() + me.partial) * 5 * N + me.column;
    store4(to, dw), store4(to + N, da), store4(to + 2 * N, dr), store4(to + 3 * N, dk), store4(to + 4 * N, db);
  }

  __device__ __forceinline__ int partials() const { return blockDim.x / L::kColumnLanes; }

  // Adds the sums of all threads at states j0 .. j0 + kHeld and writes them, as far as there are such tokens.
  __device__ __forceinline__ void flush(const Interval& in, int j0) const {
    for (int i = threadIdx.x; i < kHeld * N; i += blockDim.x) {
      const int held = i / N, column = i % N, j = j0 + held;
      const float* from = sums + held * partials() * 5 * N + column;
      float sum[5] = {};
#pragma unroll 4
      for (int partial = 0; partial < partials(); ++partial, from += 5 * N) {
#pragma unroll
        for (int gradient = 0; gradient < 5; ++gradient) sum[gradient] += from[gradient * N];
      }
      const int64_t after = in.at + j * series.stride + column, before = after - series.stride;
      const bool ends = j < in.end, begins = j >= in.begin && j < in.states;
      if (begins && column >= me.first_row && column < me.first_row + partials() * L::R) {
        store(p.dv + before, shared.dv[i]);
      }
      if (p.partial) {
        float* to = p.partial + blockIdx.y * 5 * p.total;
        if (ends) to[after] = sum[0], to[after + p.total] = sum[1];
        if (!begins) continue;
        to += before + 2 * p.total;
        to[0] = sum[2], to[p.total] = sum[3], to[2 * p.total] = sum[4];
      } else {
        if (ends) p.dw[after] = sum[0], store(p.others + after, sum[1]);
        if (!begins) continue;
        T* to = p.others + before + p.total;
        store(to, sum[2]), store(to + p.total, sum[3]), store(to + 2 * p.total, sum[4]);
      }
    }
  }

  __device__ __forceinline__ void go_through(State& grad, float& my_dsa, const Interval& in) const {
    State states[kHeld];
    from_slot(states[0], in.n % 2);
    if (in.n > 0) fetch_interval(in.n - 1);
    const int last = (in.states - 1) / kHeld;
    for (int segment = 0; segment < last; ++segment) {
      if (segment > 0) to_slot(segment + 1, states[0]);
#pragma unroll
      for (int m = 0; m < kHeld; ++m) advance(states[0], segment * kHeld + m);
    }
    for (int segment = last; segment >= 0; --segment) {
      const int j0 = segment * kHeld;
      if (segment < last) from_slot(states[0], segment > 0 ? segment + 1 : in.n % 2);
#pragma unroll
      for (int m = 1; m < kHeld; ++m) {
#pragma unroll
        for (int i = 0; i < L::R; ++i) {
#pragma unroll
          for (int c = 0; c < 4; ++c) states[m][i][c] = states[m - 1][i][c];
        }
        advance(states[m], j0 + m - 1);
      }
#pragma unroll
      for (int m = kHeld - 1; m >= 0; --m) {
        if (j0 + m < in.states) visit(grad, my_dsa, states[m], j0 + m, m);
      }
      __syncthreads();
      flush(in, j0);
      __syncthreads();
    }
  }

  __device__ __forceinline__ void run() const {
    const int64_t in_state = (static_cast<int64_t>(blockIdx.x) * N + me.row) * N;
    State grad;
    load_state<L>(grad, p.grad_final + in_state, me);
    float my_dsa = 0;
    int64_t n = series.length / kInterval;
    fetch_interval(n);
    for (; n >= 0; --n) {
      const Interval in(n, series);
      receive(in);
      go_through(grad, my_dsa, in);
    }
    store_state<L>(p.dstate + in_state, grad, me);
  }
};

template <typename T, int N>
__global__ void __launch_bounds__(kMaxThreads, 1) wkv7_backward_kernel(const Backward<T> p) {
  BackwardBlock<T, N>(p).run();
}

// Adds what the blocks of each head left in `partial`.
template <typename T>
__global__ void __launch_bounds__(kMaxThreads) wkv7_sum_kernel(const Backward<T> p, int split) {
  const int64_t i = 4 * (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x);
  if (i >= 5 * p.total) return;
  float x[4], sum[4] = {};
  for (int block = 0; block < split; ++block) {
    load4(x, p.partial + block * 5 * p.total + i);
#pragma unroll
    for (int c = 0; c < 4; ++c) sum[c] += x[c];
  }
  if (i < p.total) {
    store4(p.dw + i, sum);
  } else {
    store4(p.others + i - p.total, sum);
  }
}

// ---- Host

constexpr const char* kNoHeadSize = "no such head size (16, 32, 64 and 128 exist)";

template <typename T_, int N_>
struct Kind {
  using T = T_;
  static constexpr int N = N_;
};

// Calls work(Kind<T, N>) or returns `otherwise`.
template <class Work, class Result>
Result with_kind(int64_t size, int is_bfloat16, Result otherwise, const Work& work) {
  switch (2 * size + (is_bfloat16 ? 1 : 0)) {
    case 32: return work(Kind<float, 16>());
    case 33: return work(Kind<bfloat16, 16>());
    case 64: return work(Kind<float, 32>());
    case 65: return work(Kind<bfloat16, 32>());
    case 128: return work(Kind<float, 64>());
    case 129: return work(Kind<bfloat16, 64>());
    case 256: return work(Kind<float, 128>());
    case 257: return work(Kind<bfloat16, 128>());
    default: return otherwise;
  }
}

int attribute(cudaDeviceAttr which) {
  int device = 0, value = 0;
  return cudaGetDevice(&device) || cudaDeviceGetAttribute(&value, which, device) ? 0 : value;
}

// The fewest blocks per head that fit into shared memory, and more as long as all of them run at once; 0 if none fit.
template <class L, class Bytes>
int choose_split(int64_t heads, const Bytes& bytes) {
  const int64_t most = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  int split = L::kMinSplit;
  while (split < L::kMaxSplit && bytes(L::N / split) > most) split *= 2;
  if (bytes(L::N / split) > most) return 0;
  while (split < L::kMaxSplit && 2 * split * heads <= attribute(cudaDevAttrMultiProcessorCount)) split *= 2;
  return split;
}

template <class L, class Parameters>
const char* launch(void (*kernel)(const Parameters), int64_t heads, int split, int64_t bytes, void* stream,
                   const Parameters& parameters) {
  if (split < L::kMinSplit || split > L::kMaxSplit || L::kMaxSplit % split) return "no such number of blocks per head";
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(heads), split);
  config.blockDim = dim3(L::kMaxSplit / split * 32);
  config.dynamicSmemBytes = bytes;
  config.stream = static_cast<cudaStream_t>(stream);
  const auto most = cudaFuncAttributeMaxDynamicSharedMemorySize;
  cudaError_t error = cudaFuncSetAttribute(kernel, most, static_cast<int>(bytes));
  if (error == cudaSuccess) error = cudaLaunchKernelEx(&config, kernel, parameters);
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

template <typename T>
Inputs<T> inputs(int64_t length, int64_t heads, const void* r, const float* w, const void* k, const void* v,
                 const void* a, const void* b) {
  const auto typed = [](const void* x) { return static_cast<const T*>(x); };
  return {length, heads, typed(r), w, typed(k), typed(v), typed(a), typed(b)};
}

}  // namespace

// All tensors are contiguous and begin at a multiple of 16 bytes; r, k, v, a, b, y, sa and their gradients are
// bfloat16 or float32, all others float32. The functions that compute return null, or what went wrong.
extern "C" {

int64_t wkv7_cuda_interval() { return kInterval; }

// Blocks per head for B * H = `heads`, on the current device; 0 if it cannot be done there.
int wkv7_cuda_split(int backward, int64_t heads, int64_t size, int is_bfloat16) {
  return with_kind(size, is_bfloat16, 0, [&](auto kind) {
    using K = decltype(kind);
    using T = typename K::T;
    constexpr int N = K::N;
    const auto backward_bytes = [](int rows) { return BackwardBlock<T, N>::bytes(rows); };
    if (backward) return choose_split<BackwardTile<N>>(heads, backward_bytes);
    return choose_split<ForwardTile<N>>(heads, [](int) { return static_cast<int64_t>(sizeof(ForwardMemory<T, N>)); });
  });
}

const char* wkv7_cuda_forward(int64_t batch, int64_t length, int64_t heads, int64_t size, int is_bfloat16, int split,
                              void* stream, const void* r, const float* w, const void* k, const void* v, const void* a,
                              const void* b, const float* state, void* y, void* sa, float* final_state, float* saved,
                              float* exact_sa) {
  return with_kind(size, is_bfloat16, kNoHeadSize, [&](auto kind) {
    using K = decltype(kind);
    using T = typename K::T;
    const Forward<T> p{inputs<T>(length, heads, r, w, k, v, a, b), state, static_cast<T*>(y), static_cast<T*>(sa),
                       final_state, saved, exact_sa};
    return launch<ForwardTile<K::N>>(wkv7_forward_kernel<T, K::N>, batch * heads, split,
                                     sizeof(ForwardMemory<T, K::N>), stream, p);
  });
}

const char* wkv7_cuda_backward(int64_t batch, int64_t length, int64_t heads, int64_t size, int is_bfloat16, int split,
                               void* stream, const void* r, const float* w, const void* k, const void* v, const void* a,
                               const void* b, const float* sa, const float* saved, const void* grad_y,
                               const void* grad_sa, const float* grad_final, float* dw, void* others, void* dv,
                               float* dstate, float* partial) {
  return with_kind(size, is_bfloat16, kNoHeadSize, [&](auto kind) {
    using K = decltype(kind);
    using T = typename K::T;
    using Block = BackwardBlock<T, K::N>;
    const Backward<T> p{inputs<T>(length, heads, r, w, k, v, a, b), sa, saved, static_cast<const T*>(grad_y),
                        static_cast<const T*>(grad_sa), grad_final, dw, static_cast<T*>(others), static_cast<T*>(dv),
                        dstate, split > 1 ? partial : nullptr, batch * length * heads * size};
    const char* problem = launch<BackwardTile<K::N>>(wkv7_backward_kernel<T, K::N>, batch * heads, split,
                                                     Block::bytes(K::N / std::max(split, 1)), stream, p);
    if (problem || split == 1) return problem;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(static_cast<unsigned>((5 * p.total / 4 + kMaxThreads - 1) / kMaxThreads));
    config.blockDim = dim3(kMaxThreads);
    config.stream = static_cast<cudaStream_t>(stream);
    const cudaError_t error = cudaLaunchKernelEx(&config, wkv7_sum_kernel<T>, p, split);
    return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
  });
}
}
