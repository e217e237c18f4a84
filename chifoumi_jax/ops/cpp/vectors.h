// The vectors of one instruction set and type. Sources are compiled once for each combination: with
// the flags of the instruction set, REAL defined as the type, and VARIANT as the name of both.
//
// Everything is in an anonymous namespace. Otherwise the linker would merge a function that two
// variants share, and it could have the wrong variant's instructions.

#ifndef CHIFOUMI_JAX_OPS_CPP_VECTORS_H_
#define CHIFOUMI_JAX_OPS_CPP_VECTORS_H_

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

namespace chifoumi {
namespace VARIANT {
namespace {

using Real = REAL;
constexpr int kLanes = VECTOR_BYTES / sizeof(Real);

typedef Real Vec __attribute__((vector_size(VECTOR_BYTES)));

inline Vec load(const Real* from) {
  Vec value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

inline void store(Real* to, Vec value) { std::memcpy(to, &value, sizeof value); }

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace
}  // namespace VARIANT
}  // namespace chifoumi

#endif  // CHIFOUMI_JAX_OPS_CPP_VECTORS_H_
