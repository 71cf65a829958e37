// Products of panels of bf16 pairs with sums in fp32, by AMX tiles or by vdpbf16ps.
//
// fp32 can be multiplied so, too: with kTerms = 2 a number stands as the sum of two of bf16, and
// three of the four products of terms are kept, which leaves a relative error of 2^-16.
#pragma once

#if defined(__AMX_BF16__) || defined(__AVX512BF16__)
#define ADACONV_PANELS 1

#include "vec.h"

namespace adaconv::ADACONV_VARIANT {

// 16 rows of 16 pairs. On the left of a product a row is one of the result's and a pair lies along
// the inner dimension, on the right a row is a pair and a lane is a column of the result.
struct alignas(64) Words {
  uint32_t row[16][16];
};

using Pairs = Vec<float>::bits;

template <int kTerms>
struct Path;  // which terms are multiplied, such that one of the two changes at a time
template <>
struct Path<1> {
  static constexpr int kSteps = 1, left[] = {0}, right[] = {0};
};
template <>
struct Path<2> {
  static constexpr int kSteps = 3, left[] = {1, 0, 0}, right[] = {0, 0, 1};
};

// The terms of a (low halves of the words) and b (high halves), 2 * kTerms rows apart of each
// other: a panel holds two Words for each term.
template <int kTerms>
ADACONV_INLINE void split(V<float> a, V<float> b, Words* to, int row) {
  ADACONV_UNROLL for (int term = 0; term < kTerms; ++term) {
    Pairs low = __builtin_bit_cast(Pairs, a), high = __builtin_bit_cast(Pairs, b);
    if (term == kTerms - 1) low += 0x8000, high += 0x8000;  // to the nearest
    const Pairs top_low = low & static_cast<int32_t>(0xffff0000);
    const Pairs top_high = high & static_cast<int32_t>(0xffff0000);
    const Pairs words = __builtin_bit_cast(
        Pairs, _mm512_or_si512(_mm512_srli_epi32(__builtin_bit_cast(__m512i, low), 16),
                               __builtin_bit_cast(__m512i, top_high)));
    std::memcpy(to[2 * term].row[row], &words, sizeof(words));
    a -= __builtin_bit_cast(V<float>, top_low);
    b -= __builtin_bit_cast(V<float>, top_high);
  }
}

inline void transpose(Words& words) {
  __m512i rows[16];
  ADACONV_UNROLL for (int i = 0; i < 16; ++i) rows[i] = _mm512_load_si512(words.row[i]);
  ADACONV_UNROLL for (int step = 1; step < 16; step *= 2) {
    Pairs first, second;
    for (int lane = 0; lane < 16; ++lane) {
      first[lane] = lane & step ? 16 + (lane ^ step) : lane;
      second[lane] = lane & step ? 16 + lane : lane ^ step;
    }
    ADACONV_UNROLL for (int i = 0; i < 16; ++i) {
      if (i & step) continue;
      const __m512i a = rows[i], b = rows[i + step];
      rows[i] = _mm512_permutex2var_epi32(a, __builtin_bit_cast(__m512i, first), b);
      rows[i + step] = _mm512_permutex2var_epi32(a, __builtin_bit_cast(__m512i, second), b);
    }
  }
  ADACONV_UNROLL for (int i = 0; i < 16; ++i) _mm512_store_si512(words.row[i], rows[i]);
}

// C[i][j] = start[i] + the sum over blocks and pairs of terms of A[block][term][i] B[block][term][j],
// for i, j in 0, 1. Steps between blocks are counted in Words.
struct Result {
  alignas(64) float of[2][2][16][16];
};
struct Start {
  alignas(64) float of[2][16][16];
};

#if defined(__AMX_BF16__)

struct alignas(64) TileConfiguration {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileConfiguration kTileConfiguration;

// The tile registers are configured, and cleared, while one of these lives. (The intrinsic reads
// only a part of its argument as far as the compiler knows.)
struct TileScope {
  TileScope() { asm volatile("ldtilecfg %0" ::"m"(kTileConfiguration)); }
  ~TileScope() { _tile_release(); }
};

template <int kTerms, int kStep>
ADACONV_INLINE void multiply_terms(const Words* A, const Words* B) {
  using P = Path<kTerms>;
  if constexpr (kStep < P::kSteps) {
    if constexpr (kStep == 0 || P::left[kStep] != P::left[kStep - (kStep > 0)]) {
      _tile_loadd(4, A + 2 * P::left[kStep], 64);
      _tile_loadd(5, A + 2 * P::left[kStep] + 1, 64);
    }
    if constexpr (kStep == 0 || P::right[kStep] != P::right[kStep - (kStep > 0)]) {
      _tile_loadd(6, B + 2 * P::right[kStep], 64);
      _tile_loadd(7, B + 2 * P::right[kStep] + 1, 64);
    }
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    multiply_terms<kTerms, kStep + 1>(A, B);
  }
}

template <int kTerms>
ADACONV_INLINE void multiply(const Words* A, int64_t A_step, const Words* B, int64_t B_step,
                             int64_t blocks, const Start* start, Result& C) {
  asm volatile("" ::: "memory");  // the intrinsics do not say that they read memory
  if (start != nullptr) {
    _tile_loadd(0, start->of[0], 64);
    _tile_loadd(1, start->of[0], 64);
    _tile_loadd(2, start->of[1], 64);
    _tile_loadd(3, start->of[1], 64);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t block = 0; block < blocks; ++block, A += A_step, B += B_step) {
    multiply_terms<kTerms, 0>(A, B);
  }
  _tile_stored(0, C.of[0][0], 64);
  _tile_stored(1, C.of[0][1], 64);
  _tile_stored(2, C.of[1][0], 64);
  _tile_stored(3, C.of[1][1], 64);
  asm volatile("" ::: "memory");
}

#else

struct TileScope {
  ~TileScope() {}
};

template <int kTerms>
ADACONV_INLINE void multiply(const Words* A, int64_t A_step, const Words* B, int64_t B_step,
                             int64_t blocks, const Start* start, Result& C) {
  using P = Path<kTerms>;
  for (int tile = 0; tile < 4; ++tile) {
    const int i = tile / 2, j = tile % 2;
    __m512 total[16];
    ADACONV_UNROLL for (int r = 0; r < 16; ++r) {
      total[r] = start == nullptr ? _mm512_setzero_ps() : _mm512_load_ps(start->of[i][r]);
    }
    for (int64_t block = 0; block < blocks; ++block) {
      for (int step = 0; step < P::kSteps; ++step) {
        const Words& left = A[block * A_step + 2 * P::left[step] + i];
        const Words& right = B[block * B_step + 2 * P::right[step] + j];
        for (int pair = 0; pair < 16; ++pair) {
          const __m512bh b = (__m512bh)_mm512_load_si512(right.row[pair]);
          ADACONV_UNROLL for (int r = 0; r < 16; ++r) {
            total[r] = _mm512_dpbf16_ps(total[r], (__m512bh)_mm512_set1_epi32(left.row[r][pair]), b);
          }
        }
      }
    }
    ADACONV_UNROLL for (int r = 0; r < 16; ++r) _mm512_store_ps(C.of[i][j][r], total[r]);
  }
}

#endif

// Has use(i) follow make(i + 1), so that what a product waits for hides behind the use of another.
template <class Make, class Use>
ADACONV_INLINE void one_ahead(int64_t count, Make make, Use use) {
  for (int64_t i = 0; i <= count; ++i) {
    if (i < count) make(i);
    if (i > 0) use(i - 1);
  }
}

}  // namespace adaconv::ADACONV_VARIANT

#endif
