#include "variants.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

namespace adaconv {

// ADACONV_VARIANTS is the build's list, best first: X(name, condition on the CPU).
#if defined(__x86_64__)
#define ADACONV_VARIANTS(X)                                                               \
  X(avx512, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&    \
                __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) \
  X(avx2, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))                \
  X(baseline, true)
#else
#define ADACONV_VARIANTS(X) X(baseline, true)
#endif

#define ADACONV_DECLARE(name, condition)                   \
  namespace name {                                         \
  AdaptiveConvKernels<float> adaptive_conv_kernels_f32();  \
  AdaptiveConvKernels<double> adaptive_conv_kernels_f64(); \
  MultiplyRates multiply_rates();                          \
  static bool supported() { return condition; }            \
  }
ADACONV_VARIANTS(ADACONV_DECLARE)

const Variant* variants(int* count) {
#define ADACONV_ENTRY(name, condition)                                                           \
  {#name, name::supported, name::adaptive_conv_kernels_f32(), name::adaptive_conv_kernels_f64(), \
   name::multiply_rates()},
  static const Variant table[] = {ADACONV_VARIANTS(ADACONV_ENTRY)};
  *count = sizeof(table) / sizeof(table[0]);
  return table;
}

static const Variant& choose() {
  int count;
  const Variant* table = variants(&count);
  const char* wanted = std::getenv("ADACONV_CPU");
  if (wanted != nullptr && *wanted != '\0') {
    std::string names;
    for (int i = 0; i < count; ++i) {
      if (std::strcmp(table[i].name, wanted) == 0) {
        if (table[i].supported()) return table[i];
        throw std::runtime_error(std::string("ADACONV_CPU=") + wanted +
                                 ": this CPU has not these instructions");
      }
      names += (i ? ", " : "") + std::string(table[i].name);
    }
    throw std::runtime_error(std::string("ADACONV_CPU=") + wanted +
                             ": no such variant; this build has: " + names);
  }
  int i = 0;
  while (!table[i].supported()) ++i;
  return table[i];
}

const Variant& active_variant() {
  static const Variant& active = choose();
  return active;
}

}  // namespace adaconv
