// Runs the depthwise kernels under AddressSanitizer on arrays of exactly the needed size.

#include <algorithm>
#include <cstdio>
#include <random>
#include <vector>

#include "depthwise.h"

namespace chifoumi::VARIANT {
extern const DepthwiseKernels<REAL> depthwise_kernels;
}

using chifoumi::DepthwisePart;
using chifoumi::DepthwiseShape;

int main() {
  const auto& kernels = chifoumi::VARIANT::depthwise_kernels;
  std::mt19937 random(0);
  const auto draw = [&](int64_t from, int64_t to) {
    return std::uniform_int_distribution<int64_t>(from, to)(random);
  };
  for (int example = 0; example < 200; ++example) {
    const DepthwiseShape shape{draw(1, 3),  draw(1, 12),         draw(1, 40),
                               draw(1, 70), 3 + 2 * draw(0, 1), draw(1, 2)};
    const auto numbers = [&](int64_t count) {
      std::vector<REAL> made(count);
      for (REAL& number : made) number = static_cast<REAL>(draw(-1, 1));
      return made;
    };
    const int64_t result_rows = shape.batch * shape.rows();
    const int64_t image_rows = shape.batch * shape.height;
    const auto images = numbers(image_rows * shape.width * shape.channels);
    const auto kernel = numbers(shape.side * shape.side * shape.channels);
    const auto gradient = numbers(result_rows * shape.columns() * shape.channels);

    // Splits rows and channels at random positions, which gives four parts.
    const int64_t steps = std::max<int64_t>(shape.channels / chifoumi::kChannelStep, 1);
    const int64_t channel = draw(0, steps - 1) * chifoumi::kChannelStep;
    const auto for_each_part = [&](int64_t rows, const auto& body) {
      const int64_t row = draw(0, rows);
      for (const DepthwisePart& part :
           {DepthwisePart{0, row, 0, channel}, DepthwisePart{0, row, channel, shape.channels},
            DepthwisePart{row, rows, 0, channel},
            DepthwisePart{row, rows, channel, shape.channels}}) {
        body(part);
      }
    };

    std::vector<REAL> result(gradient.size()), of_images(images.size()), of_kernel(kernel.size());
    std::vector<REAL> partial(kernels.partial_size(shape));
    for_each_part(result_rows, [&](const DepthwisePart& part) {
      kernels.forward(shape, part, images.data(), kernel.data(), result.data());
      kernels.add_kernel_gradient(shape, part, images.data(), gradient.data(), partial.data());
    });
    kernels.finish_kernel_gradient(shape, partial.data(), 1, of_kernel.data());
    for_each_part(image_rows, [&](const DepthwisePart& part) {
      kernels.image_gradient(shape, part, kernel.data(), gradient.data(), of_images.data());
    });
  }
  std::puts("200 shapes");
}
