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

// products[i] = sum over `terms` k of a[k a_step + i] b[k b_step + i]
template <class T>
static void sum_products(const Sum<T>* a, int64_t a_step, const Sum<T>* b, int64_t b_step,
                         int64_t terms, int64_t count, T* products) {
  constexpr int kStep = kLanes<Sum<T>>;
  int64_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    V<Sum<T>> total = load(a + i) * load(b + i);
    for (int64_t k = 1; k < terms; ++k) {
      total += load(a + k * a_step + i) * load(b + k * b_step + i);
    }
    store_narrow(products + i, total);
  }
  for (; i < count; ++i) {
    Sum<T> total = a[i] * b[i];
    for (int64_t k = 1; k < terms; ++k) total += a[k * a_step + i] * b[k * b_step + i];
    products[i] = convert<T>(total);
  }
}

template <class T>
static void forward(const DynamicConvForward<T>& call) {
  const DynamicConvShape& s = call.shape;
  const Parts parts(s, s.unit_filters(), s.out_height);
  const int64_t groups = s.unit_groups(), channels = parts.channels();
  const int64_t sum_count = parts.items() * groups * parts.pixels();
  const size_t bytes = (sum_count + channels * parts.patch_values()) * sizeof(Sum<T>) +
                       parts.pixels() * sizeof(T) + 3 * kAlignment;

  parts.for_each(bytes, [&](const Part& part, Arena arena) {
    const Patches patches{s, part.first, part.last + Patches::reach(s)};
    const int64_t rows = part.last - part.first, pixels = rows * s.out_width;
    const int64_t first_filter = part.unit * s.unit_filters();
    const int64_t first_out = part.unit * s.unit_outputs() + part.begin;
    const int64_t outputs = part.items() * groups;
    auto* sums = arena.take<Sum<T>>(sum_count);
    auto* packed = arena.take<Sum<T>>(channels * parts.patch_values());
    T* copied = arena.take<T>(parts.pixels());

    if (call.b.data != nullptr) {
      pack_rows(call.b, part.n, first_out, outputs, part.first, part.last, s.out_width, sums);
    } else {
      zero(sums, outputs * pixels);
    }
    for_each_slice(0, s.group_in(), channels, [&](int64_t begin, int64_t end) {
      for_each_channel(patches, part.unit, begin, end, [&](int64_t channel, int64_t at) {
        patches.pack(call.x, part.n, channel, packed + at);
      });
      const int64_t group_values = (end - begin) * patches.values();
      for (int64_t i = 0; i < part.items(); ++i) {
        const int64_t filter = first_filter + part.begin + i;
        for_each_tap(s, begin, end, [&](int64_t c, int64_t u, int64_t v) {
          const T* w = run_of(call.w.at(part.n, filter, c, u, v, part.first), call.w, rows,
                              s.out_width, copied);
          const auto* x = packed + (c - begin) * patches.values() + patches.at(u, v, part.first);
          for (int64_t group = 0; group < groups; ++group) {
            multiply_add(w, x + group * group_values, pixels, sums + (i + group) * pixels);
          }
        });
      }
    });
    unpack_rows(call.y, part.n, first_out, outputs, part.first, part.last, s.out_width, sums);
  });
}

