// What XLA calls: checks of shapes, and the work shared out over XLA's own threads.

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <type_traits>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "kernels.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace chifoumi {

#define DECLARE(variant)                                             \
  namespace variant##_float { extern const Kernels<float> kernels; } \
  namespace variant##_double { extern const Kernels<double> kernels; }

DECLARE(baseline)
#if defined(__x86_64__)
DECLARE(v3)
DECLARE(v4)
#endif

namespace {

// Instruction sets, the fastest first.
enum Level { kV4, kV3, kBaseline };
constexpr const char* kLevelNames[] = {"x86-64-v4", "x86-64-v3", "baseline"};

bool runs_here(Level level) {
#if defined(__x86_64__)
  // What each adds; a processor that has these has the rest of it.
  if (level == kV4) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
  }
  if (level == kV3) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  }
#endif
  return level == kBaseline;
}

Level fastest() {
  for (Level level : {kV4, kV3}) {
    if (runs_here(level)) return level;
  }
  return kBaseline;
}

std::atomic<Level> level_in_use{fastest()};

template <typename Real>
const Kernels<Real>& one_of(const Kernels<float>& of_float, const Kernels<double>& of_double) {
  if constexpr (std::is_same_v<Real, float>) {
    return of_float;
  } else {
    return of_double;
  }
}

template <typename Real>
const Kernels<Real>& kernels_in_use() {
#if defined(__x86_64__)
  switch (level_in_use.load()) {
    case kV4: return one_of<Real>(v4_float::kernels, v4_double::kernels);
    case kV3: return one_of<Real>(v3_float::kernels, v3_double::kernels);
    default: break;
  }
#endif
  return one_of<Real>(baseline_float::kernels, baseline_double::kernels);
}

struct Tasks {
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::condition_variable all_done;
  int64_t done = 0;
};

// Runs `body(task)` for each task below `count`. The caller works too: it never waits for a thread
// that has not begun, and one that begins after the last task finds nothing to do.
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

// Asks for huge pages under a large result. XLA's arrays are fresh memory in every step; in pages of
// 4 KB, the first touch of each costs more than the arithmetic of a first layer.
void want_huge_pages(void* data, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t page = 4096;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + bytes) / page * page;
  // A hint: where the system refuses it, the result is the same.
  if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)data, (void)bytes;
#endif
}

// The parts into which an image's rows go so that a small batch keeps all threads busy. It depends
// on the shape alone: the sums must not depend on the machine.
int64_t parts_of_image(const Shape& shape) {
  return std::clamp<int64_t>(16 / std::max<int64_t>(shape.batch, 1), 1, shape.rows());
}

using Dimensions = ffi::Span<const int64_t>;

Shape shape_of(Dimensions images, Dimensions kernel) {
  return {images[0], images[1], images[2], images[3], kernel[3]};
}

bool fits(const Shape& shape, Dimensions kernel, Dimensions pooled) {
  return kernel[0] == 3 && kernel[1] == 3 && kernel[2] == shape.in && shape.height >= 4 &&
         shape.width >= 4 && pooled[0] == shape.batch && pooled[1] == shape.rows() &&
         pooled[2] == shape.columns() && pooled[3] == shape.out;
}

ffi::Error wrong_shapes() {
  return ffi::Error::InvalidArgument("conv_relu_pool: the shapes do not belong together");
}

template <ffi::DataType kType>
using Array4 = ffi::Buffer<kType, 4>;
template <ffi::DataType kType>
using Array1 = ffi::Buffer<kType, 1>;
using Winner = Array4<ffi::U8>;

// `winner` is null where nobody asks for it.
template <ffi::DataType kType>
ffi::Error compute(ffi::ThreadPool& pool, Array4<kType>& images, Array4<kType>& kernel,
                   Array1<kType>& bias, Array4<kType>& pooled, uint8_t* winner) {
  using Real = ffi::NativeType<kType>;
  const Shape shape = shape_of(images.dimensions(), kernel.dimensions());
  if (!fits(shape, kernel.dimensions(), pooled.dimensions())) return wrong_shapes();
  want_huge_pages(pooled.typed_data(), pooled.size_bytes());
  if (winner != nullptr) want_huge_pages(winner, pooled.element_count());
  const Kernels<Real>& kernels = kernels_in_use<Real>();
  std::vector<Real> packed(kernels.packed_size(shape));
  kernels.pack(shape, kernel.typed_data(), bias.typed_data(), packed.data());
  const int64_t rows = shape.rows(), line = shape.columns() * shape.out;
  parallel_for(pool, shape.batch * rows, [&](int64_t task) {
    kernels.forward_row(shape, images.typed_data() + task / rows * shape.image_size(),
                        packed.data(), task % rows, pooled.typed_data() + task * line,
                        winner == nullptr ? nullptr : winner + task * line);
  });
  return ffi::Error::Success();
}

template <ffi::DataType kType>
ffi::Error pool(ffi::ThreadPool pool, Array4<kType> images, Array4<kType> kernel,
                Array1<kType> bias, ffi::Result<Array4<kType>> pooled) {
  return compute<kType>(pool, images, kernel, bias, *pooled, nullptr);
}

template <ffi::DataType kType>
ffi::Error forward(ffi::ThreadPool pool, Array4<kType> images, Array4<kType> kernel,
                   Array1<kType> bias, ffi::Result<Array4<kType>> pooled,
                   ffi::Result<Winner> winner) {
  return compute<kType>(pool, images, kernel, bias, *pooled, winner->typed_data());
}

