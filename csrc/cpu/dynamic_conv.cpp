// The kernels of dynamic convolution for one instruction set; compiled once for each variant.
//
// A weight is used by one output, or by one of each group that shares it, and memory is the limit:
// the loops pass over the weights in the order of memory, once, and keep the rest in the caches.
#include "dynamic_conv_parts.h"

namespace adaconv::ADACONV_VARIANT::dynamic {

// sums[i] += a[i] b[i]
template <class T>
static void multiply_add(const T* a, const Sum<T>* b, int64_t count, Sum<T>* sums) {
  constexpr int kStep = kLanes<Sum<T>>;
  int64_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    store(sums + i, load(sums + i) + load_wide(a + i) * load(b + i));
  }
  for (; i < count; ++i) sums[i] += convert<Sum<T>>(a[i]) * b[i];
}

// products[i] = a[i] b[i]
template <class T>
static void multiply(const Sum<T>* a, const Sum<T>* b, int64_t count, T* products) {
  constexpr int kStep = kLanes<Sum<T>>;
  int64_t i = 0;
  for (; i + kStep <= count; i += kStep) store_narrow(products + i, load(a + i) * load(b + i));
  for (; i < count; ++i) products[i] = convert<T>(a[i] * b[i]);
}

template <class T>
static void forward(const DynamicConvForward<T>& call) {
  const DynamicConvShape& s = call.shape;
  const Parts parts(s, s.groups, s.group_out(), s.out_height);
  const int64_t channels = parts.channels();
  const int64_t sum_count = parts.items() * parts.pixels();
  const int64_t patch_count = channels * parts.patch_values();
  const size_t bytes =
      (sum_count + patch_count) * sizeof(Sum<T>) + parts.pixels() * sizeof(T) + 3 * kAlignment;

  parts.for_each(bytes, [&](const Part& part, Arena arena) {
    const Patches patches{s, part.first, part.last + Patches::reach(s)};
    const int64_t rows = part.last - part.first, pixels = rows * s.out_width;
    const int64_t first_out = part.group * s.group_out() + part.begin;
    auto* sums = arena.take<Sum<T>>(sum_count);
    auto* packed = arena.take<Sum<T>>(patch_count);
    T* copied = arena.take<T>(parts.pixels());

    if (call.b.data != nullptr) {
      pack_rows(call.b, part.n, first_out, part.end - part.begin, part.first, part.last,
                s.out_width, sums);
    } else {
      zero(sums, (part.end - part.begin) * pixels);
    }
    for (int64_t begin = 0; begin < s.group_in(); begin += channels) {
      const int64_t end = min(begin + channels, s.group_in());
      patches.pack(call.x, part.n, part.group * s.group_in() + begin, end - begin, packed);
      for (int64_t i = part.begin; i < part.end; ++i) {
        const int64_t filter = s.first_filter(part.group) + i;
        for_each_tap(s, begin, end, [&](int64_t c, int64_t u, int64_t v) {
          const T* w = run_of(call.w.at(part.n, filter, c, u, v, part.first), call.w, rows,
                              s.out_width, copied);
          multiply_add(w, packed + patches.at(c - begin, u, v, part.first), pixels,
                       sums + (i - part.begin) * pixels);
        });
      }
    }
    unpack_rows(call.y, part.n, first_out, part.end - part.begin, part.first, part.last,
                s.out_width, sums);
  });
}

