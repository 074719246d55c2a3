// Asynchronous copies to shared memory: see cuda_runtime.h. They arrive when the thread waits for them, at the latest
// moment that CUDA allows.
#pragma once

#include <cstddef>

void __pipeline_memcpy_async(void* to, const void* from, size_t bytes);
void __pipeline_commit();
void __pipeline_wait_prior(size_t later);
