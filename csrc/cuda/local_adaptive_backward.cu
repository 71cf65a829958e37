// The gradients of local adaptive convolution; local_adaptive_launch.cuh says what the arguments
// are.
#include "local_adaptive_backward.cuh"
#include "local_adaptive_launch.cuh"
#include "sum.cuh"

namespace adaconv::cuda::local_adaptive {

namespace {

// The gradients, of float32; null where they are missing.
struct Gradients {
  float *x, *d, *P, *q, *a;

  Gradients(const Tensor& gx, const Tensor& gd, const Tensor& gP, const Tensor& gq,
            const Tensor& ga)
      : x(data(gx)), d(data(gd)), P(data(gP)), q(data(gq)), a(data(ga)) {}

  bool of_weights() const { return d != nullptr || P != nullptr || q != nullptr; }

 private:
  static float* data(const Tensor& tensor) { return static_cast<float*>(tensor.data); }
};

// What belongs to a chunk, and into how many runs the sums over it are cut.
template <class T>
struct Memory {
  Plan plan;
  int features_runs, matrix_runs, biases_runs;
  T *W, *u;
  float *sums, *spans, *features, *matrix, *biases;

  Memory(Scratch& scratch, const Chunk<T>& all, const Gradients& to, const int* options)
      : plan(plan_of(all, options, all.grid.slots() * sizeof(T),
                     to.x == nullptr ? 0 : all.span() * all.all_channels * sizeof(float))) {
    const int64_t points = plan.points, slots = points * all.grid.slots(), D = all.features;
    const int64_t weights = int64_t{plan.outputs} * all.taps();
    const int group_outputs = std::min(all.group_outputs, plan.outputs);
    const int groups = plan.outputs / group_outputs;
    features_runs = depth_runs<T>(points, D, weights, options);
    matrix_runs = depth_runs<T>(weights, D, points, options);
    biases_runs = runs_of(ceil_div<int64_t>(weights, kPlaceThreads), points, options);
    const auto floats = [&](const float* wanted, int64_t count) {
      return scratch.take<float>(wanted == nullptr ? 0 : count);
    };
    W = scratch.take<T>(points * weights);
    u = scratch.take<T>(to.x != nullptr || to.of_weights() ? slots * plan.outputs : 0);
    sums = floats(to.a, slots * product::column_parts(group_outputs, groups));
    spans = floats(to.x, points * all.span() * groups * all.depth);
    features = floats(to.d, features_runs * points * D);
    matrix = floats(to.P, matrix_runs * weights * D);
    biases = floats(to.q, biases_runs * weights);
  }
};

// The gradients of one chunk, which are added to those of all.
template <class T, int kTerms>
class Backward {
 public:
  Backward(const Chunk<T>& chunk, const Memory<T>& memory, Stream stream)
      : chunk_(chunk), memory_(memory), stream_(stream) {
    chunk_.W = memory.W;
  }

  const char* run(const Gradients& to) const {
    const int64_t first = int64_t{chunk_.output} * chunk_.taps(), D = chunk_.features;
    const char* reason = start(Regress<T>(chunk_), 1, 1, 1);
    if (reason == nullptr && to.a != nullptr) reason = filters(to.a);
    if (reason == nullptr && (to.x != nullptr || to.of_weights())) reason = shares();
    if (reason == nullptr && to.x != nullptr) reason = inputs(to.x + chunk_.channel);
    if (reason == nullptr && to.of_weights()) {
      reason = start(Weights<T>(chunk_, memory_.u), chunk_.points, chunk_.groups(), 1);
    }
    if (reason == nullptr && to.d != nullptr) reason = features(to.d + chunk_.first * D);
    if (reason == nullptr && to.P != nullptr) reason = matrix(to.P + first * D);
    if (reason == nullptr && to.q != nullptr) reason = biases(to.q + first);
    return reason;
  }

 private:
  const char* filters(float* ga) const {
    const int parts = product::column_parts(chunk_.group_outputs, chunk_.groups());
    const Filters<T> problem(chunk_, memory_.sums, parts);
    if (const char* reason = start(problem, chunk_.points, chunk_.groups(), 1)) return reason;
    const Pixels pixels = pixels_of(chunk_, true);
    return start_each(filters_kernel<T>, pixels.count() * chunk_.grid.neighbours(), stream_, chunk_,
                      memory_.sums, parts, ga, pixels.start, pixels.stop);
  }

  const char* shares() const {
    const int64_t count = chunk_.points * chunk_.grid.slots() * chunk_.outputs;
    return start_each(shares_kernel<T>, count, stream_, chunk_, memory_.u);
  }

