// How many fused multiply-adds of floats one thread can issue when nothing else holds it back. Plain C interface.

#include <cstdint>

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
constexpr int kChains = 12;  // independent sums: more than latency times units, fewer than registers

typedef float Vec __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

}  // namespace

// Numbers read and written: the start and the end of every chain.
extern "C" int64_t fma_numbers() { return kChains * kLanes; }

// Runs `rounds` multiply-adds in every chain; returns multiply-adds done, lanes counted one by one.
extern "C" int64_t fma_run(int64_t rounds, float* numbers) {
  Vec chain[kChains];
  for (int i = 0; i < kChains; ++i) chain[i] = *reinterpret_cast<Vec*>(numbers + i * kLanes);
  const Vec factor = chain[0], term = chain[1];
  for (int64_t n = 0; n < rounds; ++n) {
#if defined(__clang__)
#pragma clang loop unroll(full)
#else
#pragma GCC unroll 12
#endif
    for (int i = 0; i < kChains; ++i) chain[i] = chain[i] * factor + term;
  }
  for (int i = 0; i < kChains; ++i) *reinterpret_cast<Vec*>(numbers + i * kLanes) = chain[i];
  return rounds * kChains * kLanes;
}
