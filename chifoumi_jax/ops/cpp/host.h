// Shared by the handlers of all operations: the choice of kernels for this processor, and tasks on
// XLA's own threads.

#ifndef CHIFOUMI_JAX_OPS_CPP_HOST_H_
#define CHIFOUMI_JAX_OPS_CPP_HOST_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <type_traits>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace chifoumi {

// Instruction sets, fastest first.
enum Level { kV4, kV3, kBaseline };

// Whether this processor supports the instruction set.
bool runs_here(Level level);

extern std::atomic<Level> level_in_use;

template <typename Real, template <typename> class Kernels>
const Kernels<Real>& one_of(const Kernels<float>& of_float, const Kernels<double>& of_double) {
  if constexpr (std::is_same_v<Real, float>) {
    return of_float;
  } else {
    return of_double;
  }
}

#define CHIFOUMI_DECLARE(variant, Kernels, name)                 \
  namespace variant##_float { extern const Kernels<float> name; } \
  namespace variant##_double { extern const Kernels<double> name; }
#define CHIFOUMI_ONE_OF(variant, Real, name) \
  one_of<Real>(variant##_float::name, variant##_double::name)

// Declares the variants of an operation's kernels, each a `Kernels<Real>` called `name`, and
// defines `name_in_use<Real>()`, which returns the variant for this processor. Use it in namespace
// chifoumi.
#if defined(__x86_64__)
#define CHIFOUMI_KERNELS(Kernels, name)                     \
  CHIFOUMI_DECLARE(baseline, Kernels, name)                 \
  CHIFOUMI_DECLARE(v3, Kernels, name)                       \
  CHIFOUMI_DECLARE(v4, Kernels, name)                       \
  template <typename Real>                                  \
  const Kernels<Real>& name##_in_use() {                    \
    switch (level_in_use.load()) {                          \
      case kV4: return CHIFOUMI_ONE_OF(v4, Real, name);     \
      case kV3: return CHIFOUMI_ONE_OF(v3, Real, name);     \
      default: return CHIFOUMI_ONE_OF(baseline, Real, name); \
    }                                                       \
  }
#else
#define CHIFOUMI_KERNELS(Kernels, name)           \
  CHIFOUMI_DECLARE(baseline, Kernels, name)       \
  template <typename Real>                        \
  const Kernels<Real>& name##_in_use() {          \
    return CHIFOUMI_ONE_OF(baseline, Real, name); \
  }
#endif

struct Tasks {
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::condition_variable all_done;
  int64_t done = 0;
};

// Runs `body(task)` for each task below `count`. The calling thread works too, so it never waits
// for a thread that has not started. A thread that starts after the last task does nothing.
template <typename Body>
void parallel_for(ffi::ThreadPool& pool, int64_t count, const Body& body) {
  if (count <= 0) return;
  auto tasks = std::make_shared<Tasks>();
  std::function<void()> work = [tasks, count, &body] {
    int64_t mine = 0;
    for (int64_t task; (task = tasks->next.fetch_add(1)) < count; ++mine) body(task);
    if (mine == 0) return;
    std::lock_guard<std::mutex> lock(tasks->mutex);
    tasks->done += mine;
    if (tasks->done == count) tasks->all_done.notify_one();
  };
  const int64_t helpers = std::min(count, pool.num_threads()) - 1;
  for (int64_t i = 0; i < helpers; ++i) pool.Schedule(std::function<void()>(work));
  work();
  std::unique_lock<std::mutex> lock(tasks->mutex);
  tasks->all_done.wait(lock, [&] { return tasks->done == count; });
}

// Requests huge pages for a large result. XLA's arrays are new memory in every step. With pages of
// 4 KB, the first access to each page costs more than the arithmetic of a first layer.
inline void want_huge_pages(void* data, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t page = 4096;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + bytes) / page * page;
  // This is only a hint; if the system refuses it, the result is the same.
  if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)data, (void)bytes;
#endif
}

using Dimensions = ffi::Span<const int64_t>;

template <ffi::DataType kType>
using Array4 = ffi::Buffer<kType, 4>;
template <ffi::DataType kType>
using Array3 = ffi::Buffer<kType, 3>;
template <ffi::DataType kType>
using Array1 = ffi::Buffer<kType, 1>;

}  // namespace chifoumi

#endif  // CHIFOUMI_JAX_OPS_CPP_HOST_H_
