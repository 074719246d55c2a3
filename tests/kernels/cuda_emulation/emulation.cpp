// The machine behind cuda_runtime.h.

#include <setjmp.h>
#include <ucontext.h>

#include <cstdio>
#include <memory>
#include <vector>

#include "cuda_pipeline.h"
#include "cuda_runtime.h"

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace {

constexpr size_t kSharedBytes = 232448;  // of a Hopper GPU
constexpr size_t kGuardBytes = 4096;     // must stay untouched behind what a launch asks for
constexpr size_t kStackBytes = 64 << 10;
constexpr unsigned char kPoison = 0xff;  // floats and bfloat16s made of it are NaN

}  // namespace

alignas(16) float4 shared_memory[(kSharedBytes + kGuardBytes) / sizeof(float4)];

namespace {

enum class At { start, running, barrier, shuffle, end };

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
};

struct Fiber {
  jmp_buf place;  // where it goes on; where it begins is a context, because jumping is the cheaper change
  ucontext_t context;
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
  At at;
  unsigned shuffles;
  float given[2];  // to the warp, in even and in odd shuffles
  std::vector<Copy> copies, committed;
};

std::vector<Fiber> fibers;
jmp_buf scheduler, launch;
char failure[200];
unsigned current;
bool backwards = false;
const std::function<void()>* thread_body;

// Ends the launch.
[[noreturn]] void fail(const char* message) {
  std::snprintf(failure, sizeof(failure), "%s (block %u,%u thread %u)", message, blockIdx.x, blockIdx.y, current);
  _longjmp(launch, 1);
}

void enter() {
  (*thread_body)();
  fibers[current].at = At::end;
  _longjmp(scheduler, 1);
}

// Runs the current fiber until it waits or ends.
void go_on(Fiber& fiber) {
  const bool starts = fiber.at == At::start;
  fiber.at = At::running;
  if (_setjmp(scheduler)) return;
  if (starts) setcontext(&fiber.context);
  _longjmp(fiber.place, 1);
}

// Waits until threads first .. first + count have all come to a barrier of this kind.
void wait(At kind, unsigned first, unsigned count) {
  const unsigned self = current;
  fibers[self].at = kind;
  bool all = true;
  for (unsigned i = first; i < first + count; ++i) all = all && fibers[i].at == kind;
  if (all) {
    for (unsigned i = first; i < first + count; ++i) fibers[i].at = At::running;
  } else {
    if (!_setjmp(fibers[self].place)) _longjmp(scheduler, 1);
  }
}

// Lets every thread of a warp that can go on do so; how many could.
unsigned run_warp(unsigned first, unsigned& ended) {
  unsigned ran = 0;
  for (unsigned n = 0; n < 32; ++n) {
    current = first + (backwards ? 31 - n : n);
    Fiber& fiber = fibers[current];
    if (fiber.at != At::start && fiber.at != At::running) continue;
    threadIdx.x = current;
    go_on(fiber);
    ran += 1;
    ended += fiber.at == At::end;
  }
  return ran;
}

void run_block() {
  const unsigned count = blockDim.x;
  for (unsigned i = 0; i < count; ++i) {
    Fiber& fiber = fibers[i];
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    makecontext(&fiber.context, enter, 0);
    fiber.at = At::start;
    fiber.shuffles = 0;
  }
  for (unsigned ended = 0; ended < count;) {
    bool progress = false;
    for (unsigned warp = 0; warp < count; warp += 32) {
      while (run_warp(backwards ? count - 32 - warp : warp, ended)) progress = true;
    }
    if (!progress) fail("threads wait at different barriers");
  }
  for (const Fiber& fiber : fibers) {
    if (!fiber.copies.empty() || !fiber.committed.empty()) fail("a copy that nobody waited for");
  }
}

}  // namespace

void __syncthreads() { wait(At::barrier, 0, blockDim.x); }

float shuffle(unsigned mask, float x, unsigned from) {
  if (mask != 0xffffffffu) fail("a shuffle among some lanes only");
  Fiber& self = fibers[current];
  const unsigned turn = self.shuffles++ % 2;
  self.given[turn] = x;
  wait(At::shuffle, current / 32 * 32, 32);
  return fibers[from].given[turn];
}

float __shfl_xor_sync(unsigned mask, float x, int lane_mask) { return shuffle(mask, x, current ^ lane_mask); }

float __shfl_sync(unsigned mask, float x, int lane, int width) {
  return shuffle(mask, x, current / width * width + lane % width);
}

void __pipeline_memcpy_async(void* to, const void* from, size_t bytes) {
  if (bytes != 16 || reinterpret_cast<uintptr_t>(to) % 16 || reinterpret_cast<uintptr_t>(from) % 16) {
    fail("a copy that is not 16 aligned bytes");
  }
  fibers[current].copies.push_back({to, from, bytes});
}

void __pipeline_commit() {
  Fiber& self = fibers[current];
  self.committed.insert(self.committed.end(), self.copies.begin(), self.copies.end());
  self.copies.clear();
}

void __pipeline_wait_prior(size_t later) {
  if (later) fail("waiting for some copies only is not emulated");
  for (const Copy& copy : fibers[current].committed) std::memcpy(copy.to, copy.from, copy.bytes);
  fibers[current].committed.clear();
}

const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess ? "no error" : error == cudaErrorInvalidValue ? "invalid value" : failure;
}

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int) {
  *value = which == cudaDevAttrMultiProcessorCount ? 132 : static_cast<int>(kSharedBytes);
  return cudaSuccess;
}

cudaError_t emulate_grid(const cudaLaunchConfig_t& config, size_t allowed_bytes, const std::function<void()>& thread) {
  const unsigned threads = config.blockDim.x;
  if (config.dynamicSmemBytes > allowed_bytes || threads == 0 || threads > 1024 || threads % 32) {
    return cudaErrorInvalidValue;
  }
  gridDim = config.gridDim, blockDim = config.blockDim;
  fibers = std::vector<Fiber>(threads);
  thread_body = &thread;
  if (_setjmp(launch)) return cudaErrorLaunchFailure;
  const auto* shared = reinterpret_cast<const unsigned char*>(shared_memory);
  for (unsigned y = 0; y < gridDim.y; ++y) {
    for (unsigned x = 0; x < gridDim.x; ++x) {
      blockIdx = dim3(x, y);
      std::memset(shared_memory, kPoison, sizeof(shared_memory));
      run_block();
      for (size_t i = config.dynamicSmemBytes; i < config.dynamicSmemBytes + kGuardBytes; ++i) {
        if (shared[i] != kPoison) fail("shared memory written beyond what the launch asked for");
      }
    }
  }
  return cudaSuccess;
}

// Whether the last thread of a block goes first.
extern "C" void emulate_backwards(int yes) { backwards = yes != 0; }
