// Runs the native kernels under AddressSanitizer on arrays of exactly the needed size.

#include <cstdio>
#include <random>
#include <vector>

#include "kernels.h"

namespace chifoumi::VARIANT {
extern const Kernels<REAL> kernels;
}

using chifoumi::Shape;

int main() {
  const auto& kernels = chifoumi::VARIANT::kernels;
  std::mt19937 random(0);
  const auto draw = [&](int64_t from, int64_t to) {
    return std::uniform_int_distribution<int64_t>(from, to)(random);
  };
  for (int example = 0; example < 200; ++example) {
    const Shape shape{1, draw(4, 12), draw(4, 90), draw(1, 70), draw(1, 70)};
    const auto numbers = [&](int64_t count) {
      std::vector<REAL> made(count);
      for (REAL& number : made) number = static_cast<REAL>(draw(-1, 1));
      return made;
    };
    const auto image = numbers(shape.image_size());
    const auto kernel = numbers(9 * shape.in * shape.out), bias = numbers(shape.out);
    const auto gradient = numbers(shape.pooled_size());
    const int64_t line = shape.columns() * shape.out;

    std::vector<REAL> packed(kernels.packed_size(shape)), pooled(shape.pooled_size());
    std::vector<uint8_t> winner(shape.pooled_size());
    kernels.pack(shape, kernel.data(), bias.data(), packed.data());
    for (int64_t row = 0; row < shape.rows(); ++row) {
      kernels.forward_row(shape, image.data(), packed.data(), row, pooled.data() + row * line,
                          winner.data() + row * line);
    }

    std::vector<REAL> partial(kernels.partial_size(shape)), of_kernel(kernel.size());
    std::vector<REAL> of_bias(shape.out);
    kernels.add_weight_gradients(shape, image.data(), gradient.data(), winner.data(), 0,
                                 shape.rows(), partial.data());
    kernels.finish_weight_gradients(shape, partial.data(), 1, of_kernel.data(), of_bias.data());

    std::vector<REAL> turned(kernels.turned_size(shape)), of_image(shape.image_size());
    kernels.turn(shape, kernel.data(), turned.data());
    kernels.image_gradient_rows(shape, turned.data(), gradient.data(), winner.data(), 0,
                                shape.rows() + 1, of_image.data());
  }
  std::puts("200 shapes");
}
