// The handlers that XLA calls for depthwise convolution: they check shapes and start tasks.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "depthwise.h"
#include "host.h"

namespace chifoumi {

CHIFOUMI_KERNELS(DepthwiseKernels, depthwise_kernels)

namespace {

// This number of tasks keeps all threads busy, and all of them end at about the same time.
constexpr int64_t kTasks = 64;
// Bytes of the kernel's weights in a task, for a cache of 32 KB.
constexpr int64_t kWeightBytes = 16384;
// Limits of the partial sums of the kernel's gradient: their number is bounded, and each has at
// least enough summands that adding it to the others takes little time.
constexpr int64_t kMostPartials = 32, kFewestSummands = 64;

ffi::ErrorOr<DepthwiseShape> shape_of(Dimensions images, Dimensions kernel, Dimensions result,
                                      int64_t stride) {
  const DepthwiseShape shape{images[0], images[1], images[2], images[3], kernel[0], stride};
  const bool served = (shape.side == 3 || shape.side == 5) && (stride == 1 || stride == 2);
  if (!served || kernel[1] != shape.side || kernel[2] != shape.channels ||
      result[0] != shape.batch || result[1] != shape.rows() || result[2] != shape.columns() ||
      result[3] != shape.channels) {
    return ffi::Unexpected(
        ffi::Error::InvalidArgument("depthwise_conv: the shapes do not belong together"));
  }
  return shape;
}

// Runs `body(part, slice)` for all channels of `rows` rows, divided into at most `slices` slices.
// The division depends only on the shape, because sums over slices must not depend on the machine.
template <typename Real, typename Body>
void share_out(ffi::ThreadPool& pool, const DepthwiseShape& shape, int64_t rows, int64_t slices,
               const Body& body) {
  const int64_t steps = shape.channels / kChannelStep;
  const int64_t step_bytes = shape.side * shape.side * kChannelStep * int64_t{sizeof(Real)};
  const int64_t blocks = std::max<int64_t>((steps * step_bytes + kWeightBytes - 1) / kWeightBytes, 1);
  parallel_for(pool, slices * blocks, [&](int64_t task) {
    const int64_t slice = task / blocks, block = task % blocks;
    const int64_t begin = steps * block / blocks, end = steps * (block + 1) / blocks;
    const DepthwisePart part{rows * slice / slices, rows * (slice + 1) / slices,
                             begin * kChannelStep,
                             block + 1 == blocks ? shape.channels : end * kChannelStep};
    body(part, slice);
  });
}

template <ffi::DataType kType>
ffi::Error forward(ffi::ThreadPool pool, int64_t stride, Array4<kType> images,
                   Array3<kType> kernel, ffi::Result<Array4<kType>> result) {
  using Real = ffi::NativeType<kType>;
  const auto shape =
      shape_of(images.dimensions(), kernel.dimensions(), result->dimensions(), stride);
  if (!shape.has_value()) return shape.error();
  want_huge_pages(result->typed_data(), result->size_bytes());
  const auto& kernels = depthwise_kernels_in_use<Real>();
  const int64_t rows = shape->batch * shape->rows();
  share_out<Real>(pool, *shape, rows, std::min(rows, kTasks),
                  [&](const DepthwisePart& part, int64_t) {
                    kernels.forward(*shape, part, images.typed_data(), kernel.typed_data(),
                                    result->typed_data());
                  });
  return ffi::Error::Success();
}

template <ffi::DataType kType>
ffi::Error image_gradient(ffi::ThreadPool pool, int64_t stride, Array3<kType> kernel,
                          Array4<kType> gradient, ffi::Result<Array4<kType>> image_gradient) {
  using Real = ffi::NativeType<kType>;
  const auto shape = shape_of(image_gradient->dimensions(), kernel.dimensions(),
                              gradient.dimensions(), stride);
  if (!shape.has_value()) return shape.error();
  want_huge_pages(image_gradient->typed_data(), image_gradient->size_bytes());
  const auto& kernels = depthwise_kernels_in_use<Real>();
  const int64_t rows = shape->batch * shape->height;
  share_out<Real>(pool, *shape, rows, std::min(rows, kTasks),
                  [&](const DepthwisePart& part, int64_t) {
                    kernels.image_gradient(*shape, part, kernel.typed_data(),
                                           gradient.typed_data(), image_gradient->typed_data());
                  });
  return ffi::Error::Success();
}

template <ffi::DataType kType>
ffi::Error kernel_gradient(ffi::ThreadPool pool, int64_t stride, Array4<kType> images,
                           Array4<kType> gradient, ffi::Result<Array3<kType>> kernel_gradient) {
  using Real = ffi::NativeType<kType>;
  const auto shape = shape_of(images.dimensions(), kernel_gradient->dimensions(),
                              gradient.dimensions(), stride);
  if (!shape.has_value()) return shape.error();
  const auto& kernels = depthwise_kernels_in_use<Real>();
  const int64_t rows = shape->batch * shape->rows();
  const int64_t slices = std::min(
      std::clamp<int64_t>(rows * shape->columns() / kFewestSummands, 1, kMostPartials), rows);
  const int64_t size = kernels.partial_size(*shape);
  std::vector<Real> partials(slices * size);
  share_out<Real>(pool, *shape, rows, slices, [&](const DepthwisePart& part, int64_t slice) {
    kernels.add_kernel_gradient(*shape, part, images.typed_data(), gradient.typed_data(),
                                partials.data() + slice * size);
  });
  kernels.finish_kernel_gradient(*shape, partials.data(), slices, kernel_gradient->typed_data());
  return ffi::Error::Success();
}

}  // namespace
}  // namespace chifoumi

// Three handlers for each type, found by name in this library.
#define DEFINE_HANDLERS(suffix, type)                                                 \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(chifoumi_depthwise_forward_##suffix,                  \
                                chifoumi::forward<type>,                              \
                                ffi::Ffi::Bind()                                      \
                                    .Ctx<ffi::ThreadPool>()                           \
                                    .Attr<int64_t>("stride")                          \
                                    .Arg<chifoumi::Array4<type>>()                    \
                                    .Arg<chifoumi::Array3<type>>()                    \
                                    .Ret<chifoumi::Array4<type>>());                  \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(chifoumi_depthwise_image_gradient_##suffix,           \
                                chifoumi::image_gradient<type>,                       \
                                ffi::Ffi::Bind()                                      \
                                    .Ctx<ffi::ThreadPool>()                           \
                                    .Attr<int64_t>("stride")                          \
                                    .Arg<chifoumi::Array3<type>>()                    \
                                    .Arg<chifoumi::Array4<type>>()                    \
                                    .Ret<chifoumi::Array4<type>>());                  \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(chifoumi_depthwise_kernel_gradient_##suffix,          \
                                chifoumi::kernel_gradient<type>,                      \
                                ffi::Ffi::Bind()                                      \
                                    .Ctx<ffi::ThreadPool>()                           \
                                    .Attr<int64_t>("stride")                          \
                                    .Arg<chifoumi::Array4<type>>()                    \
                                    .Arg<chifoumi::Array4<type>>()                    \
                                    .Ret<chifoumi::Array3<type>>())

DEFINE_HANDLERS(float32, ffi::F32);
DEFINE_HANDLERS(float64, ffi::F64);
