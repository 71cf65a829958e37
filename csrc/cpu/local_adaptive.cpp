// The kernels of local adaptive convolution for one instruction set; compiled once for each
// variant.
//
// The weights W of some rows of the grid, for a part of each patch, are regressed into scratch
// memory, where the backward pass replaces them by their gradients. With X the patches of the
// pixels that have a point g as a neighbour, and a those pixels' filter values for g, the products
// are
//
//   W = P d       regression                     Z = X W_g       y += a Z
//   R = gy W_g    ga = sum X R,  gx += a R       gW_g = (a gy) X
//   gd += gW P    gP += gW d
//
// Patches are read where they lie in the picture. Where every channel is convolved by itself there
// is nothing to multiply but in the regression, see local_adaptive_depthwise.h.
#include "local_adaptive.h"

#include "local_adaptive_depthwise.h"
#include "local_adaptive_grid.h"
#include "local_adaptive_product.h"

namespace adaconv::ADACONV_VARIANT {

namespace local {

// Rows do not start at the same place of a page, which would leave sets of the first cache unused.
template <class T>
int64_t staggered(int64_t values) {
  constexpr int64_t kLine = kAlignment / sizeof(T);
  return ((values + kLine - 1) / kLine | 1) * kLine;
}

// The regression matrix of each run as panels of kWidth weights, [run][panel][feature][weight], and
// q behind the last feature; and W, the weights of some points for one run. Those of a point are
// [block of outputs][value][output], with blocks of `lanes` outputs.
//
// Where points are few, P is read where it lies: they are the lanes then, and the panels are
// theirs.
template <class T>
struct Regression {
  const LocalAdaptiveShape& s;
  const T *P, *q;
  int64_t lanes;
  Runs runs{s};
  int64_t points = band_rows(s) * s.grid_w();
  T *panels = nullptr, *W = nullptr;

  int64_t weights() const { return s.out_channels * runs.length; }  // of a point for a run
  int64_t count() const { return (weights() + kWidth<T> - 1) / kWidth<T>; }
  int64_t panel_size() const { return (s.features + 1) * kWidth<T>; }
  int64_t row() const { return staggered<T>(count() * kWidth<T>); }  // of W

  bool few() const { return s.batch * s.grid_h() * s.grid_w() <= kWidth<T>; }
  int64_t panels_size() const { return few() ? panel_size() : runs.count * count() * panel_size(); }
  int64_t W_size() const { return points * row() + kWidth<T>; }
  size_t bytes() const { return (panels_size() + W_size()) * sizeof(T) + 2 * kAlignment; }
  void take(Arena arena) {
    panels = arena.take<T>(panels_size());
    W = arena.take<T>(W_size());
  }

  // Where P has a weight of a run.
  int64_t place(int64_t run, int64_t weight) const {
    const int64_t block = weight / (lanes * runs.length), i = weight % (lanes * runs.length);
    return runs.place(s, block * lanes + i % lanes, run, i / lanes);
  }

  void pack() const {
    if (few()) return;
#pragma omp parallel for if (worth_threads(s))
    for (int64_t panel = 0; panel < runs.count * count(); ++panel) {
      T* to = panels + panel * panel_size();
      for (int64_t i = 0; i < kWidth<T>; ++i, ++to) {
        const int64_t weight = panel % count() * kWidth<T> + i;
        const bool used = weight < weights();
        const int64_t at = used ? place(panel / count(), weight) : 0;
        const T* from = P + at * s.features;
        for (int64_t k = 0; k < s.features; ++k) to[k * kWidth<T>] = used ? from[k] : T(0);
        to[s.features * kWidth<T>] = used && q != nullptr ? q[at] : T(0);
      }
    }
  }

  // W[point][weight] = act(P d + q), with the slope of act below 0.
  void regress(int64_t run, const T* d, int64_t some, T slope) const {
    if (few()) return regress_few(run, d, some, slope);
#pragma omp parallel for schedule(dynamic) if (worth_threads(s))
    for (int64_t panel = 0; panel < count(); ++panel) {
      const T* P = panels + (run * count() + panel) * panel_size();
      const T* q = P + s.features * kWidth<T>;
      multiply<T>(
          some, [&](int64_t g) {
        return d + g * s.features; }, kWidth<T>, P,
          {{1, 1, s.features}, {0, 0, 1}, {0, 0, kWidth<T>}},
          [&](int64_t g, int64_t, int64_t, const T* values) {
        T* to = W + g * row() + panel * kWidth<T>;
    ADACONV_UNROLL for (int64_t i = 0; i < kWidth<T>; i += kLanes<T>) {
              store(to + i, activated<T>(load(values + i) + load(q + i), slope));
            }
          });
    }
  }

