// The kernels of minibatch discrimination for one instruction set; compiled once for each variant.
//
// Each b is a problem of its own and a task of one thread, so that the result does not depend on
// their number. Its points lie transposed in scratch memory: a row i is compared with a block of
// columns j, one in each lane. Nothing is kept of the pairs; the backward pass forms k anew.
#include "minibatch_discrimination.h"

#include "exp.h"
#include "parallel.h"
#include "vec.h"

namespace adaconv::ADACONV_VARIANT {

static constexpr int kVectors = 4;  // of a block, so that the latencies of exp overlap
template <class T>
static constexpr int kBlock = kVectors * kLanes<T>;

template <class T>
using Bits = typename Vec<T>::bits;
template <class T>
using Lane = std::remove_reference_t<decltype(Bits<T>{}[0])>;

template <class T>
ADACONV_INLINE Bits<T> bits(V<T> v) {
  return reinterpret_cast<Bits<T>>(v);
}

template <class T>
ADACONV_INLINE Bits<T> sign_bit() {
  return bits<T>(broadcast(T(-0.0)));
}

template <class T>
ADACONV_INLINE V<T> magnitude(V<T> v) {
  return reinterpret_cast<V<T>>(bits<T>(v) & ~sign_bit<T>());
}

// a times the sign of d, which is 0 where d is.
template <class T>
ADACONV_INLINE V<T> times_sign(V<T> a, V<T> d) {
  const Bits<T> product = bits<T>(a) ^ (bits<T>(d) & sign_bit<T>());
  return reinterpret_cast<V<T>>(product & (d != V<T>{}));
}

static int64_t blocks_of(int64_t count, int64_t block) { return (count + block - 1) / block; }

// One b of a set: values[c * stride + i], zeros beyond the last i.
template <class T>
struct Points {
  int64_t count, stride, size;
  T* values;

  Points(int64_t count, int64_t size, Arena& arena)
      : count(count),
        stride(blocks_of(count, kBlock<T>) * kBlock<T>),
        size(size),
        values(arena.take<T>(bytes(count, size) / sizeof(T))) {
    std::memset(values, 0, bytes(count, size));
  }

  static int64_t bytes(int64_t count, int64_t size) {
    return blocks_of(count, kBlock<T>) * kBlock<T> * size * sizeof(T);
  }

  T& at(int64_t i, int64_t c) { return values[c * stride + i]; }

  // To and from an array (count, kernels, size).
  void read(const T* from, int64_t kernels, int64_t b) {
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t c = 0; c < size; ++c) at(i, c) = from[(i * kernels + b) * size + c];
    }
  }
  void write(T* to, int64_t kernels, int64_t b) {
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t c = 0; c < size; ++c) to[(i * kernels + b) * size + c] = at(i, c);
    }
  }
};

// Calls block(i, j, k) with k of row i and of the columns from j on, 0 where they do not count,
// then row(i). Where the set is compared with itself, each pair comes once: j > i.
template <class T, bool kItself, class Block, class Row>
ADACONV_INLINE void for_pairs(Points<T>& x, Points<T>& z, int64_t skip, Arena& arena, Block block,
                              Row row) {
  Lane<T>* keep = arena.take<Lane<T>>(z.stride);
  for (int64_t j = 0; j < z.stride; ++j) keep[j] = j < z.count ? -1 : 0;
  for (int64_t i = 0; i < x.count; ++i) {
    const int64_t own = kItself ? i : i + skip;
    const bool skips = own >= 0 && own < z.count;
    if (skips) keep[own] = 0;
    for (int64_t j = kItself ? (i + 1) / kBlock<T> * kBlock<T> : 0; j < z.stride; j += kBlock<T>) {
      V<T> k[kVectors] = {};
      for (int64_t c = 0; c < x.size; ++c) {
  ADACONV_UNROLL
        for (int u = 0; u < kVectors; ++u) {
          k[u] += magnitude<T>(x.at(i, c) - load(&z.at(j + u * kLanes<T>, c)));
        }
      }
      ADACONV_UNROLL
      for (int u = 0; u < kVectors; ++u) {
        Bits<T> counts;
        std::memcpy(&counts, keep + j + u * kLanes<T>, sizeof(counts));
        k[u] = reinterpret_cast<V<T>>(bits<T>(exp_negative<T>(k[u])) & counts);
      }
      block(i, j, k);
    }
    row(i);
    if (skips && !kItself) keep[own] = -1;
  }
}

