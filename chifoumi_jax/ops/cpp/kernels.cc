// The kernels for one instruction set and type: compiled with the flags of the instruction set,
// REAL defined as the type, and VARIANT as the name of both.
//
// In the forward pass, every position of a window is summed in the same order with the same fused
// operations, so that equal patches give equal values and ties are exact. In the backward pass,
// only one of a window's four positions has a gradient. The sums include only winners, which is a
// quarter of the dense arithmetic.

#include "kernels.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "vectors.h"

namespace chifoumi {
namespace VARIANT {
namespace {

using Int = std::conditional_t<sizeof(Real) == 4, int32_t, int64_t>;

typedef Int Mask __attribute__((vector_size(VECTOR_BYTES)));
typedef uint8_t Bytes __attribute__((vector_size(kLanes)));

// There are 32 registers of 64 bytes, or 16 of 32 bytes. They must hold a micro-kernel's sums and
// its operands.
constexpr int kOutVectors = 2;                            // vectors of output channels in a block
constexpr int kOutBlock = kOutVectors * kLanes;           // channels in a block
constexpr int kWindows = VECTOR_BYTES == 64 ? 3 : 1;      // windows whose sums are held at once
constexpr int kRowVectors = VECTOR_BYTES == 64 ? 6 : 4;   // vectors of a patch's row held at once

int64_t out_blocks(const Shape& shape) { return ceil_div(shape.out, kOutBlock); }

// The three pixels of a patch's row are adjacent in memory: `3 * in` numbers.
int64_t patch_row(const Shape& shape) { return ceil_div(3 * shape.in, kLanes) * kLanes; }

// ---- Forward: `packed` holds the bias and the weights of each block of output channels.

int64_t packed_size(const Shape& shape) {
  return out_blocks(shape) * (1 + 9 * shape.in) * kOutBlock;
}

void pack(const Shape& shape, const Real* kernel, const Real* bias, Real* packed) {
  for (int64_t block = 0; block < out_blocks(shape); ++block) {
    const int64_t first = block * kOutBlock;
    const int64_t count = std::min<int64_t>(kOutBlock, shape.out - first);
    for (int64_t line = -1; line < 9 * shape.in; ++line, packed += kOutBlock) {
      const Real* from = line < 0 ? bias : kernel + line * shape.out;
      std::fill(packed, packed + kOutBlock, Real{0});
      std::copy(from + first, from + first + count, packed);
    }
  }
}

// Returns the larger value. NaN is kept, because a training that has diverged must show it.
inline Vec larger(Vec largest, Vec value, Mask greater) {
  return (greater | (value != value)) ? value : largest;
}

// Computes `count` adjacent windows for one block of output channels. `kIn` is the number of input
// channels if the compiler should know it, otherwise 0.
template <int kIn, int count, bool with_winner>
void pool_windows(const Real* pixels, int64_t in, int64_t width, const Real* packed,
                  int64_t channels, int64_t out, Real* pooled, uint8_t* winner) {
  if (kIn) in = kIn;
  // Long sums are added up from one sum per kernel row, which halves the rounding error.
  constexpr bool by_row = kIn == 0 || kIn > 8;
  const int64_t line = width * in;
  const Real* weights = packed + kOutBlock;
  Vec totals[2][2 * count][kOutVectors] = {};
  Vec sums[2][2 * count][kOutVectors] = {};
  for (int dy = 0; dy < 3; ++dy) {
    for (int dx = 0; dx < 3; ++dx) {
      const Real* from = pixels + dy * line + dx * in;
      for (int64_t channel = 0; channel < in; ++channel, weights += kOutBlock) {
        Vec weight[kOutVectors];
        for (int v = 0; v < kOutVectors; ++v) weight[v] = load(weights + v * kLanes);
        for (int y = 0; y < 2; ++y) {
          for (int x = 0; x < 2 * count; ++x) {
            const Real pixel = from[y * line + x * in + channel];
            for (int v = 0; v < kOutVectors; ++v) sums[y][x][v] += pixel * weight[v];
          }
        }
      }
    }
    if (!by_row && dy < 2) continue;
    for (int y = 0; y < 2; ++y) {
      for (int x = 0; x < 2 * count; ++x) {
        for (int v = 0; v < kOutVectors; ++v) {
          totals[y][x][v] = by_row ? totals[y][x][v] + sums[y][x][v] : sums[y][x][v];
          sums[y][x][v] = Vec{};
        }
      }
    }
  }
  for (int window = 0; window < count; ++window, pooled += out) {
    Real values[kOutBlock];
    uint8_t places[kOutBlock];
    for (int v = 0; v < kOutVectors; ++v) {
      const Vec bias = load(packed + v * kLanes);
      // The bias is added before the comparison, because different values may tie after adding it.
      Vec largest = totals[0][2 * window][v] + bias;
      Mask place = {};
      for (int other = 1; other < 4; ++other) {
        const Vec value = totals[other / 2][2 * window + other % 2][v] + bias;
        const Mask greater = value > largest;
        if (with_winner) place = greater ? Mask{} + other : place;
        largest = larger(largest, value, greater);
      }
      store(values + v * kLanes, largest <= 0 ? Vec{} : largest);
      if (with_winner) {
        place = largest > 0 ? place : Mask{} + kClosed;
        const Bytes narrow = __builtin_convertvector(place, Bytes);
        std::memcpy(places + v * kLanes, &narrow, sizeof narrow);
      }
    }
    std::memcpy(pooled, values, channels * sizeof(Real));
    if (with_winner) {
      std::memcpy(winner, places, channels);
      winner += out;
    }
  }
}

template <int kIn, bool with_winner>
void forward_row_of(const Shape& shape, const Real* image, const Real* packed, int64_t row,
                    Real* pooled, uint8_t* winner) {
  const int64_t in = kIn ? kIn : shape.in, columns = shape.columns();
  const Real* pixels = image + 2 * row * shape.width * in;
  for (int64_t block = 0; block < out_blocks(shape); ++block) {
    const int64_t first = block * kOutBlock;
    const int64_t channels = std::min<int64_t>(kOutBlock, shape.out - first);
    const auto winner_at = [&](int64_t at) { return with_winner ? winner + at : nullptr; };
    int64_t column = 0;
    for (; column + kWindows <= columns; column += kWindows) {
      const int64_t at = column * shape.out + first;
      pool_windows<kIn, kWindows, with_winner>(pixels + 2 * column * in, in, shape.width, packed,
                                               channels, shape.out, pooled + at, winner_at(at));
    }
    for (; column < columns; ++column) {
      const int64_t at = column * shape.out + first;
      pool_windows<kIn, 1, with_winner>(pixels + 2 * column * in, in, shape.width, packed,
                                        channels, shape.out, pooled + at, winner_at(at));
    }
    packed += (1 + 9 * in) * kOutBlock;
  }
}

template <bool with_winner>
void forward_row_of(const Shape& shape, const Real* image, const Real* packed, int64_t row,
                    Real* pooled, uint8_t* winner) {
  switch (shape.in) {
    case 3: return forward_row_of<3, with_winner>(shape, image, packed, row, pooled, winner);
    case 32: return forward_row_of<32, with_winner>(shape, image, packed, row, pooled, winner);
    default: return forward_row_of<0, with_winner>(shape, image, packed, row, pooled, winner);
  }
}

void forward_row(const Shape& shape, const Real* image, const Real* packed, int64_t row,
                 Real* pooled, uint8_t* winner) {
  if (winner == nullptr) return forward_row_of<false>(shape, image, packed, row, pooled, winner);
  return forward_row_of<true>(shape, image, packed, row, pooled, winner);
}

// ---- Gradients of the weights: a partial sum is out x (3 rows of a patch), followed by the bias.

int64_t partial_size(const Shape& shape) { return shape.out * (3 * patch_row(shape) + 1); }

struct Pull {
  Int at;  // offset of the winner's patch
  Real gradient;
};

// Adds the contribution of the patches of one output channel's winners to `sum`.
template <int count>
void add_patches(const Pull* pulls, int64_t number, const Real* pixels, int64_t line,
                 int64_t patch_line, Real* sum) {
  // With few sums each addition would wait for the previous one, so two sets of sums alternate.
  constexpr int sets = count <= 2 ? 2 : 1;
  Vec sums[sets][3][count] = {};
  int64_t i = 0;
  for (; i + sets <= number; i += sets) {
    for (int set = 0; set < sets; ++set) {
      const Real* from = pixels + pulls[i + set].at;
      const Real gradient = pulls[i + set].gradient;
      for (int dy = 0; dy < 3; ++dy) {
        for (int v = 0; v < count; ++v) {
          sums[set][dy][v] += gradient * load(from + dy * line + v * kLanes);
        }
      }
    }
  }
  for (; i < number; ++i) {
    const Real* from = pixels + pulls[i].at;
    for (int dy = 0; dy < 3; ++dy) {
      for (int v = 0; v < count; ++v) {
        sums[0][dy][v] += pulls[i].gradient * load(from + dy * line + v * kLanes);
      }
    }
  }
  for (int dy = 0; dy < 3; ++dy) {
    for (int v = 0; v < count; ++v) {
      Real* to = sum + dy * patch_line + v * kLanes;
      Vec total = sums[0][dy][v];
      if (sets == 2) total += sums[sets - 1][dy][v];
      store(to, load(to) + total);
    }
  }
}

void add_patches(int64_t count, const Pull* pulls, int64_t number, const Real* pixels,
                 int64_t line, int64_t patch_line, Real* sum) {
  switch (count) {
    case 1: return add_patches<1>(pulls, number, pixels, line, patch_line, sum);
    case 2: return add_patches<2>(pulls, number, pixels, line, patch_line, sum);
    case 3: return add_patches<3>(pulls, number, pixels, line, patch_line, sum);
    case 4: return add_patches<4>(pulls, number, pixels, line, patch_line, sum);
    case 5: return add_patches<5>(pulls, number, pixels, line, patch_line, sum);
    default: return add_patches<6>(pulls, number, pixels, line, patch_line, sum);
  }
}

void add_weight_gradients(const Shape& shape, const Real* image, const Real* gradient,
                          const uint8_t* winner, int64_t begin, int64_t end, Real* partial) {
  const int64_t in = shape.in, out = shape.out, columns = shape.columns();
  const int64_t patch_line = patch_row(shape), vectors = patch_line / kLanes;
  // Windows in a tile; four rows of their pixels take about half of a 32 KB cache.
  const int64_t tile = std::clamp<int64_t>(2048 / (in * sizeof(Real)), 4, 32);
  const int64_t line = ceil_div((2 * tile + 2) * in, kLanes) * kLanes;
  std::vector<Real> pixels(4 * line + patch_line);
  std::vector<Pull> pulls(out * tile);
  std::vector<int64_t> counts(out);
  std::vector<Real> bias_sums(out);
  Real* bias_partial = partial + out * 3 * patch_line;

  for (int64_t row = begin; row < end; ++row) {
    std::fill(bias_sums.begin(), bias_sums.end(), Real{0});
    for (int64_t column = 0; column < columns; column += tile) {
      const int64_t windows = std::min(tile, columns - column);
      for (int y = 0; y < 4; ++y) {
        const Real* from = image + ((2 * row + y) * shape.width + 2 * column) * in;
        std::copy(from, from + (2 * windows + 2) * in, pixels.data() + y * line);
      }
      std::fill(counts.begin(), counts.end(), 0);
      const int64_t places[] = {0, in, line, line + in, 0};
      for (int64_t window = 0; window < windows; ++window) {
        const int64_t at = (row * columns + column + window) * out;
        for (int64_t channel = 0; channel < out; ++channel) {
          const uint8_t place = winner[at + channel];
          const Real value = gradient[at + channel];
          const bool open = place != kClosed;
          // It is always written but counted only if valid, which avoids an unpredictable branch.
          pulls[channel * tile + counts[channel]] = {Int(2 * window * in + places[place]), value};
          counts[channel] += open & (value != 0);
          bias_sums[channel] += open ? value : Real{0};
        }
      }
      for (int64_t channel = 0; channel < out; ++channel) {
        Real* sum = partial + channel * 3 * patch_line;
        for (int64_t first = 0; first < vectors; first += kRowVectors) {
          add_patches(std::min<int64_t>(kRowVectors, vectors - first), &pulls[channel * tile],
                      counts[channel], pixels.data() + first * kLanes, line, patch_line,
                      sum + first * kLanes);
        }
      }
    }
    for (int64_t channel = 0; channel < out; ++channel) bias_partial[channel] += bias_sums[channel];
  }
}

void finish_weight_gradients(const Shape& shape, const Real* partials, int64_t count,
                             Real* kernel_gradient, Real* bias_gradient) {
  const int64_t size = partial_size(shape), patch_line = patch_row(shape);
  std::vector<Real> total(size);
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t j = 0; j < size; ++j) total[j] += partials[i * size + j];
  }
  for (int64_t channel = 0; channel < shape.out; ++channel) {
    for (int64_t dy = 0; dy < 3; ++dy) {
      for (int64_t j = 0; j < 3 * shape.in; ++j) {
        kernel_gradient[(dy * 3 * shape.in + j) * shape.out + channel] =
            total[(channel * 3 + dy) * patch_line + j];
      }
    }
    bias_gradient[channel] = total[shape.out * 3 * patch_line + channel];
  }
}

// ---- Gradient of the images: `turned` holds, for each kernel row and each group of vectors in it,
// this part of the kernel for each output channel.

int64_t turned_size(const Shape& shape) { return 3 * patch_row(shape) * shape.out; }

void turn(const Shape& shape, const Real* kernel, Real* turned) {
  const int64_t patch_line = patch_row(shape);
  for (int64_t dy = 0; dy < 3; ++dy) {
    for (int64_t first = 0; first < patch_line; first += kRowVectors * kLanes) {
      const int64_t width = std::min<int64_t>(kRowVectors * kLanes, patch_line - first);
      for (int64_t channel = 0; channel < shape.out; ++channel) {
        for (int64_t j = first; j < first + width; ++j) {
          *turned++ = j < 3 * shape.in ? kernel[(dy * 3 * shape.in + j) * shape.out + channel] : 0;
        }
      }
    }
  }
}

struct Push {
  Int channel;
  Real gradient;
};

template <int count>
void add_kernels(const Push* pushes, int64_t number, const Real* turned, Real* to) {
  Vec sums[count] = {};
  for (int64_t i = 0; i < number; ++i) {
    const Real* from = turned + pushes[i].channel * (count * kLanes);
    for (int v = 0; v < count; ++v) sums[v] += pushes[i].gradient * load(from + v * kLanes);
  }
  for (int v = 0; v < count; ++v) store(to + v * kLanes, load(to + v * kLanes) + sums[v]);
}

void add_kernels(int64_t count, const Push* pushes, int64_t number, const Real* turned,
                 Real* to) {
  switch (count) {
    case 1: return add_kernels<1>(pushes, number, turned, to);
    case 2: return add_kernels<2>(pushes, number, turned, to);
    case 3: return add_kernels<3>(pushes, number, turned, to);
    case 4: return add_kernels<4>(pushes, number, turned, to);
    case 5: return add_kernels<5>(pushes, number, turned, to);
    default: return add_kernels<6>(pushes, number, turned, to);
  }
}

// Adds the gradients of one row of windows to the four rows of pixels that it sees.
void add_window_row(const Shape& shape, const Real* turned, const Real* gradient,
                    const uint8_t* winner, Real* const pixels[4]) {
  constexpr int64_t tile = 16;  // windows in a tile; the lists of their winners stay in the cache
  const int64_t in = shape.in, out = shape.out, columns = shape.columns();
  const int64_t patch_line = patch_row(shape);
  std::vector<Push> pushes(tile * 5 * out);
  int64_t counts[tile][5];
  for (int64_t column = 0; column < columns; column += tile) {
    const int64_t windows = std::min(tile, columns - column);
    std::memset(counts, 0, sizeof counts);
    for (int64_t window = 0; window < windows; ++window) {
      const int64_t at = (column + window) * out;
      Push* lists = &pushes[window * 5 * out];
      for (int64_t channel = 0; channel < out; ++channel) {
        const uint8_t place = winner[at + channel];
        lists[place * out + counts[window][place]++] = {Int(channel), gradient[at + channel]};
      }
    }
    const Real* weights = turned;
    for (int dy = 0; dy < 3; ++dy) {
      for (int64_t first = 0; first < patch_line; first += kRowVectors * kLanes) {
        const int64_t vectors =
            std::min<int64_t>(kRowVectors, (patch_line - first) / kLanes);
        for (int64_t window = 0; window < windows; ++window) {
          for (int place = 0; place < 4; ++place) {
            Real* to = pixels[place / 2 + dy] + (2 * (column + window) + place % 2) * in + first;
            add_kernels(vectors, &pushes[(window * 5 + place) * out], counts[window][place],
                        weights, to);
          }
        }
        weights += vectors * kLanes * out;
      }
    }
  }
}

void image_gradient_rows(const Shape& shape, const Real* turned, const Real* gradient,
                         const uint8_t* winner, int64_t begin, int64_t end,
                         Real* image_gradient) {
  const int64_t line = shape.width * shape.in, pooled_line = shape.columns() * shape.out;
  // A patch's last vectors may extend beyond it with zeros, so each line has room at its end.
  const int64_t stride = line + patch_row(shape);
  std::vector<Real> buffer(4 * stride);
  Real* pixels[4];
  for (int y = 0; y < 4; ++y) pixels[y] = buffer.data() + y * stride;

  for (int64_t row = std::max<int64_t>(begin - 1, 0); row < end; ++row) {
    if (row < shape.rows()) {
      add_window_row(shape, turned, gradient + row * pooled_line, winner + row * pooled_line,
                     pixels);
    }
    for (int y = 0; y < 2; ++y) {
      if (row >= begin) {
        std::copy(pixels[y], pixels[y] + line, image_gradient + (2 * row + y) * line);
      }
      std::swap(pixels[y], pixels[y + 2]);
      std::fill(pixels[y + 2], pixels[y + 2] + stride, Real{0});
    }
  }
  if (end == shape.rows() + 1) {
    std::fill(image_gradient + 2 * end * line, image_gradient + shape.height * line, Real{0});
  }
}

}  // namespace

extern const Kernels<Real> kernels;
const Kernels<Real> kernels = {packed_size,
                               pack,
                               forward_row,
                               partial_size,
                               add_weight_gradients,
                               finish_weight_gradients,
                               turned_size,
                               turn,
                               image_gradient_rows};

}  // namespace VARIANT
}  // namespace chifoumi
