// Depthwise convolution and its gradients, on a part of a batch.
//
// It is compiled as described in kernels.h. Arrays have the order batch, height, width, channels;
// kernels are side x side x channels. The padding is SAME as in TensorFlow and XLA: an odd pixel of
// padding is at the bottom and right.

#ifndef CHIFOUMI_JAX_OPS_CPP_DEPTHWISE_H_
#define CHIFOUMI_JAX_OPS_CPP_DEPTHWISE_H_

#include <cstdint>

namespace chifoumi {

// The side is 3 or 5, and the stride is 1 or 2.
struct DepthwiseShape {
  int64_t batch, height, width, channels, side, stride;

  int64_t rows() const { return (height + stride - 1) / stride; }
  int64_t columns() const { return (width + stride - 1) / stride; }
  int64_t above() const { return padding(height, rows()); }
  int64_t left() const { return padding(width, columns()); }

 private:
  int64_t padding(int64_t size, int64_t results) const {
    return ((results - 1) * stride + side - size) / 2;
  }
};

// Rows are numbered through all images of the array that is computed or summed over. Channels begin
// and end at multiples of `kChannelStep`, except that the last part ends at the last channel.
struct DepthwisePart {
  int64_t begin_row, end_row, begin_channel, end_channel;
};

// The largest number of channels in a vector.
constexpr int64_t kChannelStep = 16;

template <typename Real>
struct DepthwiseKernels {
  void (*forward)(const DepthwiseShape&, const DepthwisePart&, const Real* images,
                  const Real* kernel, Real* result);
  void (*image_gradient)(const DepthwiseShape&, const DepthwisePart&, const Real* kernel,
                         const Real* gradient, Real* image_gradient);

  int64_t (*partial_size)(const DepthwiseShape&);

  // Adds rows of the result to a partial sum, which must start as zero.
  void (*add_kernel_gradient)(const DepthwiseShape&, const DepthwisePart&, const Real* images,
                              const Real* gradient, Real* partial);
  // Sums `count` partial sums.
  void (*finish_kernel_gradient)(const DepthwiseShape&, const Real* partials, int64_t count,
                                 Real* kernel_gradient);
};

}  // namespace chifoumi

#endif  // CHIFOUMI_JAX_OPS_CPP_DEPTHWISE_H_
