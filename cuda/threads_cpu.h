// Sharing independent pieces of work among threads that are started for it and end with it.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <system_error>
#include <thread>
#include <vector>

namespace {

// Calls work(i) for every i below `count`, by up to `threads` threads.
template <class Work>
void share(int64_t count, int64_t threads, const Work& work) {
  std::atomic<int64_t> next{0};
  const auto take = [&] {
    for (int64_t i; (i = next.fetch_add(1)) < count;) work(i);
  };
  std::vector<std::thread> helpers;
  try {
    for (int64_t n = 1; n < std::min(threads, count); ++n) helpers.emplace_back(take);
  } catch (const std::system_error&) {
    // The system has no thread left to give: the ones at hand do the work.
  }
  take();
  for (auto& helper : helpers) helper.join();
}

}  // namespace
