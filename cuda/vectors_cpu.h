// Vectors as wide as the CPU's, for the sources beside it.

#pragma once

#include <cstdint>
#include <utility>

#define INLINE __attribute__((always_inline)) inline
#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 32")
#endif

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16, kRegisters = 32;
#elif defined(__AVX__)
constexpr int kLanes = 8, kRegisters = 16;
#elif defined(__aarch64__)
constexpr int kLanes = 4, kRegisters = 32;
#else
constexpr int kLanes = 4, kRegisters = 16;
#endif

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef int32_t IntVec __attribute__((vector_size(kLanes * 4)));
typedef float Unaligned __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

INLINE Vec load(const float* from) { return *reinterpret_cast<const Unaligned*>(from); }
INLINE void store(float* to, Vec x) { *reinterpret_cast<Unaligned*>(to) = x; }

// Lane l of the result: lane l ^ Flip of x, or of y where l has bit Bit (with Invert: where it has not).
template <int Bit, int Flip, bool Invert, int... L>
INLINE Vec pick(Vec x, Vec y, std::integer_sequence<int, L...>) {
#if defined(__clang__)
  return __builtin_shufflevector(x, y, (((L & Bit) != 0) != Invert ? kLanes + (L ^ Flip) : (L ^ Flip))...);
#else
  return __builtin_shuffle(x, y, IntVec{(((L & Bit) != 0) != Invert ? kLanes + (L ^ Flip) : (L ^ Flip))...});
#endif
}
using AllLanes = std::make_integer_sequence<int, kLanes>;

// Lane l of the result: the sum over the lanes of x[l]. Uses x up.
template <int Bit = 1>
INLINE Vec lane_sums(Vec* x) {
  if constexpr (Bit < kLanes) {
    UNROLLED for (int i = 0; i < kLanes; i += 2 * Bit) {
      x[i] = pick<Bit, 0, false>(x[i], x[i + Bit], AllLanes{}) + pick<Bit, Bit, false>(x[i], x[i + Bit], AllLanes{});
    }
    return lane_sums<2 * Bit>(x);
  } else {
    return x[0];
  }
}

}  // namespace
