// The kernels for one instruction set and type, compiled as described in vectors.h.
//
// All three kernels iterate over tiles: some columns of a row, for one vector of channels. A tile's
// sums stay in registers, and a pixel is loaded once for all sums that it is part of. The compiler
// knows which sums these are and where the weights are in the kernel. Columns are checked one by
// one only at an image's border.

#include "depthwise.h"

#include <algorithm>

#include "vectors.h"

#define UNROLL _Pragma("GCC unroll 32")
#define INLINE inline __attribute__((always_inline))

namespace chifoumi {
namespace VARIANT {
namespace {

using Shape = DepthwiseShape;
using Part = DepthwisePart;

// Columns of a tile. Its sums take 8 of 16 registers, and a row of the kernel takes 5.
constexpr int kTile = 8;

template <typename V>
inline V load_as(const Real* from) {
  V value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <typename V>
inline void store_as(Real* to, V value) {
  std::memcpy(to, &value, sizeof value);
}

// How the columns of a tile depend on those of the array that is read: its `column(j)`, times the
// kernel's column `dx`, is a part of the tile's column `target(j, dx)`, if there is one.

// Computes the result from an image: column t is the sum over dx of pixel stride * t + dx - left.
template <int kSide, int kStride, int kLeft>
struct FromImage {
  static constexpr int side = kSide, stride = kStride;
  static constexpr int first = -kLeft, last = (kTile - 1) * kStride + kSide - kLeft;

  static constexpr int target(int j, int dx) {
    const int distance = j + kLeft - dx;
    return distance >= 0 && distance % kStride == 0 ? distance / kStride : kTile;
  }
  static int64_t origin(int64_t column) { return column * kStride; }
  // The number of columns that a tile reads and the tiles before it do not.
  static constexpr int advance = kTile * kStride;
};

// Computes an image's gradient from the result's: the same relation in the other direction.
template <int kSide, int kStride, int kLeft>
struct FromResult {
  static constexpr int side = kSide, stride = kStride;
  static constexpr int first = (kLeft - kSide + 1) / kStride;
  static constexpr int last = (kTile - 1 + kLeft) / kStride + 1;

  static constexpr int target(int j, int dx) {
    const int at = kStride * j + dx - kLeft;
    return at >= 0 ? at : kTile;
  }
  static int64_t origin(int64_t column) { return column / kStride; }
  static constexpr int advance = kTile / kStride;
};
static_assert(kTile % 2 == 0, "a tile begins at a column that a stride of 2 divides");

// A row that is read, and its row of the kernel or of the kernel's gradient.
template <typename Weights>
struct Line {
  const Real* pixels;
  Weights* weights;
};

// The rows that are read for one output row, and the first rows that the next one will need.
template <typename Weights>
struct Lines {
  Line<Weights> lines[5];
  int count = 0;
  const Real* next[2];

  void add(const Real* pixels, Weights* weights) { lines[count++] = {pixels, weights}; }
};

// The position of a tile's columns in the row that is read.
struct Place {
  int64_t origin, width;  // the column that column 0 of a tile reads, and the row's columns
  int64_t channels;
  int count;  // columns of the tile that exist

  bool has(int64_t j) const { return 0 <= origin + j && origin + j < width; }
};

// Prefetches a tile's new columns of the next rows. The addresses jump from column to column, which
// the processor does not predict; without this, waiting for memory took two thirds of the time. It
// is always inlined, because GCC 12 drops a call to a function that does nothing but prefetch.
template <typename Map, bool border, typename Weights>
INLINE void fetch_next(const Lines<Weights>& lines, const Place& place, int64_t channel) {
  UNROLL for (int row = 0; row < (Map::advance > kTile ? 2 : 1); ++row) {
    const Real* next = lines.next[row] + place.origin * place.channels + channel;
    UNROLL for (int j = 0; j < Map::advance; ++j) {
      if (!border || place.has(j)) __builtin_prefetch(next + j * place.channels, 0, 2);
    }
  }
}

// Without `border`, all columns exist and none is checked. `next` is where the next row is written.
template <typename Map, bool border, typename V>
void sum_tile(const Lines<const Real>& lines, const Place& place, int64_t channel, Real* to,
              const Real* next) {
  const int64_t channels = place.channels;
  fetch_next<Map, border>(lines, place, channel);
  UNROLL for (int t = 0; t < kTile; ++t) {
    if (!border || t < place.count) __builtin_prefetch(next + t * channels + channel, 1, 2);
  }
  V sums[kTile] = {};
  for (int line = 0; line < lines.count; ++line) {
    V weights[Map::side];
    UNROLL for (int dx = 0; dx < Map::side; ++dx) {
      weights[dx] = load_as<V>(lines.lines[line].weights + dx * channels + channel);
    }
    const Real* pixels = lines.lines[line].pixels + channel;
    UNROLL for (int j = Map::first; j < Map::last; ++j) {
      if (border && !place.has(j)) continue;
      const V pixel = load_as<V>(pixels + (place.origin + j) * channels);
      UNROLL for (int dx = 0; dx < Map::side; ++dx) {
        const int t = Map::target(j, dx);
        if (t < kTile) sums[t] += pixel * weights[dx];
      }
    }
  }
  UNROLL for (int t = 0; t < kTile; ++t) {
    if (!border || t < place.count) store_as(to + t * channels + channel, sums[t]);
  }
}

// `slot` is the index of the channel's sums in a row of the partial sum.
template <typename Map, bool border, typename V>
void add_tile(const Lines<Real>& lines, const Place& place, int64_t channel, int64_t slot,
              int64_t slots, const Real* gradient, const Real* next) {
  const int64_t channels = place.channels;
  fetch_next<Map, border>(lines, place, channel);
  UNROLL for (int t = 0; t < kTile; ++t) {
    if (!border || t < place.count) __builtin_prefetch(next + t * channels + channel, 0, 2);
  }
  V gradients[kTile];
  UNROLL for (int t = 0; t < kTile; ++t) {
    const bool exists = !border || t < place.count;
    gradients[t] = exists ? load_as<V>(gradient + t * channels + channel) : V{};
  }
  for (int line = 0; line < lines.count; ++line) {
    V sums[Map::side];
    Real* to = lines.lines[line].weights + slot;
    UNROLL for (int dx = 0; dx < Map::side; ++dx) sums[dx] = load_as<V>(to + dx * slots);
    const Real* pixels = lines.lines[line].pixels + channel;
    UNROLL for (int j = Map::first; j < Map::last; ++j) {
      if (border && !place.has(j)) continue;
      const V pixel = load_as<V>(pixels + (place.origin + j) * channels);
      UNROLL for (int dx = 0; dx < Map::side; ++dx) {
        const int t = Map::target(j, dx);
        // No product here, because zero times a pixel that is not finite is not zero.
        if (t < kTile && (!border || t < place.count)) sums[dx] += pixel * gradients[t];
      }
    }
    UNROLL for (int dx = 0; dx < Map::side; ++dx) store_as(to + dx * slots, sums[dx]);
  }
}

template <typename V>
struct Lanes {
  using Type = V;
};

// Calls `body(lanes, channel, slot)` for the vectors of a part's channels. Remaining channels form
// a vector together with the channels before them, or are processed one by one if there are too
// few. The sums of that vector have their own slot, because some of its channels are already
// summed.
template <typename Body>
void for_each_vector(const Part& part, const Body& body) {
  int64_t channel = part.begin_channel;
  for (; channel + kLanes <= part.end_channel; channel += kLanes) {
    body(Lanes<Vec>{}, channel, channel);
  }
  if (channel == part.end_channel) return;
  if (part.end_channel - part.begin_channel >= kLanes) {
    body(Lanes<Vec>{}, part.end_channel - kLanes, channel);
  } else {
    for (; channel < part.end_channel; ++channel) body(Lanes<Real>{}, channel, channel);
  }
}

// Calls `body(column, place, is_border)` for the tiles of a row of `columns`.
template <typename Map, typename Body>
void for_each_tile(int64_t columns, int64_t width, int64_t channels, const Body& body) {
  for (int64_t column = 0; column < columns; column += kTile) {
    const int64_t count = std::min<int64_t>(kTile, columns - column);
    const Place place{Map::origin(column), width, channels, static_cast<int>(count)};
    const bool inside = count == kTile && place.has(Map::first) && place.has(Map::last - 1);
    body(column, place, !inside);
  }
}

// `next` is where the next row is written.
template <typename Map>
void sum_row(const Part& part, const Lines<const Real>& lines, int64_t columns, int64_t width,
             int64_t channels, Real* to, const Real* next) {
  for_each_tile<Map>(columns, width, channels, [&](int64_t column, Place place, bool border) {
    const int64_t at = column * channels;
    for_each_vector(part, [&](auto lanes, int64_t channel, int64_t) {
      using V = typename decltype(lanes)::Type;
      if (border) {
        sum_tile<Map, true, V>(lines, place, channel, to + at, next + at);
      } else {
        sum_tile<Map, false, V>(lines, place, channel, to + at, next + at);
      }
    });
  });
}

// Returns the lines that the result's row `number` depends on. The kernel, or a sum of its
// gradient, has `slots` numbers for each row and column.
template <typename Map, typename Weights>
Lines<Weights> lines_of_images(const Shape& shape, const Real* images, int64_t number,
                               Weights* weights, int64_t slots) {
  const int64_t line = shape.width * shape.channels;
  const int64_t first = number / shape.rows() * shape.height;
  const int64_t above = number % shape.rows() * Map::stride - shape.above();
  Lines<Weights> lines;
  for (int64_t dy = 0; dy < Map::side; ++dy) {
    const int64_t row = above + dy;
    if (row < 0 || row >= shape.height) continue;
    lines.add(images + (first + row) * line, weights + dy * Map::side * slots);
  }
  const int64_t last = shape.batch * shape.height - 1;
  for (int64_t row = 0; row < 2; ++row) {
    lines.next[row] = images + std::min(first + above + Map::side + row, last) * line;
  }
  return lines;
}

template <typename Map>
void forward_as(const Shape& shape, const Part& part, const Real* images, const Real* kernel,
                Real* result) {
  const int64_t line = shape.columns() * shape.channels;
  for (int64_t number = part.begin_row; number < part.end_row; ++number) {
    const auto lines = lines_of_images<Map>(shape, images, number, kernel, shape.channels);
    sum_row<Map>(part, lines, shape.columns(), shape.width, shape.channels,
                 result + number * line, result + std::min(number + 1, part.end_row - 1) * line);
  }
}

template <typename Map>
void image_gradient_as(const Shape& shape, const Part& part, const Real* kernel,
                       const Real* gradient, Real* image_gradient) {
  const int64_t read = shape.columns() * shape.channels, line = shape.width * shape.channels;
  for (int64_t number = part.begin_row; number < part.end_row; ++number) {
    const int64_t first = number / shape.height * shape.rows();
    const int64_t below = number % shape.height + shape.above();
    Lines<const Real> lines;
    for (int64_t dy = 0; dy < Map::side; ++dy) {
      const int64_t row = (below - dy) / Map::stride;
      if (below < dy || (below - dy) % Map::stride != 0 || row >= shape.rows()) continue;
      lines.add(gradient + (first + row) * read, kernel + dy * Map::side * shape.channels);
    }
    const int64_t next = std::min(first + below / Map::stride + 1, shape.batch * shape.rows() - 1);
    lines.next[0] = gradient + next * read;
    sum_row<Map>(part, lines, shape.width, shape.columns(), shape.channels,
                 image_gradient + number * line,
                 image_gradient + std::min(number + 1, part.end_row - 1) * line);
  }
}

// ---- Gradient of the kernel: a partial sum has a slot for each channel, and slots for the
// overlapping vector (see `for_each_vector`).

int64_t partial_slots(const Shape& shape) { return ceil_div(shape.channels, kLanes) * kLanes; }

int64_t partial_size(const Shape& shape) {
  return shape.side * shape.side * partial_slots(shape);
}

template <typename Map>
void add_kernel_gradient_as(const Shape& shape, const Part& part, const Real* images,
                            const Real* gradient, Real* partial) {
  const int64_t channels = shape.channels, slots = partial_slots(shape);
  const int64_t line = shape.columns() * channels;
  for (int64_t number = part.begin_row; number < part.end_row; ++number) {
    const auto lines = lines_of_images<Map>(shape, images, number, partial, slots);
    const Real* of_row = gradient + number * line;
    const Real* next = gradient + std::min(number + 1, part.end_row - 1) * line;
    const auto add = [&](int64_t column, Place place, bool border) {
      const int64_t at = column * channels;
      for_each_vector(part, [&](auto lanes, int64_t channel, int64_t slot) {
        using V = typename decltype(lanes)::Type;
        if (border) {
          add_tile<Map, true, V>(lines, place, channel, slot, slots, of_row + at, next + at);
        } else {
          add_tile<Map, false, V>(lines, place, channel, slot, slots, of_row + at, next + at);
        }
      });
    };
    for_each_tile<Map>(shape.columns(), shape.width, channels, add);
  }
}

void finish_kernel_gradient(const Shape& shape, const Real* partials, int64_t count,
                            Real* kernel_gradient) {
  const int64_t size = partial_size(shape), slots = partial_slots(shape);
  const int64_t channels = shape.channels, in_place = channels / kLanes * kLanes;
  // The last channels are only in the overlapping vector.
  const int64_t shift = channels >= kLanes ? slots - channels : 0;
  for (int64_t tap = 0; tap < shape.side * shape.side; ++tap) {
    Real* to = kernel_gradient + tap * channels;
    std::fill(to, to + channels, Real{0});
    for (int64_t i = 0; i < count; ++i) {
      const Real* from = partials + i * size + tap * slots;
      for (int64_t channel = 0; channel < in_place; ++channel) to[channel] += from[channel];
      for (int64_t channel = in_place; channel < channels; ++channel) {
        to[channel] += from[channel + shift];
      }
    }
  }
}

// ---- Selects one of the six relations. With a stride of 2, an even width has one pixel of padding
// less on the left than an odd width.

template <template <int, int, int> class Map, typename Body>
void with_map(const Shape& shape, const Body& body) {
  const int64_t left = shape.left();
  if (shape.side == 3) {
    if (shape.stride == 1) return body(Map<3, 1, 1>{});
    if (left == 0) return body(Map<3, 2, 0>{});
    return body(Map<3, 2, 1>{});
  }
  if (shape.stride == 1) return body(Map<5, 1, 2>{});
  if (left == 1) return body(Map<5, 2, 1>{});
  return body(Map<5, 2, 2>{});
}

void forward(const Shape& shape, const Part& part, const Real* images, const Real* kernel,
             Real* result) {
  with_map<FromImage>(shape, [&](auto map) {
    forward_as<decltype(map)>(shape, part, images, kernel, result);
  });
}

void image_gradient(const Shape& shape, const Part& part, const Real* kernel,
                    const Real* gradient, Real* image_gradient) {
  with_map<FromResult>(shape, [&](auto map) {
    image_gradient_as<decltype(map)>(shape, part, kernel, gradient, image_gradient);
  });
}

void add_kernel_gradient(const Shape& shape, const Part& part, const Real* images,
                         const Real* gradient, Real* partial) {
  with_map<FromImage>(shape, [&](auto map) {
    add_kernel_gradient_as<decltype(map)>(shape, part, images, gradient, partial);
  });
}

}  // namespace

extern const DepthwiseKernels<Real> depthwise_kernels;
const DepthwiseKernels<Real> depthwise_kernels = {forward, image_gradient, partial_size,
                                                  add_kernel_gradient, finish_kernel_gradient};

}  // namespace VARIANT
}  // namespace chifoumi