  const char* inputs(float* gx) const {
    const Inputs<T> problem(chunk_, memory_.u, memory_.spans);
    if (const char* reason = start(problem, chunk_.points, chunk_.groups(), 1)) return reason;
    const Pixels pixels = pixels_of(chunk_, false);
    const int channels = chunk_.groups() * chunk_.depth;
    return start_each(gather_kernel<T>, pixels.count() * channels, stream_, chunk_, memory_.spans,
                      gx, pixels.start, pixels.stop);
  }

  const char* features(float* gd) const {
    const Features<T> problem(chunk_, memory_.features);
    const int runs = start_runs(problem, memory_.features_runs);
    if (const char* reason = start(problem, 1, 1, runs)) return reason;
    return add_to(memory_.features, runs, chunk_.points * chunk_.features, gd, stream_);
  }

  const char* matrix(float* gP) const {
    const MatrixGradient<T> problem(chunk_, memory_.matrix);
    const int runs = start_runs(problem, memory_.matrix_runs);
    if (const char* reason = start(problem, 1, 1, runs)) return reason;
    return add_to(memory_.matrix, runs, int64_t{problem.rows} * problem.columns, gP, stream_);
  }

  const char* biases(float* gq) const {
    const int weights = chunk_.weights();
    const int runs = static_cast<int>(std::min<int64_t>(memory_.biases_runs, chunk_.points));
    const dim3 grid(ceil_div(weights, kPlaceThreads), runs);
    const char* reason =
        launch(biases_kernel<T>, grid, kPlaceThreads, 0, stream_, chunk_, memory_.biases);
    return reason != nullptr ? reason : add_to(memory_.biases, runs, weights, gq, stream_);
  }

  // No run is empty where a chunk has less to add up than others.
  template <class Problem>
  static int start_runs(const Problem& problem, int most) {
    return std::min(most, ceil_div(problem.depth, product::kDepth<T>));
  }

  template <class Problem>
  const char* start(const Problem& problem, int64_t outer, int inner, int runs) const {
    return product::start<kTerms>(problem, outer, inner, runs, stream_);
  }

  Chunk<T> chunk_;
  const Memory<T>& memory_;
  Stream stream_;
};

}  // namespace

}  // namespace adaconv::cuda::local_adaptive

using namespace adaconv::cuda;
using namespace adaconv::cuda::local_adaptive;

// The scratch memory of the function below; the tensors are looked at for their sizes alone, and
// the gradients for whether they are there.
ADACONV_CUDA_FUNCTION int64_t adaconv_local_adaptive_backward_scratch(
    int type, const Tensor* x, const Tensor* d, const Tensor* P, const Tensor* a,
    const int* options, const Tensor* gx, const Tensor* gd, const Tensor* gP, const Tensor* gq,
    const Tensor* ga) {
  Scratch scratch(nullptr);
  by_type(type, [&](auto typed) {
    using T = typename decltype(typed)::type;
    const Chunk<T> all = call_of<T>({}, *x, *d, *P, {}, *a, options, 0);
    Memory<T>(scratch, all, {*gx, *gd, *gP, *gq, *ga}, options);
    return static_cast<const char*>(nullptr);
  });
  return scratch.bytes();
}

// Adds to the gradients of float32, gx, gd, gP (O, C / groups, kh, kw, D), gq and ga: contiguous
// with dimension 1, the channels, behind the next two. Each may be missing.
ADACONV_CUDA_FUNCTION const char* adaconv_local_adaptive_backward(
    int type, const Tensor* gy, const Tensor* x, const Tensor* d, const Tensor* P, const Tensor* q,
    const Tensor* a, const int* options, float slope, const Tensor* gx, const Tensor* gd,
    const Tensor* gP, const Tensor* gq, const Tensor* ga, void* scratch, Stream stream) {
  if (const char* reason = refusal(*x, *d, *P, *q, *a, options)) return reason;
  if (const char* reason = refusal_of_y(*gy, *P, *a)) return reason;
  return by_terms(type, options, [&](auto typed, auto terms) {
    using T = typename decltype(typed)::type;
    const Chunk<T> all = call_of<T>(*gy, *x, *d, *P, *q, *a, options, slope);
    const Gradients to(*gx, *gd, *gP, *gq, *ga);
    Scratch pieces(scratch);
    const Memory<T> memory(pieces, all, to, options);
    return for_each_chunk(all, memory.plan, [&](const Chunk<T>& chunk) {
      return Backward<T, terms()>(chunk, memory, stream).run(to);
    });
  });
}
