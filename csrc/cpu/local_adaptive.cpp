// The kernels of local adaptive convolution for one instruction set; compiled once for each
// variant.
//
// The weights W of some rows of the grid are regressed into scratch memory, where the backward pass
// replaces them by their gradients. With X the patches of the pixels that have a point g as a
// neighbour, and a those pixels' filter values for g, the products are
//
//   W = P d       regression                     Z = X W_g       y += a Z
//   R = gy W_g    ga = sum X R,  gx += a R       gW_g = (a gy) X
//   gd += gW P    gP += gW d
//
// Patches are read where they lie in the picture.
#include "local_adaptive.h"

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

template <class T>
ADACONV_INLINE V<T> activated(V<T> w, T slope) {
  return slope == 0 ? relu<T>(w) : w > V<T>{} ? w : w * broadcast<T>(slope);
}

// Where P has the weight that W, of which the taps come before the channels, has at a place.
inline int64_t place_in_P(const LocalAdaptiveShape& s, int64_t output, int64_t row) {
  return output * s.rows() + row % s.group_in() * s.taps() + row / s.group_in();
}

// The regression matrix as panels of kWidth weights, [panel][feature][weight], and q behind the
// last feature.
template <class T>
struct Regression {
  const LocalAdaptiveShape& s;
  T* panels;

  int64_t count() const { return (s.weights() + kWidth<T> - 1) / kWidth<T>; }
  int64_t panel_size() const { return (s.features + 1) * kWidth<T>; }
  int64_t row() const { return staggered<T>(count() * kWidth<T>); }  // of W

  // Weights get the order in which place_of(i) tells their place in P.
  template <class PlaceOf>
  void pack(const T* P, const T* q, PlaceOf place_of) const {
#pragma omp parallel for if (worth_threads(s))
    for (int64_t panel = 0; panel < count(); ++panel) {
      T* to = panels + panel * panel_size();
      for (int64_t i = 0; i < kWidth<T>; ++i, ++to) {
        const bool used = panel * kWidth<T> + i < s.weights();
        const int64_t place = used ? place_of(panel * kWidth<T> + i) : 0;
        const T* from = P + place * s.features;
        for (int64_t k = 0; k < s.features; ++k) to[k * kWidth<T>] = used ? from[k] : T(0);
        to[s.features * kWidth<T>] = used && q != nullptr ? q[place] : T(0);
      }
    }
  }

  // W[point][weight] = act(P d + q), with the slope of act below 0.
  void regress(const T* d, int64_t points, double slope, T* W) const {
#pragma omp parallel for schedule(dynamic) if (worth_threads(s))
    for (int64_t panel = 0; panel < count(); ++panel) {
      const T *P = panels + panel * panel_size(), *q = P + s.features * kWidth<T>;
      multiply<T>(
          points, [&](int64_t g) {
        return d + g * s.features; }, kWidth<T>, P,
          {{1, 1, s.features}, {0, 0, 1}, {0, 0, kWidth<T>}},
          [&](int64_t g, int64_t, int64_t, const T* values) {
        T* to = W + g * row() + panel * kWidth<T>;
    ADACONV_UNROLL for (int64_t i = 0; i < kWidth<T>; i += kLanes<T>) {
              store(to + i, activated<T>(load(values + i) + load(q + i), static_cast<T>(slope)));
            }
          });
    }
  }
};

// The pixels that have one point of the grid as a neighbour, row by row.
template <class T>
struct Pixels {
  Range rows, columns;
  int64_t count;
  int64_t *x, *y;  // where each is: the first value of its patch, of its output
  T* a;            // its filter's value for the point, or the sum of several

  static size_t bytes(const LocalAdaptiveShape& s) {
    return most_pixels(s) * (2 * sizeof(int64_t) + sizeof(T)) + 3 * kAlignment;
  }

