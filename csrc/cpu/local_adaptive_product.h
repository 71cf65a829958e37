// The one product that local adaptive convolution consists of, C[i][j] = sum_k A[i][k] B[k][j],
// with j in lanes. Its operands lie anywhere in memory: rows of A have addresses of their own, and
// k runs through three loops.
#pragma once

#include <utility>

#include "pack.h"
#include "parallel.h"

namespace adaconv::ADACONV_VARIANT::local {

// A block of C, which fills the registers beside what it is made from.
constexpr int kRows = kRegisters == 32 ? 8 : 4, kVectors = 3;
template <class T>
constexpr int kWidth = kVectors * kLanes<T>;

struct Loops {
  int64_t count[3];
  int64_t A[3], B[3];  // steps of each loop, in numbers
};

// C[i][kWidth]; reads whole vectors of B.
template <class T, int kSomeRows, int kSomeVectors>
void multiply_block(const T* const* A, const T* B, const Loops& loops, T* C) {
  V<T> c[kSomeRows][kSomeVectors] = {};
  for (int64_t u = 0; u < loops.count[0]; ++u) {
    for (int64_t v = 0; v < loops.count[1]; ++v) {
      const T *a[kSomeRows], *b = B + u * loops.B[0] + v * loops.B[1];
  ADACONV_UNROLL for (int i = 0; i < kSomeRows; ++i) {
        a[i] = A[i] + u * loops.A[0] + v * loops.A[1];
      }
      const int64_t step = loops.A[2], end = loops.count[2] * step;
      for (int64_t k = 0; k != end; k += step, b += loops.B[2]) {
        V<T> row[kSomeVectors];
        ADACONV_UNROLL for (int j = 0; j < kSomeVectors; ++j) row[j] = load(b + j * kLanes<T>);
        ADACONV_UNROLL for (int i = 0; i < kSomeRows; ++i) {
          const V<T> ak = broadcast<T>(a[i][k]);
          ADACONV_UNROLL for (int j = 0; j < kSomeVectors; ++j) c[i][j] += ak * row[j];
        }
      }
    }
  }
  ADACONV_UNROLL for (int i = 0; i < kSomeRows; ++i) {
    ADACONV_UNROLL for (int j = 0; j < kSomeVectors; ++j) {
      store(C + i * kWidth<T> + j * kLanes<T>, c[i][j]);
    }
  }
}

template <class T>
using MultiplyBlock = decltype(&multiply_block<T, 1, 1>);

template <class T, int... kIndex>
MultiplyBlock<T> multiply_block_of(int rows, int vectors, std::integer_sequence<int, kIndex...>) {
  static constexpr MultiplyBlock<T> table[] = {
      &multiply_block<T, kIndex / kVectors + 1, kIndex % kVectors + 1>...};
  return table[(rows - 1) * kVectors + vectors - 1];
}

// Calls use(i, j, count, values) for each row i of C and each run of its columns from j on.
template <class T, class RowOf, class Use>
ADACONV_INLINE void multiply(int64_t rows, RowOf row_of, int64_t columns, const T* B,
                             const Loops& loops, Use use) {
  const int64_t vectors = (columns + kLanes<T> - 1) / kLanes<T>;
  const int64_t panels = (vectors + kVectors - 1) / kVectors, blocks = (rows + kRows - 1) / kRows;
  alignas(kAlignment) T C[kRows * kWidth<T>];
  for (int64_t panel = 0; panel < panels; ++panel) {
    const int64_t j = vectors * panel / panels * kLanes<T>;
    const int64_t end = min(columns, vectors * (panel + 1) / panels * kLanes<T>);
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t first = rows * block / blocks;
      const int count = static_cast<int>(rows * (block + 1) / blocks - first);
      const T* A[kRows];
      for (int i = 0; i < count; ++i) A[i] = row_of(first + i);
      multiply_block_of<T>(
          count, static_cast<int>((end - j + kLanes<T> - 1) / kLanes<T>),
          std::make_integer_sequence<int, kRows * kVectors>())(A, B + j, loops, C);
      for (int i = 0; i < count; ++i) use(first + i, j, end - j, C + i * kWidth<T>);
    }
  }
}

// The first `count` numbers of a vector; the others are 0, or stay as they are.
template <class T>
ADACONV_INLINE V<T> load_first(const T* from, int64_t count) {
  if (count >= kLanes<T>) return load(from);
  T lanes[kLanes<T>] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = from[i];
  return load(lanes);
}
template <class T>
ADACONV_INLINE void store_first(T* to, V<T> v, int64_t count) {
  if (count >= kLanes<T>) return store(to, v);
  T lanes[kLanes<T>];
  store(lanes, v);
  for (int64_t i = 0; i < count; ++i) to[i] = lanes[i];
}

// Calls use(i, left) for the vectors from number i on, of which `left` numbers are meant.
template <class T, class Use>
ADACONV_INLINE void for_each_vector(int64_t count, Use use) {
  int64_t i = 0;
  for (; i + kLanes<T> <= count; i += kLanes<T>) use(i, int64_t{kLanes<T>});
  if (i < count) use(i, count - i);
}

// to[i] += factor values[i], whole vectors of values being in memory.
template <class T>
ADACONV_INLINE void add_multiple(T* to, T factor, const T* values, int64_t count) {
  const V<T> factors = broadcast<T>(factor);
  for_each_vector<T>(count, [&](int64_t i, int64_t left) {
    store_first(to + i, load_first(to + i, left) + factors * load(values + i), left);
  });
}

template <class T>
ADACONV_INLINE V<T> activated(V<T> w, T slope) {
  return slope == 0 ? relu<T>(w) : w > V<T>{} ? w : w * broadcast<T>(slope);
}

}  // namespace adaconv::ADACONV_VARIANT::local
