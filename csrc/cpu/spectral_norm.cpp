// The kernels of spectral normalisation for one instruction set; compiled once for each variant.
//
// A step of power iteration reads each W once: with s = W v, the sum of s_i W_i is Wt u but for the
// norm of s, and is formed while row i is still in cache. sigma costs nothing more: with t = Wt u
// the new v is t / |t|, so that sigma = t v. Sums over rows are made of each block by itself and
// added up in order: the result does not depend on the number of threads.
#include "spectral_norm.h"

#include <cmath>

#include "parallel.h"
#include "vec.h"

namespace adaconv::ADACONV_VARIANT {

static constexpr int kTogether = 4;  // rows that share what they read and write

template <class T>
static T dot(const T* a, const T* b, int64_t count) {
  constexpr int kSums = 4;
  V<T> sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums * kLanes<T> <= count; i += kSums * kLanes<T>) {
  ADACONV_UNROLL
    for (int k = 0; k < kSums; ++k) {
      sums[k] += load(a + i + k * kLanes<T>) * load(b + i + k * kLanes<T>);
    }
  }
  T total = sum<T>((sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (; i < count; ++i) total += a[i] * b[i];
  return total;
}

// to += s_0 row_0 + ... + s_(n-1) row_(n-1), for n rows one behind another.
template <class T, int n>
static void add_rows(const T* rows, const T* s, int64_t columns, T* to) {
  int64_t j = 0;
  for (; j + kLanes<T> <= columns; j += kLanes<T>) {
    V<T> total = load(to + j);
    ADACONV_UNROLL
    for (int r = 0; r < n; ++r) total += s[r] * load(rows + r * columns + j);
    store(to + j, total);
  }
  for (; j < columns; ++j) {
    for (int r = 0; r < n; ++r) to[j] += s[r] * rows[r * columns + j];
  }
}

template <class T>
static void scale(const T* from, int64_t count, T factor, T* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = from[i] * factor;
}

template <class T>
static T at_least(T value, T eps) {
  return value < eps ? eps : value;  // NaN stays
}

template <class T>
static bool vanishes(T sigma, T eps) {
  return std::fabs(sigma) < eps;
}

template <class T>
static T reciprocal(T sigma, T eps) {
  return 1 / (vanishes(sigma, eps) ? eps : sigma);
}

// Where the block's rows begin, in W and what has its shape.
template <class T>
static int64_t offset(const SpectralMatrix<T>& m, const SpectralBlock& block) {
  return block.first * m.columns;
}

// u <- W v and sums <- the sum of u_i W_i, of the block's rows.
template <class T>
static void multiply(const SpectralMatrix<T>& m, const SpectralBlock& block, T* sums) {
  std::memset(sums, 0, m.columns * sizeof(T));
  const T* W = m.W + offset(m, block);
  T* u = m.u + block.first;
  for (int64_t i = 0; i < block.rows; i += kTogether) {
    const int64_t rows = min<int64_t>(kTogether, block.rows - i);
    for (int64_t r = i; r < i + rows; ++r) u[r] = dot(W + r * m.columns, m.v, m.columns);
    if (rows == kTogether) {
      add_rows<T, kTogether>(W + i * m.columns, u + i, m.columns, sums);
    } else {
      for (int64_t r = i; r < i + rows; ++r) add_rows<T, 1>(W + r * m.columns, u + r, m.columns, sums);
    }
  }
}

// Calls work(matrix, block, that block's numbers of `columns`) for every block.
template <class T, class Work>
static void for_blocks(const SpectralNorm<T>& call, T* numbers, int64_t columns, Work work) {
#pragma omp parallel for schedule(dynamic)
  for (int64_t i = 0; i < call.block_count; ++i) {
    const SpectralBlock& block = call.blocks[i];
    work(call.matrices[block.matrix], block, numbers + i * columns);
  }
}

// Calls work(the numbers of a block) for every block of a matrix, in order.
template <class T, class Work>
static void for_own(const SpectralNorm<T>& call, int64_t matrix, const T* numbers, int64_t columns,
                    Work work) {
  for (int64_t i = 0; i < call.block_count; ++i) {
    if (call.blocks[i].matrix == matrix) work(numbers + i * columns);
  }
}

// The end of a step: u = W v / |W v|, then v and sigma from t = Wt u.
template <class T>
static void finish(const SpectralNorm<T>& call, int64_t matrix, const T* sums, int64_t columns) {
  const SpectralMatrix<T>& m = call.matrices[matrix];
  T* t = m.v;
  std::memset(t, 0, m.columns * sizeof(T));
  const T one = 1;
  for_own(call, matrix, sums, columns, [&](const T* own) { add_rows<T, 1>(own, &one, m.columns, t); });
  const T u_norm = at_least(std::sqrt(dot(m.u, m.u, m.rows)), call.eps);
  scale(m.u, m.rows, 1 / u_norm, m.u);
  scale(t, m.columns, 1 / u_norm, t);
  const T square = dot(t, t, m.columns);
  const T v_norm = at_least(std::sqrt(square), call.eps);
  scale(t, m.columns, 1 / v_norm, m.v);
  *m.sigma = square / v_norm;
}

template <class T>
static void forward(const SpectralNorm<T>& call, int64_t iterations) {
  const int64_t columns = aligned(call.most_columns * sizeof(T)) / sizeof(T);
  const Arenas arenas(call.block_count * columns * sizeof(T), 1);
  T* sums = arenas.first().template take<T>(call.block_count * columns);
  for (int64_t step = 0; step < iterations; ++step) {
    for_blocks(call, sums, columns, &multiply<T>);
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < call.count; ++i) finish(call, i, sums, columns);
  }
  if (iterations == 0) {
    for_blocks(call, sums, columns, [](const auto& m, const SpectralBlock& block, T* sum) {
      *sum = 0;
      for (int64_t r = block.first; r < block.first + block.rows; ++r) {
        *sum += m.u[r] * dot(m.W + r * m.columns, m.v, m.columns);
      }
    });
    for (int64_t i = 0; i < call.count; ++i) {
      T& sigma = *call.matrices[i].sigma = 0;
      for_own(call, i, sums, columns, [&](const T* own) { sigma += *own; });
    }
  }
  for_blocks(call, sums, columns, [&](const auto& m, const SpectralBlock& block, T*) {
    const int64_t at = offset(m, block);
    scale(m.W + at, block.rows * m.columns, reciprocal(*m.sigma, call.eps), m.result + at);
  });
}

template <class T>
static void backward(const SpectralNorm<T>& call) {
  const Arenas arenas(call.block_count * sizeof(T), 1);
  T* products = arenas.first().template take<T>(call.block_count);
  for_blocks(call, products, 1, [](const auto& m, const SpectralBlock& block, T* product) {
    const int64_t at = offset(m, block);
    *product = dot(m.g + at, m.W + at, block.rows * m.columns);
  });
  for_blocks(call, products, 1, [&](const auto& m, const SpectralBlock& block, T*) {
    T product = 0;
    for_own(call, block.matrix, products, 1, [&](const T* own) { product += *own; });
    const T factor = reciprocal(*m.sigma, call.eps);
    const T slope = vanishes(*m.sigma, call.eps) ? 0 : product * factor * factor;
    for (int64_t r = block.first; r < block.first + block.rows; ++r) {
      const T of_row = slope * m.u[r];
      const T* g = m.g + r * m.columns;
      T* to = m.result + r * m.columns;
      for (int64_t j = 0; j < m.columns; ++j) to[j] = g[j] * factor - of_row * m.v[j];
    }
  });
}

extern const SpectralNormChoices spectral_norm = {{&forward<float>, &backward<float>},
                                                  {&forward<double>, &backward<double>}};

}  // namespace adaconv::ADACONV_VARIANT