  void regress_few(int64_t run, const T* d, int64_t some, T slope) const {
    for (int64_t k = 0; k < s.features; ++k) {
      T* to = panels + k * kWidth<T>;
      for (int64_t g = 0; g < kWidth<T>; ++g) to[g] = g < some ? d[g * s.features + k] : T(0);
    }
    constexpr int64_t kStep = 64;
#pragma omp parallel for if (worth_threads(s))
    for (int64_t first = 0; first < weights(); first += kStep) {
      multiply<T>(
          min(kStep, weights() - first),
          [&](int64_t i) { return P + place(run, first + i) * s.features; }, some, panels,
          {{1, 1, s.features}, {0, 0, 1}, {0, 0, kWidth<T>}},
          [&](int64_t i, int64_t g, int64_t count, T* values) {
            const V<T> bias = broadcast<T>(q == nullptr ? T(0) : q[place(run, first + i)]);
            for (int64_t v = 0; v < count; v += kLanes<T>) {
              store(values + v, activated<T>(load(values + v) + bias, slope));
            }
            for (int64_t v = 0; v < count; ++v) W[(g + v) * row() + first + i] = values[v];
          });
    }
  }
};

// Calls use(run, band, first, points) for all bands of rows of the grid, from the point `first` on,
// and all runs.
template <class Use>
void for_each_band(const LocalAdaptiveShape& s, Use use) {
  const int64_t rows = s.batch * s.grid_h();
  for (int64_t first = 0; first < rows; first += band_rows(s)) {
    const Range band{first, min(first + band_rows(s), rows)};
    for (int64_t run = 0; run < Runs(s).count; ++run) {
      use(run, band, first * s.grid_w(), band.size() * s.grid_w());
    }
  }
}

template <class T>
void forward(const LocalAdaptiveForward<T>& call) {
  const LocalAdaptiveShape& s = call.shape;
  const int64_t outputs = s.group_out();
  Regression<T> regression{s, call.P, call.q, s.depthwise() ? s.out_channels : outputs};
  const Runs& runs = regression.runs;
  const Arenas shared(regression.bytes(), 1), arenas(Pixels<T>::bytes(s));
  regression.take(shared.first());
  regression.pack();
  const Loops patch{{1, 1, runs.length}, {0, 0, 1}, {0, 0, outputs}};

  for_each_band(s, [&](int64_t run, Range band, int64_t first, int64_t points) {
    regression.regress(run, call.d + first * s.features, points, static_cast<T>(s.negative_slope));
    for_each_point(s, band, [&](int64_t n, int64_t row, int64_t column) {
      Arena mine = arenas.mine();
      const Pixels<T> pixels(s, n, row, column, call.a, mine);
      const int64_t point = (n * s.grid_h() + row) * s.grid_w() + column;
      T* w = regression.W + (point - first) * regression.row();
      if (s.depthwise()) return apply_channels(call, runs, pixels, w);
      for (int64_t group = 0; group < s.groups; ++group, w += outputs * runs.length) {
        const T* x = call.x + group * s.group_in() + runs.at(run);
        T* y = call.y + group * outputs;
        multiply<T>(
            pixels.count, [&](int64_t p) { return x + pixels.x[p]; }, outputs, w, patch,
            [&](int64_t p, int64_t o, int64_t count, const T* values) {
              add_multiple(y + pixels.y[p] * s.out_channels + o, pixels.a[p], values, count);
            });
      }
    });
  });
}

// The backward pass over one run.
template <class T>
struct Backward {
  const LocalAdaptiveBackward<T>& call;
  const Regression<T>& regression;
  int64_t run;
  const LocalAdaptiveShape& s = call.shape;
  const Runs& runs = regression.runs;

  static size_t point_bytes(const LocalAdaptiveShape& s) {
    const int64_t a_pixel = s.group_out() + kLanes<T> + 1;
    const int64_t values = most_pixels(s) * a_pixel + s.group_out() * Runs(s).length + kWidth<T>;
    return Pixels<T>::bytes(s) + values * sizeof(T) + 4 * kAlignment;
  }