template <ffi::DataType kType>
ffi::Error weight_gradients(ffi::ThreadPool pool, Array4<kType> images,
                            Array4<kType> gradient, Winner winner,
                            ffi::Result<Array4<kType>> kernel_gradient, ffi::Result<Array1<kType>> bias_gradient) {
  using Real = ffi::NativeType<kType>;
  const auto kernel = kernel_gradient->dimensions();
  const Shape shape = shape_of(images.dimensions(), kernel);
  if (!fits(shape, kernel, gradient.dimensions())) return wrong_shapes();
  const Kernels<Real>& kernels = kernels_in_use<Real>();
  const int64_t parts = parts_of_image(shape), size = kernels.partial_size(shape);
  std::vector<Real> partials(shape.batch * parts * size);
  parallel_for(pool, shape.batch * parts, [&](int64_t task) {
    const int64_t image = task / parts, part = task % parts;
    kernels.add_weight_gradients(shape, images.typed_data() + image * shape.image_size(),
                                 gradient.typed_data() + image * shape.pooled_size(),
                                 winner.typed_data() + image * shape.pooled_size(),
                                 shape.rows() * part / parts, shape.rows() * (part + 1) / parts,
                                 partials.data() + task * size);
  });
  kernels.finish_weight_gradients(shape, partials.data(), shape.batch * parts,
                                  kernel_gradient->typed_data(), bias_gradient->typed_data());
  return ffi::Error::Success();
}

template <ffi::DataType kType>
ffi::Error image_gradient(ffi::ThreadPool pool, Array4<kType> kernel,
                          Array4<kType> gradient, Winner winner,
                          ffi::Result<Array4<kType>> image_gradient) {
  using Real = ffi::NativeType<kType>;
  const Shape shape = shape_of(image_gradient->dimensions(), kernel.dimensions());
  if (!fits(shape, kernel.dimensions(), gradient.dimensions())) return wrong_shapes();
  want_huge_pages(image_gradient->typed_data(), image_gradient->size_bytes());
  const Kernels<Real>& kernels = kernels_in_use<Real>();
  std::vector<Real> turned(kernels.turned_size(shape));
  kernels.turn(shape, kernel.typed_data(), turned.data());
  const int64_t pairs = shape.rows() + 1, parts = parts_of_image(shape);
  parallel_for(pool, shape.batch * parts, [&](int64_t task) {
    const int64_t image = task / parts, part = task % parts;
    kernels.image_gradient_rows(shape, turned.data(),
                                gradient.typed_data() + image * shape.pooled_size(),
                                winner.typed_data() + image * shape.pooled_size(),
                                pairs * part / parts, pairs * (part + 1) / parts,
                                image_gradient->typed_data() + image * shape.image_size());
  });
  return ffi::Error::Success();
}

}  // namespace
}  // namespace chifoumi

// Four handlers for each type, found by name in this library.
#define DEFINE_HANDLERS(suffix, type)                                                           \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(chifoumi_pool_##suffix, chifoumi::pool<type>,                   \
                                ffi::Ffi::Bind()                                                \
                                    .Ctx<ffi::ThreadPool>()                                     \
                                    .Arg<chifoumi::Array4<type>>()                              \
                                    .Arg<chifoumi::Array4<type>>()                              \
                                    .Arg<chifoumi::Array1<type>>()                              \
                                    .Ret<chifoumi::Array4<type>>());                            \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(chifoumi_forward_##suffix, chifoumi::forward<type>,             \
                                ffi::Ffi::Bind()                                                \
                                    .Ctx<ffi::ThreadPool>()                                     \
                                    .Arg<chifoumi::Array4<type>>()                                \
                                    .Arg<chifoumi::Array4<type>>()                                \
                                    .Arg<chifoumi::Array1<type>>()                                \
                                    .Ret<chifoumi::Array4<type>>()                                \
                                    .Ret<chifoumi::Winner>());                                  \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(chifoumi_weight_gradients_##suffix,                             \
                                chifoumi::weight_gradients<type>,                               \
                                ffi::Ffi::Bind()                                                \
                                    .Ctx<ffi::ThreadPool>()                                     \
                                    .Arg<chifoumi::Array4<type>>()                                \
                                    .Arg<chifoumi::Array4<type>>()                                \
                                    .Arg<chifoumi::Winner>()                                    \
                                    .Ret<chifoumi::Array4<type>>()                                \
                                    .Ret<chifoumi::Array1<type>>());                              \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(chifoumi_image_gradient_##suffix,                               \
                                chifoumi::image_gradient<type>,                                 \
                                ffi::Ffi::Bind()                                                \
                                    .Ctx<ffi::ThreadPool>()                                     \
                                    .Arg<chifoumi::Array4<type>>()                                \
                                    .Arg<chifoumi::Array4<type>>()                                \
                                    .Arg<chifoumi::Winner>()                                    \
                                    .Ret<chifoumi::Array4<type>>())

DEFINE_HANDLERS(float32, ffi::F32);
DEFINE_HANDLERS(float64, ffi::F64);

// The version of XLA's interface that this was compiled for: an older XLA refuses it.
extern "C" int chifoumi_ffi_version() { return XLA_FFI_API_MINOR; }

extern "C" const char* chifoumi_instruction_set() {
  return chifoumi::kLevelNames[chifoumi::level_in_use.load()];
}

// Returns whether this processor has it.
extern "C" bool chifoumi_use_instruction_set(const char* name) {
  for (chifoumi::Level level : {chifoumi::kV4, chifoumi::kV3, chifoumi::kBaseline}) {
    if (std::strcmp(name, chifoumi::kLevelNames[level]) == 0 && chifoumi::runs_here(level)) {
      chifoumi::level_in_use = level;
      return true;
    }
  }
  return false;
}