  Pixels(const LocalAdaptiveShape& s, int64_t n, int64_t row, int64_t column, const T* filters,
         Arena& arena)
      : rows(down(s).pixels(row)),
        columns(across(s).pixels(column)),
        count(rows.size() * columns.size()),
        x(arena.take<int64_t>(most_pixels(s))),
        y(arena.take<int64_t>(most_pixels(s))),
        a(arena.take<T>(most_pixels(s))) {
    for_each_filter(s, row, column, [&](int64_t i, int64_t h, int64_t w, Range v, Range u) {
      x[i] = ((n * s.height + h * s.stride_h) * s.width + w * s.stride_w) * s.in_channels;
      y[i] = (n * s.out_height + h) * s.out_width + w;
      a[i] = 0;
      for_each_neighbour(s, v, u, [&](int64_t j) { a[i] += filters[y[i] * s.side * s.side + j]; });
    });
  }

  // ga[pixel][j] = values[i] for those neighbours j that are the point.
  void spread(const LocalAdaptiveShape& s, int64_t row, int64_t column, const T* values,
              T* ga) const {
    for_each_filter(s, row, column, [&](int64_t i, int64_t, int64_t, Range v, Range u) {
      for_each_neighbour(s, v, u, [&](int64_t j) { ga[y[i] * s.side * s.side + j] = values[i]; });
    });
  }

 private:
  template <class Use>
  void for_each_filter(const LocalAdaptiveShape& s, int64_t row, int64_t column, Use use) const {
    int64_t i = 0;
    for (int64_t h = rows.first; h < rows.last; ++h) {
      const Range v = down(s).neighbours(h, row);
      for (int64_t w = columns.first; w < columns.last; ++w, ++i) {
        use(i, h, w, v, across(s).neighbours(w, column));
      }
    }
  }
  template <class Use>
  static void for_each_neighbour(const LocalAdaptiveShape& s, Range v, Range u, Use use) {
    for (int64_t i = v.first; i < v.last; ++i) {
      for (int64_t j = u.first; j < u.last; ++j) use(i * s.side + j);
    }
  }
};

// The values of a patch that lie together: of a row of taps, or of one.
struct Runs {
  int64_t down, across, length;
  int64_t step_down, step_across;

  explicit Runs(const LocalAdaptiveShape& s)
      : down(s.kernel_h),
        across(s.kernel_w),
        length(s.group_in()),
        step_down(s.dilation_h * s.width * s.in_channels),
        step_across(s.dilation_w * s.in_channels) {
    if (s.groups == 1 && s.dilation_w == 1) {
      length *= across;
      across = 1;
    }
  }

  int64_t count() const { return down * across; }
  int64_t at(int64_t run) const { return run / across * step_down + run % across * step_across; }
};

template <class T>
void forward(const LocalAdaptiveForward<T>& call) {
  const LocalAdaptiveShape& s = call.shape;
  const int64_t points = band_rows(s) * s.grid_w(), outputs = s.group_out();
  Regression<T> regression{s, nullptr};
  const int64_t size_of_W = points * regression.row() + kWidth<T>;
  const Arenas shared((regression.count() * regression.panel_size() + size_of_W) * sizeof(T) +
                          2 * kAlignment,
                      1);
  const Arenas arenas(Pixels<T>::bytes(s));
  Arena arena = shared.first();
  regression.panels = arena.take<T>(regression.count() * regression.panel_size());
  T* W = arena.take<T>(size_of_W);
  regression.pack(call.P, call.q, [&](int64_t weight) {  // outputs are lanes
    const int64_t group = weight / (outputs * s.rows());
    return place_in_P(s, group * outputs + weight % outputs, weight / outputs % s.rows());
  });
  const Runs runs(s);
  const Loops patch{{runs.down, runs.across, runs.length},
                    {runs.step_down, runs.step_across, 1},
                    {runs.across * runs.length * outputs, runs.length * outputs, outputs}};

  for (int64_t first = 0; first < s.batch * s.grid_h(); first += band_rows(s)) {
    const Range band{first, min(first + band_rows(s), s.batch * s.grid_h())};
    regression.regress(call.d + band.first * s.grid_w() * s.features, band.size() * s.grid_w(),
                       s.negative_slope, W);
    for_each_point(s, band, [&](int64_t n, int64_t row, int64_t column) {
      Arena mine = arenas.mine();
      const Pixels<T> pixels(s, n, row, column, call.a, mine);
      const T* w = W + ((n * s.grid_h() + row - band.first) * s.grid_w() + column) *
                           regression.row();
      for (int64_t group = 0; group < s.groups; ++group, w += outputs * s.rows()) {
        const T* x = call.x + group * s.group_in();
        T* y = call.y + group * outputs;
        multiply<T>(
            pixels.count, [&](int64_t p) { return x + pixels.x[p]; }, outputs, w, patch,
            [&](int64_t p, int64_t o, int64_t count, const T* values) {
              add_multiple(y + pixels.y[p] * s.out_channels + o, pixels.a[p], values, count);
            });
      }
    });
  }
}

