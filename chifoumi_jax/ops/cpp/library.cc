// The library's XLA version, and the choice of its instruction set.

#include <cstring>

#include "host.h"

namespace chifoumi {
namespace {

constexpr const char* kLevelNames[] = {"x86-64-v4", "x86-64-v3", "baseline"};

}  // namespace

bool runs_here(Level level) {
#if defined(__x86_64__)
  // Checks the extensions that each level adds; a processor with these has the rest too.
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

namespace {

Level fastest() {
  for (Level level : {kV4, kV3}) {
    if (runs_here(level)) return level;
  }
  return kBaseline;
}

}  // namespace

std::atomic<Level> level_in_use{fastest()};

}  // namespace chifoumi

// The version of XLA's FFI that this library was compiled for; an older XLA refuses it.
extern "C" int chifoumi_ffi_version() { return XLA_FFI_API_MINOR; }

extern "C" const char* chifoumi_instruction_set() {
  return chifoumi::kLevelNames[chifoumi::level_in_use.load()];
}

// Returns whether this processor supports the instruction set.
extern "C" bool chifoumi_use_instruction_set(const char* name) {
  for (chifoumi::Level level : {chifoumi::kV4, chifoumi::kV3, chifoumi::kBaseline}) {
    if (std::strcmp(name, chifoumi::kLevelNames[level]) == 0 && chifoumi::runs_here(level)) {
      chifoumi::level_in_use = level;
      return true;
    }
  }
  return false;
}
