// How fast this instruction set multiplies and adds where nothing else limits it: independent
// chains in registers, more of them than an FMA takes cycles. The bound of every kernel here.
#include "multiply_rates.h"
#include "panels.h"
#include "parallel.h"
#include "vec.h"

namespace adaconv::ADACONV_VARIANT {

constexpr int kChains = kRegisters == 32 ? 24 : 12;

// A link of a chain: `step` makes so many operations.
template <class T>
struct Multiply {
  using Scalar = T;
  static constexpr int64_t operations = 2 * kLanes<T>;
  V<T> factor = broadcast<T>(T(0.5)), term = broadcast<T>(T(0.25));
  ADACONV_INLINE V<Scalar> step(V<Scalar> s) const { return s * factor + term; }
};

#if defined(__AMX_BF16__)
static int64_t multiply_tiles(int64_t wanted) {
  const int threads = max_threads();
  const int64_t round = 4 * 2 * 16 * 16 * 32 * threads, rounds = (wanted + round - 1) / round;
#pragma omp parallel num_threads(threads)
  {
    const TileScope scope;  // clears the registers
    for (int64_t r = 0; r < rounds; ++r) {
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  return rounds * round;
}
#elif defined(__AVX512BF16__)
struct MultiplyPairs {
  using Scalar = float;
  static constexpr int64_t operations = 4 * kLanes<float>;
  __m512bh pair = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.5f));
  ADACONV_INLINE V<Scalar> step(V<Scalar> s) const {
    return reinterpret_cast<V<float>>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(s), pair, pair));
  }
};
#endif

// Runs the chains on every thread until at least `wanted` operations are done; returns how many.
template <class Chain>
static int64_t multiply(int64_t wanted) {
  const int threads = max_threads();
  const int64_t round = Chain::operations * kChains * threads;
  const int64_t rounds = (wanted + round - 1) / round;
  double total = 0;
#pragma omp parallel num_threads(threads) reduction(+ : total)
  {
    const Chain chain;
    V<typename Chain::Scalar> sums[kChains];
    for (int i = 0; i < kChains; ++i) sums[i] = broadcast<typename Chain::Scalar>(i);
    for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 32
      for (int i = 0; i < kChains; ++i) sums[i] = chain.step(sums[i]);
    }
    for (int i = 0; i < kChains; ++i) total += sums[i][0];
  }
  // The sum is read, or nothing would have to be computed.
  return total == 0 ? 0 : rounds * round;
}

#if defined(__AMX_BF16__)
constexpr auto kMultiplyBf16 = &multiply_tiles;
#elif defined(__AVX512BF16__)
constexpr auto kMultiplyBf16 = &multiply<MultiplyPairs>;
#else
constexpr auto kMultiplyBf16 = &multiply<Multiply<float>>;
#endif

extern const MultiplyRates multiply_rates = {&multiply<Multiply<float>>,
                                             &multiply<Multiply<double>>, kMultiplyBf16};

}  // namespace adaconv::ADACONV_VARIANT