  // Adds to gx and ga, and replaces the point's weights w, before their activation, by their
  // gradients.
  void differentiate(int64_t n, int64_t row, int64_t column, T* w, Arena arena) const {
    const Pixels<T> pixels(s, n, row, column, call.a, arena);
    T* ga = arena.take<T>(pixels.count * kLanes<T>);  // before lanes are summed
    T* sums = arena.take<T>(pixels.count);
    zero(ga, pixels.count * kLanes<T>);
    if (s.depthwise()) {
      differentiate_channels(call, runs, pixels, w, ga);
    } else {
      differentiate_groups(pixels, w, ga, arena);
    }
    if (call.ga == nullptr) return;
    for (int64_t p = 0; p < pixels.count; ++p) sums[p] = sum<T>(load(ga + p * kLanes<T>));
    pixels.spread(s, row, column, sums, call.ga);
  }

  void differentiate_groups(const Pixels<T>& pixels, T* w, T* ga, Arena arena) const {
    const int64_t weights = s.group_out() * runs.length;
    T* gy = arena.take<T>(pixels.count * s.group_out());
    T* active = arena.take<T>(weights + kWidth<T>);
    for (int64_t group = 0; group < s.groups; ++group, w += weights) {
      if (call.gx != nullptr) {
        const T slope = static_cast<T>(s.negative_slope);
        for (int64_t i = 0; i < weights; i += kLanes<T>) {
          store(active + i, activated<T>(load_first(w + i, weights - i), slope));
        }
        differentiate_inputs(pixels, group, active, ga);
      }
      if (call.gP != nullptr) differentiate_weights(pixels, group, w, gy);
    }
  }

  void differentiate_inputs(const Pixels<T>& pixels, int64_t group, const T* w, T* ga) const {
    const T* gy = call.gy + group * s.group_out();
    const int64_t at = group * s.group_in() + runs.at(run);
    multiply<T>(
        pixels.count, [&](int64_t p) { return gy + pixels.y[p] * s.out_channels; }, runs.length, w,
        {{1, 1, s.group_out()}, {0, 0, 1}, {0, 0, runs.length}},
        [&](int64_t p, int64_t c, int64_t count, const T* values) {
          T* gx = call.gx + pixels.x[p] + at + c;
          const T* x = call.x + pixels.x[p] + at + c;
          const V<T> a = broadcast<T>(pixels.a[p]);
          V<T> total = load(ga + p * kLanes<T>);
          for_each_vector<T>(count, [&](int64_t i, int64_t left) {
            const V<T> r = load_first(values + i, left);
            store_first(gx + i, load_first(gx + i, left) + a * r, left);
            total += load_first(x + i, left) * r;
          });
          store(ga + p * kLanes<T>, total);
        });
  }

  void differentiate_weights(const Pixels<T>& pixels, int64_t group, T* w, T* gy) const {
    const int64_t outputs = s.group_out();
    for (int64_t p = 0; p < pixels.count; ++p) {
      const T* from = call.gy + pixels.y[p] * s.out_channels + group * outputs;
      for (int64_t o = 0; o < outputs; ++o) gy[p * outputs + o] = pixels.a[p] * from[o];
    }
    const V<T> slopes = broadcast<T>(static_cast<T>(s.negative_slope));
    const bool leaky = s.negative_slope != 0;  // else what is not positive counts for nothing
    const int64_t columns = pixels.columns.size();
    const Loops over_pixels{{1, pixels.rows.size(), columns},
                            {0, columns * outputs, outputs},
                            {0, s.stride_h * s.width * s.in_channels, s.stride_w * s.in_channels}};
    multiply<T>(
        outputs, [&](int64_t o) { return gy + o; }, runs.length,
        call.x + pixels.x[0] + group * s.group_in() + runs.at(run), over_pixels,
        [&](int64_t o, int64_t c, int64_t count, const T* values) {
          T* to = w + o * runs.length + c;
          for_each_vector<T>(count, [&](int64_t i, int64_t left) {
            const V<T> g = load(values + i), below = leaky ? g * slopes : V<T>{};
            store_first(to + i, load_first(to + i, left) > V<T>{} ? g : below, left);
          });
        });
  }

