// Convolution 3 x 3, ReLU and 2 x 2 max pooling, and their gradients, on a part of a batch.
//
// The same source is compiled for float and double, once for each instruction set. The best variant
// is chosen at run time. All arrays have the order batch, height, width, channels; kernels are
// 3 x 3 x in x out.

#ifndef CHIFOUMI_JAX_OPS_CPP_KERNELS_H_
#define CHIFOUMI_JAX_OPS_CPP_KERNELS_H_

#include <cstdint>

namespace chifoumi {

// The winner of a window without positive values; ops/pooling.py describes the others.
constexpr uint8_t kClosed = 4;

struct Shape {
  int64_t batch, height, width, in, out;

  int64_t rows() const { return (height - 2) / 2; }
  int64_t columns() const { return (width - 2) / 2; }
  int64_t image_size() const { return height * width * in; }
  int64_t pooled_size() const { return rows() * columns() * out; }
};

// Kernels that compute on one image, or on some of its rows. "Packed" weights have an internal
// order; the size functions return their number.
template <typename Real>
struct Kernels {
  int64_t (*packed_size)(const Shape&);
  void (*pack)(const Shape&, const Real* kernel, const Real* bias, Real* packed);

  // Computes one row of pooling windows; `pooled` and `winner` are columns x out. If `winner` is
  // null, winners are not computed.
  void (*forward_row)(const Shape&, const Real* image, const Real* packed, int64_t row,
                      Real* pooled, uint8_t* winner);

  int64_t (*partial_size)(const Shape&);

  // Adds the rows [begin, end) of windows of one image to a partial sum, which must start as zero.
  void (*add_weight_gradients)(const Shape&, const Real* image, const Real* gradient,
                               const uint8_t* winner, int64_t begin, int64_t end, Real* partial);
  // Sums `count` partial sums into the gradients of kernel and bias.
  void (*finish_weight_gradients)(const Shape&, const Real* partials, int64_t count,
                                  Real* kernel_gradient, Real* bias_gradient);

  int64_t (*turned_size)(const Shape&);
  void (*turn)(const Shape&, const Real* kernel, Real* turned);

  // Computes the pairs [begin, end) of pixel rows of one image's gradient. There are `rows() + 1`
  // pairs. An odd last row of pixels belongs to the last pair.
  void (*image_gradient_rows)(const Shape&, const Real* turned, const Real* gradient,
                              const uint8_t* winner, int64_t begin, int64_t end,
                              Real* image_gradient);
};

}  // namespace chifoumi

#endif  // CHIFOUMI_JAX_OPS_CPP_KERNELS_H_
