#include "variants.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace adaconv {

#if defined(__x86_64__)

static bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

static bool has_avx512_bf16() {
  return has_avx512() && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("bmi2");
}

// Linux lets a process use the tile registers once it has asked for them.
static bool has_amx_bf16() {
#if defined(__linux__)
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24;
  unsigned eax, ebx, ecx, edx;
  return has_avx512_bf16() && __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (edx & kBf16) &&
         (edx & kTile) && syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

// Intel's vdpbf16ps is slower than two products in fp32.
static bool has_fast_avx512_bf16() { return has_avx512_bf16() && !__builtin_cpu_is("intel"); }

static bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

#endif

static bool always() { return true; }

const Variant* variants(int* count) {
#define ADACONV_ENTRY(name, supported, preferred, ...) {#name, supported, preferred},
  static const Variant table[] = {ADACONV_VARIANTS(ADACONV_ENTRY)};
  *count = sizeof(table) / sizeof(table[0]);
  return table;
}

static int choose() {
  int count;
  const Variant* table = variants(&count);
  const char* wanted = std::getenv("ADACONV_CPU");
  if (wanted != nullptr && *wanted != '\0') {
    std::string names;
    for (int i = 0; i < count; ++i) {
      if (std::strcmp(table[i].name, wanted) == 0) {
        if (table[i].supported()) return i;
        throw std::runtime_error(std::string("ADACONV_CPU=") + wanted +
                                 ": this CPU has not these instructions");
      }
      names += (i ? ", " : "") + std::string(table[i].name);
    }
    throw std::runtime_error(std::string("ADACONV_CPU=") + wanted +
                             ": no such variant; this build has: " + names);
  }
  int i = 0;
  while (!table[i].supported() || !table[i].preferred()) ++i;
  return i;
}

int active_variant() {
  static const int active = choose();
  return active;
}

}  // namespace adaconv
