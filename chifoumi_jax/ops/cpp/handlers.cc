// The handlers that XLA calls for convolution, ReLU and pooling: they check shapes and start tasks.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "host.h"
#include "kernels.h"

namespace chifoumi {

CHIFOUMI_KERNELS(Kernels, kernels)

namespace {

// The number of parts that an image's rows are divided into, so that a small batch keeps all
// threads busy. It depends only on the shape, because the sums must not depend on the machine.
int64_t parts_of_image(const Shape& shape) {
  return std::clamp<int64_t>(16 / std::max<int64_t>(shape.batch, 1), 1, shape.rows());
}

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

using Winner = Array4<ffi::U8>;

// `winner` is null if it is not requested.
template <ffi::DataType kType>
ffi::Error compute(ffi::ThreadPool& pool, Array4<kType>& images, Array4<kType>& kernel,
                   Array1<kType>& bias, Array4<kType>& pooled, uint8_t* winner) {
  using Real = ffi::NativeType<kType>;
  const Shape shape = shape_of(images.dimensions(), kernel.dimensions());
  if (!fits(shape, kernel.dimensions(), pooled.dimensions()) ||
      static_cast<int64_t>(bias.element_count()) != shape.out) {
    return wrong_shapes();
  }
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
  if (!fits(shape, kernel, gradient.dimensions()) ||
      winner.element_count() != gradient.element_count() ||
      static_cast<int64_t>(bias_gradient->element_count()) != shape.out) {
    return wrong_shapes();
  }
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
  if (!fits(shape, kernel.dimensions(), gradient.dimensions()) ||
      winner.element_count() != gradient.element_count()) {
    return wrong_shapes();
  }
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