template <class T, bool kItself>
static void forward_one(const MinibatchDiscrimination<T>& call, int64_t b, T* o, Arena arena) {
  Points<T> x(call.rows, call.size, arena);
  x.read(call.M, call.kernels, b);
  Points<T> others(kItself ? 0 : call.others, call.size, arena);
  if (!kItself) others.read(call.Z, call.kernels, b);
  Points<T>& z = kItself ? x : others;
  Points<T> sums(call.rows, 1, arena);
  V<T> sum_of_row{};
  for_pairs<T, kItself>(
      x, z, call.skip, arena,
      [&](int64_t, int64_t j, const V<T>* k) {
        ADACONV_UNROLL
        for (int u = 0; u < kVectors; ++u) {
          sum_of_row += k[u];
          if (!kItself) continue;
          T* to = &sums.at(j + u * kLanes<T>, 0);
          store(to, load(to) + k[u]);
        }
      },
      [&](int64_t i) {
        sums.at(i, 0) += sum<T>(sum_of_row);
        sum_of_row = V<T>{};
      });
  sums.write(o, call.kernels, b);
}

// Of a pair, t = g k and m = t sign(x - z): the gradient of z is the sum of m, that of x minus
// that. In a set that is compared with itself, both outputs of a pair pass theirs on.
template <class T, bool kItself>
static void backward_one(const MinibatchDiscrimination<T>& call, int64_t b, const T* g, T* gM,
                         T* gZ, Arena arena) {
  Points<T> x(call.rows, call.size, arena), gx(call.rows, call.size, arena);
  x.read(call.M, call.kernels, b);
  Points<T> others(kItself ? 0 : call.others, call.size, arena);
  Points<T> gothers(kItself ? 0 : call.others, call.size, arena);
  if (!kItself) others.read(call.Z, call.kernels, b);
  Points<T>&z = kItself ? x : others, &gz = kItself ? gx : gothers;
  Points<T> given(call.rows, 1, arena);
  given.read(g, call.kernels, b);
  T* of_row = arena.take<T>(call.size * kLanes<T>);
  std::memset(of_row, 0, call.size * sizeof(V<T>));
  for_pairs<T, kItself>(
      x, z, call.skip, arena,
      [&](int64_t i, int64_t j, const V<T>* k) {
        V<T> t[kVectors];
        ADACONV_UNROLL
        for (int u = 0; u < kVectors; ++u) {
          const V<T> g_i = broadcast(given.at(i, 0));
          t[u] = k[u] * (kItself ? g_i + load(&given.at(j + u * kLanes<T>, 0)) : g_i);
        }
        for (int64_t c = 0; c < x.size; ++c) {
          V<T> total = load(of_row + c * kLanes<T>);
          ADACONV_UNROLL
          for (int u = 0; u < kVectors; ++u) {
            const V<T> d = x.at(i, c) - load(&z.at(j + u * kLanes<T>, c));
            const V<T> m = times_sign<T>(t[u], d);
            T* to = &gz.at(j + u * kLanes<T>, c);
            store(to, load(to) + m);
            total += m;
          }
          store(of_row + c * kLanes<T>, total);
        }
      },
      [&](int64_t i) {
        for (int64_t c = 0; c < x.size; ++c) {
          gx.at(i, c) -= sum<T>(load(of_row + c * kLanes<T>));
          store(of_row + c * kLanes<T>, V<T>{});
        }
      });
  gx.write(gM, call.kernels, b);
  if (!kItself) gothers.write(gZ, call.kernels, b);
}

// Bytes of scratch memory: two copies of each set, the sums or gradients of the rows, the flags of
// the columns, and a vector for each c.
template <class T>
static size_t scratch(const MinibatchDiscrimination<T>& call) {
  using P = Points<T>;
  return 2 * (aligned(P::bytes(call.rows, call.size)) + aligned(P::bytes(call.others, call.size))) +
         aligned(P::bytes(call.rows, 1)) +
         aligned(P::bytes(call.Z ? call.others : call.rows, 1)) +
         aligned(call.size * sizeof(V<T>));
}

template <class T>
static void forward(const MinibatchDiscrimination<T>& call, T* o) {
  const Arenas arenas(scratch(call));
#pragma omp parallel for schedule(dynamic, 4)
  for (int64_t b = 0; b < call.kernels; ++b) {
    (call.Z ? forward_one<T, false> : forward_one<T, true>)(call, b, o, arenas.mine());
  }
}

template <class T>
static void backward(const MinibatchDiscrimination<T>& call, const T* g, T* gM, T* gZ) {
  const Arenas arenas(scratch(call));
#pragma omp parallel for schedule(dynamic, 4)
  for (int64_t b = 0; b < call.kernels; ++b) {
    (call.Z ? backward_one<T, false> : backward_one<T, true>)(call, b, g, gM, gZ, arenas.mine());
  }
}

extern const MinibatchDiscriminationChoices minibatch_discrimination = {
    {&forward<float>, &backward<float>}, {&forward<double>, &backward<double>}};

}  // namespace adaconv::ADACONV_VARIANT