template <class T>
struct Backward {
  const LocalAdaptiveBackward<T>& call;
  const LocalAdaptiveShape& s = call.shape;
  const Runs runs{s};

  static size_t point_bytes(const LocalAdaptiveShape& s) {
    const int64_t a_pixel = s.group_out() + kLanes<T> + 1;
    const int64_t values = most_pixels(s) * a_pixel + s.group_out() * s.rows() + kWidth<T>;
    return Pixels<T>::bytes(s) + values * sizeof(T) + 4 * kAlignment;
  }

  // Adds to gx and ga, and replaces the point's weights w, before their activation, by their
  // gradients.
  void differentiate(int64_t n, int64_t row, int64_t column, T* w, Arena arena) const {
    const int64_t weights = s.group_out() * s.rows();
    const Pixels<T> pixels(s, n, row, column, call.a, arena);
    T* gy = arena.take<T>(pixels.count * s.group_out());
    T* ga = arena.take<T>(pixels.count * kLanes<T>);  // before lanes are summed
    T* sums = arena.take<T>(pixels.count);
    T* active = arena.take<T>(weights + kWidth<T>);
    zero(ga, pixels.count * kLanes<T>);
    for (int64_t group = 0; group < s.groups; ++group, w += weights) {
      if (call.gx != nullptr) {
        const T slope = static_cast<T>(s.negative_slope);
        for (int64_t i = 0; i < weights; i += kLanes<T>) {
          store(active + i, activated<T>(load(w + i), slope));
        }
        differentiate_inputs(pixels, group, active, ga);
      }
      if (call.gP != nullptr) differentiate_weights(pixels, group, w, gy);
    }
    for (int64_t p = 0; p < pixels.count; ++p) sums[p] = sum<T>(load(ga + p * kLanes<T>));
    if (call.ga != nullptr) pixels.spread(s, row, column, sums, call.ga);
  }