  // Adds to gd what comes from the weights of some points from `first` on.
  void collect_features(int64_t first, int64_t points) const {
    const int64_t parts = min<int64_t>(points, max_threads()), features = s.features;
    // Outputs whose part of P stays in the second cache.
    const int64_t some = clamp<int64_t>((1 << 16) / (runs.length * features), 1, s.out_channels);
    const int64_t tap = features, channel = s.taps() * features, output = s.rows() * features;
    const int64_t next = s.depthwise() ? 1 : runs.length;  // step of W from output to output
    const T* P = call.P + runs.place(s, 0, run, 0) * features;
#pragma omp parallel for if (worth_threads(s))
    for (int64_t part = 0; part < parts; ++part) {
      const int64_t begin = points * part / parts, end = points * (part + 1) / parts;
      const T* W = regression.W + begin * regression.row();
      for (int64_t o = 0; o < s.out_channels; o += some) {
        const int64_t outputs = min(some, s.out_channels - o);
        Loops weights{{outputs, s.group_in(), runs.taps},
                      {next, 1, s.group_in()},
                      {output, channel, tap}};
        if (s.depthwise()) {  // the innermost loop should not be the shortest
          weights = {{1, runs.taps, outputs}, {0, s.out_channels, next}, {0, tap, output}};
        } else if (runs.taps == 1) {
          weights = {{1, outputs, s.group_in()}, {0, next, 1}, {0, output, channel}};
        }
        multiply<T>(
            end - begin, [&](int64_t g) { return W + g * regression.row() + o * next; }, features,
            P + o * output, weights,
            [&](int64_t g, int64_t k, int64_t count, const T* values) {
              add_multiple(call.gd + (first + begin + g) * features + k, T(1), values, count);
            });
      }
    }
  }

  // Likewise to gP and gq.
  void collect_weights(int64_t first, int64_t points, const Arenas& arenas) const {
    const int64_t features = s.features;
#pragma omp parallel for schedule(dynamic) if (worth_threads(s))
    for (int64_t weight = 0; weight < regression.weights(); weight += kWidth<T>) {
      Arena arena = arenas.mine();
      T *packed = arena.take<T>(points * kWidth<T>), *sums = arena.take<T>(kWidth<T>);
      ADACONV_UNROLL for (int64_t i = 0; i < kWidth<T>; i += kLanes<T>) {
        V<T> total = {};
        for (int64_t g = 0; g < points; ++g) {
          const V<T> w = load(regression.W + g * regression.row() + weight + i);
          store(packed + g * kWidth<T> + i, w);
          total += w;
        }
        store(sums + i, total);
      }
      const int64_t some = min<int64_t>(kWidth<T>, regression.weights() - weight);
      for (int64_t i = 0; i < some; ++i) call.gq[regression.place(run, weight + i)] += sums[i];
      multiply<T>(
          some, [&](int64_t i) { return packed + i; }, features, call.d + first * features,
          {{1, 1, points}, {0, 0, kWidth<T>}, {0, 0, features}},
          [&](int64_t i, int64_t k, int64_t count, const T* values) {
            T* to = call.gP + regression.place(run, weight + i) * features;
            add_multiple(to + k, T(1), values, count);
          });
    }
  }
};

template <class T>
void backward(const LocalAdaptiveBackward<T>& call) {
  const LocalAdaptiveShape& s = call.shape;
  Regression<T> regression{s, call.P, call.q, s.depthwise() ? s.out_channels : 1};
  const size_t point_bytes = Backward<T>::point_bytes(s);
  const size_t panel_bytes = (regression.points + 1) * kWidth<T> * sizeof(T) + 2 * kAlignment;
  const Arenas shared(regression.bytes(), 1);
  const Arenas arenas(point_bytes < panel_bytes ? panel_bytes : point_bytes);
  regression.take(shared.first());
  regression.pack();

  for_each_band(s, [&](int64_t run, Range band, int64_t first, int64_t points) {
    const Backward<T> pass{call, regression, run};
    regression.regress(run, call.d + first * s.features, points, 1);
    for_each_point(s, band, [&](int64_t n, int64_t row, int64_t column) {
      const int64_t point = (n * s.grid_h() + row) * s.grid_w() + column;
      T* w = regression.W + (point - first) * regression.row();
      pass.differentiate(n, row, column, w, arenas.mine());
    });
    if (call.gP == nullptr) return;
    pass.collect_features(first, points);
    pass.collect_weights(first, points, arenas);
  });
}

}  // namespace local

extern const LocalAdaptiveKernelsByType local_adaptive = {
    {&local::forward<float>, &local::backward<float>},
    {&local::forward<double>, &local::backward<double>},
    {}};

}  // namespace adaconv::ADACONV_VARIANT
