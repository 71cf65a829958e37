// The instruction-set variants: the kernels' sources compiled several times, chosen at run time.
#pragma once

namespace adaconv {

// CMakeLists.txt's list, best first: X(name, supported by the CPU, preferred by it, ...).
#if defined(__x86_64__)
#define ADACONV_VARIANTS(X, ...)                                    \
  X(amx, has_amx_bf16, always, __VA_ARGS__)                         \
  X(avx512bf16, has_avx512_bf16, has_fast_avx512_bf16, __VA_ARGS__) \
  X(avx512, has_avx512, always, __VA_ARGS__)                        \
  X(avx2, has_avx2, always, __VA_ARGS__)                            \
  X(baseline, always, always, __VA_ARGS__)
#else
#define ADACONV_VARIANTS(X, ...) X(baseline, always, always, __VA_ARGS__)
#endif

struct Variant {
  const char* name;
  bool (*supported)();  // by this CPU
  bool (*preferred)();  // over those that follow; one that is not can be asked for
};

// All variants of this build, the best first; the last runs on every CPU of the architecture.
const Variant* variants(int* count);

// The number of the one in use: the first that this CPU supports and prefers, or the one that
// ADACONV_CPU names. Throws std::runtime_error where that name is unknown or the CPU lacks it.
int active_variant();

// Gathers what each variant has of one kind: its sources define
//
//   namespace adaconv::ADACONV_VARIANT { extern const Type name = {...}; }
//
// and after ADACONV_OF_EACH_VARIANT(Type, name) in namespace adaconv, name() is the one in use.
// They are constants because nothing may run that is compiled for a CPU which this may not be.
#define ADACONV_OF_EACH_VARIANT(Type, name)                                      \
  ADACONV_VARIANTS(ADACONV_DECLARE, Type, name)                                  \
  static const Type& name() {                                                    \
    static const Type* const each[] = {ADACONV_VARIANTS(ADACONV_ADDRESS, name)}; \
    return *each[active_variant()];                                              \
  }
#define ADACONV_DECLARE(variant, supported, preferred, Type, name) \
  namespace variant {                                              \
  extern const Type name;                                          \
  }
#define ADACONV_ADDRESS(variant, supported, preferred, name) &variant::name,

}  // namespace adaconv