// Parts are of channels here, and of rows of the picture, so that no two add to the same gradient.
template <class T>
static void input(const DynamicConvInput<T>& call) {
  const DynamicConvShape& s = call.shape;
  const int64_t reach = Patches::reach(s), groups = s.unit_groups();
  const Parts parts(s, s.group_in(), s.out_height + reach);
  const int64_t channels = min(parts.channels(), parts.items());
  const int64_t gradient_count = s.unit_outputs() * parts.pixels(reach);
  const size_t bytes = (gradient_count + channels * parts.patch_values()) * sizeof(Sum<T>) +
                       parts.pixels() * sizeof(T) + 3 * kAlignment;

  parts.for_each(bytes, [&](const Part& part, Arena arena) {
    const Patches patches{s, part.first, part.last};
    const int64_t top = clamp<int64_t>(part.first - reach, 0, s.out_height);
    const int64_t bottom = min(part.last, s.out_height), pixels = (bottom - top) * s.out_width;
    auto* gy = arena.take<Sum<T>>(gradient_count);
    auto* packed = arena.take<Sum<T>>(channels * parts.patch_values());
    T* copied = arena.take<T>(parts.pixels());

    pack_rows(call.gy, part.n, part.unit * s.unit_outputs(), s.unit_outputs(), top, bottom,
              s.out_width, gy);
    for_each_slice(part.begin, part.end, channels, [&](int64_t begin, int64_t end) {
      const int64_t group_values = (end - begin) * patches.values();
      zero(packed, groups * group_values);
      for (int64_t filter = 0; filter < s.unit_filters(); ++filter) {
        for_each_tap(s, begin, end, [&](int64_t c, int64_t u, int64_t v) {
          // The output rows whose tap u falls on this part.
          const int64_t below = Patches::below(s, u);
          const int64_t first = clamp<int64_t>(part.first - below, 0, s.out_height);
          const int64_t last = clamp<int64_t>(part.last - below, first, s.out_height);
          if (first == last) return;
          const T* w =
              run_of(call.w.at(part.n, part.unit * s.unit_filters() + filter, c, u, v, first),
                     call.w, last - first, s.out_width, copied);
          const auto* g = gy + filter * pixels + (first - top) * s.out_width;
          auto* gx = packed + (c - begin) * patches.values() + patches.at(u, v, first);
          for (int64_t group = 0; group < groups; ++group) {
            multiply_add(w, g + group * pixels, (last - first) * s.out_width,
                         gx + group * group_values);
          }
        });
      }
      for_each_channel(patches, part.unit, begin, end, [&](int64_t channel, int64_t at) {
        patches.unpack_add(call.gx, part.n, channel, packed + at);
      });
    });
  });
}

template <class T>
static void weight(const DynamicConvWeight<T>& call) {
  const DynamicConvShape& s = call.shape;
  const Parts parts(s, s.unit_filters(), s.out_height);
  const int64_t groups = s.unit_groups(), channels = parts.channels();
  const int64_t gradient_count = parts.items() * groups * parts.pixels();
  const size_t bytes =
      (gradient_count + channels * parts.patch_values()) * sizeof(Sum<T>) + 2 * kAlignment;

  parts.for_each(bytes, [&](const Part& part, Arena arena) {
    const Patches patches{s, part.first, part.last + Patches::reach(s)};
    const int64_t pixels = (part.last - part.first) * s.out_width;
    const int64_t first_filter = part.unit * s.unit_filters();
    auto* gy = arena.take<Sum<T>>(gradient_count);
    auto* packed = arena.take<Sum<T>>(channels * parts.patch_values());

    pack_rows(call.gy, part.n, part.unit * s.unit_outputs() + part.begin, part.items() * groups,
              part.first, part.last, s.out_width, gy);
    for_each_slice(0, s.group_in(), channels, [&](int64_t begin, int64_t end) {
      for_each_channel(patches, part.unit, begin, end, [&](int64_t channel, int64_t at) {
        patches.pack(call.x, part.n, channel, packed + at);
      });
      const int64_t group_values = (end - begin) * patches.values();
      for (int64_t i = 0; i < part.items(); ++i) {
        const int64_t filter = part.n * s.filters + first_filter + part.begin + i;
        for_each_tap(s, begin, end, [&](int64_t c, int64_t u, int64_t v) {
          const int64_t tap = ((filter * s.group_in() + c) * s.kernel_h + u) * s.kernel_w + v;
          const auto* x = packed + (c - begin) * patches.values() + patches.at(u, v, part.first);
          sum_products(gy + i * pixels, pixels, x, group_values, groups, pixels,
                       call.gw + (tap * s.out_height + part.first) * s.out_width);
        });
      }
    });
  });
}

template <class T>
static constexpr DynamicConvKernel<T> kKernel = {&forward<T>, &input<T>, &weight<T>};

}  // namespace adaconv::ADACONV_VARIANT::dynamic

namespace adaconv::ADACONV_VARIANT {

extern const DynamicConvKernels dynamic_conv = {dynamic::kKernel<float>, dynamic::kKernel<double>,
                                                dynamic::kKernel<Bf16>};

}  // namespace adaconv::ADACONV_VARIANT
