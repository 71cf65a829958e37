// What bounds the kernels: how fast an instruction set multiplies and adds.
#pragma once

#include <cstdint>

namespace adaconv {

// Each makes at least so many additions and multiplications on all threads, as fast as the
// instruction set can, and returns how many; bf16 sums in fp32, in pairs where there are such
// instructions.
struct MultiplyRates {
  int64_t (*f32)(int64_t);
  int64_t (*f64)(int64_t);
  int64_t (*bf16)(int64_t);
};

}  // namespace adaconv
