// As much of CUDA's language and runtime as cuda/wkv7_cuda.cu uses, for a C++ compiler: its kernels run on a CPU.
//
// Blocks run one after another. The threads of a block are fibers; a warp runs as far as it can before the next one
// does, and within it a thread runs until it must wait for the others. With `emulate_backwards` the last goes first:
// a kernel that misses a barrier then gives other results. Shared memory starts as NaN. Asynchronous copies arrive
// at the wait, not before (cuda_pipeline.h). What breaks a rule ends the launch with an error.
// Not emulated: time, caches, the memory model within a warp, the GPU's own rounding of denormal numbers.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __shared__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline int64_t min(int64_t x, int64_t y) { return x < y ? x : y; }
inline float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

void __syncthreads();
float __shfl_xor_sync(unsigned mask, float x, int lane_mask);
float __shfl_sync(unsigned mask, float x, int lane, int width);

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorLaunchFailure = 719 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin, cudaDevAttrMultiProcessorCount };
typedef struct Stream* cudaStream_t;
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
};
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int device);

// Runs `thread` for every thread of the grid.
cudaError_t emulate_grid(const cudaLaunchConfig_t& config, size_t allowed_bytes, const std::function<void()>& thread);

// Dynamic shared memory that a kernel may have; 48 KB until it is raised.
template <class Kernel>
size_t& allowed_shared_memory(Kernel* kernel) {
  static Kernel* known[64] = {};
  static size_t bytes[64];
  size_t i = 0;
  while (known[i] && known[i] != kernel) ++i;
  if (!known[i]) known[i] = kernel, bytes[i] = 48 << 10;
  return bytes[i];
}

template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel* kernel, cudaFuncAttribute, int bytes) {
  int most = 0;
  cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0);
  if (bytes > most) return cudaErrorInvalidValue;
  allowed_shared_memory(kernel) = bytes;
  return cudaSuccess;
}

template <class... Expected, class... Given>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Expected...), Given&&... given) {
  return emulate_grid(*config, allowed_shared_memory(kernel), [&] { kernel(given...); });
}