// Parts are of channels here, and of the picture's rows, so that no two add to the same gradient.
template <class T>
static void input(const DynamicConvInput<T>& call) {
  const DynamicConvShape& s = call.shape;
  const int64_t reach = Patches::reach(s);
  const Parts parts(s, s.groups, s.group_in(), s.out_height + reach);
  const int64_t channels = min(parts.channels(), parts.items());
  const int64_t gradient_count = s.group_out() * parts.pixels(reach);
  const int64_t patch_count = channels * parts.patch_values();
  const size_t bytes =
      (gradient_count + patch_count) * sizeof(Sum<T>) + parts.pixels() * sizeof(T) + 3 * kAlignment;

  parts.for_each(bytes, [&](const Part& part, Arena arena) {
    const Patches patches{s, part.first, part.last};
    const int64_t top = clamp<int64_t>(part.first - reach, 0, s.out_height);
    const int64_t bottom = min(part.last, s.out_height), pixels = (bottom - top) * s.out_width;
    auto* gy = arena.take<Sum<T>>(gradient_count);
    auto* packed = arena.take<Sum<T>>(patch_count);
    T* copied = arena.take<T>(parts.pixels());

    pack_rows(call.gy, part.n, part.group * s.group_out(), s.group_out(), top, bottom, s.out_width,
              gy);
    for (int64_t begin = part.begin; begin < part.end; begin += channels) {
      const int64_t end = min(begin + channels, part.end);
      zero(packed, (end - begin) * patches.values());
      for (int64_t i = 0; i < s.group_out(); ++i) {
        const int64_t filter = s.first_filter(part.group) + i;
        for_each_tap(s, begin, end, [&](int64_t c, int64_t u, int64_t v) {
          // The output rows whose tap u falls on this part.
          const int64_t below = Patches::below(s, u);
          const int64_t first = clamp<int64_t>(part.first - below, 0, s.out_height);
          const int64_t last = clamp<int64_t>(part.last - below, first, s.out_height);
          if (first == last) return;
          const T* w = run_of(call.w.at(part.n, filter, c, u, v, first), call.w, last - first,
                              s.out_width, copied);
          multiply_add(w, gy + i * pixels + (first - top) * s.out_width,
                       (last - first) * s.out_width, packed + patches.at(c - begin, u, v, first));
        });
      }
      patches.unpack_add(call.gx, part.n, part.group * s.group_in() + begin, end - begin, packed);
    }
  });
}

// Parts are of filters here: one that several groups share gathers what they add to it.
template <class T>
static void weight(const DynamicConvWeight<T>& call) {
  const DynamicConvShape& s = call.shape;
  const Parts parts(s, s.groups / s.sharing(), s.group_out(), s.out_height);
  const int64_t channels = parts.channels(), taps = s.group_in() * s.taps();
  const int64_t gradient_count = parts.items() * parts.pixels();
  const int64_t patch_count = channels * parts.patch_values();
  const int64_t sum_count = s.sharing() == 1 ? 0 : taps * parts.pixels();
  const size_t bytes = (gradient_count + patch_count + sum_count) * sizeof(Sum<T>) + 3 * kAlignment;

  prefer_huge_pages(call.gw, s.batch * s.filters * taps * s.out_height * s.out_width * sizeof(T));
  parts.for_each(bytes, [&](const Part& part, Arena arena) {
    const Patches patches{s, part.first, part.last + Patches::reach(s)};
    const int64_t pixels = (part.last - part.first) * s.out_width;
    auto* gy = arena.take<Sum<T>>(gradient_count);
    auto* packed = arena.take<Sum<T>>(patch_count);
    auto* sums = arena.take<Sum<T>>(sum_count);
    const int64_t first_group = part.group * s.sharing(), last_group = first_group + s.sharing();
    const auto gw = [&](int64_t i, int64_t tap) {
      const int64_t filter = part.n * s.filters + s.first_filter(first_group) + i;
      return call.gw + ((filter * taps + tap) * s.out_height + part.first) * s.out_width;
    };

    if (s.sharing() > 1) zero(sums, taps * pixels);
    for (int64_t group = first_group; group < last_group; ++group) {
      pack_rows(call.gy, part.n, group * s.group_out() + part.begin, part.end - part.begin,
                part.first, part.last, s.out_width, gy);
      for (int64_t begin = 0; begin < s.group_in(); begin += channels) {
        const int64_t end = min(begin + channels, s.group_in());
        patches.pack(call.x, part.n, group * s.group_in() + begin, end - begin, packed);
        for (int64_t i = part.begin; i < part.end; ++i) {
          const auto* g = gy + (i - part.begin) * pixels;
          for_each_tap(s, begin, end, [&](int64_t c, int64_t u, int64_t v) {
            const int64_t tap = (c * s.kernel_h + u) * s.kernel_w + v;
            const auto* x = packed + patches.at(c - begin, u, v, part.first);
            if (s.sharing() > 1) {
              multiply_add<Sum<T>>(g, x, pixels, sums + tap * pixels);
            } else {
              multiply(g, x, pixels, gw(i, tap));
            }
          });
        }
      }
    }
    for (int64_t tap = 0; tap < taps && s.sharing() > 1; ++tap) {
      copy(gw(0, tap), 1, sums + tap * pixels, 1, pixels);
    }
  });
}

template <class T>
static constexpr DynamicConvKernel<T> kKernel = {&forward<T>, &input<T>, &weight<T>};

}  // namespace adaconv::ADACONV_VARIANT::dynamic

namespace adaconv::ADACONV_VARIANT {

extern const DynamicConvKernels dynamic_conv = {dynamic::kKernel<float>, dynamic::kKernel<double>,
                                                dynamic::kKernel<Bf16>};

}  // namespace adaconv::ADACONV_VARIANT