  void differentiate_inputs(const Pixels<T>& pixels, int64_t group, const T* w, T* ga) const {
    const T* gy = call.gy + group * s.group_out();
    for (int64_t run = 0; run < runs.count(); ++run) {
      const int64_t at = group * s.group_in() + runs.at(run);
      multiply<T>(
          pixels.count, [&](int64_t p) { return gy + pixels.y[p] * s.out_channels; }, runs.length,
          w + run * runs.length, {{1, 1, s.group_out()}, {0, 0, 1}, {0, 0, s.rows()}},
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
    const Loops over_pixels{
        {1, pixels.rows.size(), columns},
        {0, columns * outputs, outputs},
        {0, s.stride_h * s.width * s.in_channels, s.stride_w * s.in_channels}};
    for (int64_t run = 0; run < runs.count(); ++run) {
      const T* x = call.x + pixels.x[0] + group * s.group_in() + runs.at(run);
      multiply<T>(
          outputs, [&](int64_t o) { return gy + o; }, runs.length, x, over_pixels,
          [&](int64_t o, int64_t c, int64_t count, const T* values) {
            T* to = w + o * s.rows() + run * runs.length + c;
            for_each_vector<T>(count, [&](int64_t i, int64_t left) {
              const V<T> g = load(values + i), below = leaky ? g * slopes : V<T>{};
              store_first(to + i, load(to + i) > V<T>{} ? g : below, left);
            });
          });
    }
  }

  // Adds to gd, gP and gq what comes from the weights of some points.
  void collect(const T* W, int64_t row, int64_t first, int64_t points, const Arenas& arenas) const {
    const int64_t parts = min<int64_t>(points, max_threads()), features = s.features;
    Loops of_output{{1, s.group_in(), s.taps()},
                    {0, 1, s.group_in()},
                    {0, s.taps() * features, features}};
    if (s.taps() == 1) of_output = {{1, 1, s.rows()}, {0, 0, 1}, {0, 0, features}};
#pragma omp parallel for if (worth_threads(s))
    for (int64_t part = 0; part < parts; ++part) {
      const int64_t begin = points * part / parts, end = points * (part + 1) / parts;
      for (int64_t o = 0; o < s.out_channels; ++o) {
        multiply<T>(
            end - begin, [&](int64_t g) { return W + (begin + g) * row + o * s.rows(); }, features,
            call.P + o * s.rows() * features, of_output,
            [&](int64_t g, int64_t k, int64_t count, const T* values) {
              add_multiple(call.gd + (first + begin + g) * features + k, T(1), values, count);
            });
      }
    }
#pragma omp parallel for schedule(dynamic) if (worth_threads(s))
    for (int64_t weight = 0; weight < s.weights(); weight += kWidth<T>) {
      Arena arena = arenas.mine();
      T *packed = arena.take<T>(points * kWidth<T>), *sums = arena.take<T>(kWidth<T>);
      ADACONV_UNROLL for (int64_t i = 0; i < kWidth<T>; i += kLanes<T>) {
        V<T> total = {};
        for (int64_t g = 0; g < points; ++g) {
          const V<T> w = load(W + g * row + weight + i);
          store(packed + g * kWidth<T> + i, w);
          total += w;
        }
        store(sums + i, total);
      }
      const auto place = [&](int64_t i) {
        return place_in_P(s, (weight + i) / s.rows(), (weight + i) % s.rows());
      };
      const int64_t some = min<int64_t>(kWidth<T>, s.weights() - weight);
      for (int64_t i = 0; i < some; ++i) call.gq[place(i)] += sums[i];
      multiply<T>(
          some, [&](int64_t i) { return packed + i; }, features, call.d + first * features,
          {{1, 1, points}, {0, 0, kWidth<T>}, {0, 0, features}},
          [&](int64_t i, int64_t k, int64_t count, const T* values) {
            add_multiple(call.gP + place(i) * features + k, T(1), values, count);
          });
    }
  }
};

template <class T>
void backward(const LocalAdaptiveBackward<T>& call) {
  const LocalAdaptiveShape& s = call.shape;
  const int64_t points = band_rows(s) * s.grid_w();
  Regression<T> regression{s, nullptr};
  const int64_t size_of_W = points * regression.row() + kWidth<T>;
  const Arenas shared((regression.count() * regression.panel_size() + size_of_W) * sizeof(T) +
                          2 * kAlignment,
                      1);
  const size_t point_bytes = Backward<T>::point_bytes(s);
  const size_t panel_bytes = (points + 1) * kWidth<T> * sizeof(T) + 2 * kAlignment;
  const Arenas arenas(point_bytes < panel_bytes ? panel_bytes : point_bytes);
  Arena arena = shared.first();
  regression.panels = arena.take<T>(regression.count() * regression.panel_size());
  T* W = arena.take<T>(size_of_W);
  regression.pack(call.P, call.q, [&](int64_t weight) {
    return place_in_P(s, weight / s.rows(), weight % s.rows());
  });
  const Backward<T> pass{call};

  for (int64_t first = 0; first < s.batch * s.grid_h(); first += band_rows(s)) {
    const Range band{first, min(first + band_rows(s), s.batch * s.grid_h())};
    const int64_t first_point = band.first * s.grid_w(), some = band.size() * s.grid_w();
    regression.regress(call.d + first_point * s.features, some, 1, W);
    for_each_point(s, band, [&](int64_t n, int64_t row, int64_t column) {
      const int64_t point = (n * s.grid_h() + row) * s.grid_w() + column;
      pass.differentiate(n, row, column, W + (point - first_point) * regression.row(),
                         arenas.mine());
    });
    if (call.gP != nullptr) pass.collect(W, regression.row(), first_point, some, arenas);
  }
}

}  // namespace local

extern const LocalAdaptiveKernelsByType local_adaptive = {
    {&local::forward<float>, &local::backward<float>},
    {&local::forward<double>, &local::backward<double>},
    {}};

}  // namespace adaconv::ADACONV_VARIANT
