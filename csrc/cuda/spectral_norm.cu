// Launches of the kernels of spectral normalisation.
#include "interface.h"
#include "spectral_norm.cuh"

namespace adaconv::cuda::spectral_norm {

namespace {

// What a call is given: `count` matrices, contiguous, and their state.
struct Network {
  int count;
  const Tensor *Ws, *gs, *results;  // gs may be null
  const Tensor* state;
  float eps;
};

// Matrices that share their launches, and the largest sizes among them.
template <class T>
struct Group {
  Call<T> call;
  int first, count;
  int64_t rows, columns, values;
};

template <class T>
Group<T> group_of(const Network& network, int first, float* u) {
  Group<T> group = {};
  group.call.eps = network.eps;
  group.first = first;
  group.count = min(kMost, network.count - first);
  float* sigmas =
      static_cast<float*>(network.state->data) + network.state->sizes[0] - network.count + first;
  for (int i = 0; i < group.count; ++i) {
    const Tensor& W = network.Ws[first + i];
    const int64_t rows = W.sizes[0], columns = W.sizes[1];
    group.call.matrices[i] = {
        static_cast<const T*>(W.data),
        network.gs == nullptr ? nullptr : static_cast<const T*>(network.gs[first + i].data),
        static_cast<T*>(network.results[first + i].data),
        u,
        sigmas + i,
        static_cast<int>(rows),
        static_cast<int>(columns)};
    u += rows + columns;
    group.rows = max(group.rows, rows);
    group.columns = max(group.columns, columns);
    group.values = max(group.values, rows * columns);
  }
  return group;
}

// Calls function(group) for one group after another; null, or what the first to fail returned.
template <class T, class Function>
const char* for_each_group(const Network& network, const Function& function) {
  float* u = static_cast<float*>(network.state->data);
  for (int first = 0; first < network.count; first += kMost) {
    const Group<T> group = group_of<T>(network, first, u);
    if (const char* error = function(group)) return error;
    const Matrix<T>& last = group.call.matrices[group.count - 1];
    u = last.u + last.rows + last.columns;
  }
  return nullptr;
}

template <class T, class... Parameters, class... Arguments>
const char* start(void (*kernel)(Call<T>, Parameters...), const Group<T>& group, int64_t blocks,
                  size_t shared_bytes, Stream stream, Arguments... arguments) {
  const dim3 grid(static_cast<unsigned>(blocks), group.count);
  return launch(kernel, grid, kThreads, shared_bytes, stream, group.call, arguments...);
}

template <class T>
const char* forward(const Group<T>& group, int64_t products, int iterations, Stream stream) {
  const char* error = nullptr;
  const auto rows = [&](bool normalise) {
    return start(rows_kernel<T>, group, ceil_div<int64_t>(group.rows, kWarps), 0, stream, products,
                 normalise);
  };
  for (int step = 0; step < iterations && error == nullptr; ++step) {
    error = rows(step > 0);
    if (error != nullptr) break;
    error = start(columns_kernel<T>, group, ceil_div<int64_t>(group.columns, kWarp),
                  shared_bytes<float>(kSlots * kWarp), stream);
  }
  if (iterations == 0) error = rows(false);
  if (error != nullptr) return error;
  error = start(finish_kernel<T>, group, 1, 2 * shared_bytes<float>(kWarps), stream, products,
                iterations > 0);
  if (error != nullptr) return error;
  return start(quotient_kernel<T>, group, ceil_div<int64_t>(group.values, kValues), 0, stream);
}

template <class T>
const char* backward(const Group<T>& group, const Tensor& parts, Stream stream) {
  const auto part_count = static_cast<int>(parts.sizes[1]);
  float* of_group = static_cast<float*>(parts.data) + int64_t{group.first} * part_count;
  const size_t slots = shared_bytes<float>(kWarps);
  const char* error = start(product_kernel<T>, group, part_count, slots, stream, of_group);
  if (error != nullptr) return error;
  return start(gradient_kernel<T>, group, ceil_div<int64_t>(group.values, kValues), slots, stream,
               of_group, part_count);
}

}  // namespace

}  // namespace adaconv::cuda::spectral_norm

using namespace adaconv::cuda;
using namespace adaconv::cuda::spectral_norm;

// W / sigma of `count` matrices W after so many steps of power iteration. The state, in float32, is
// u, v, u, v, ..., which are replaced, and every sigma, which are written. Without steps, W v is
// written to `products`, of the state's size.
ADACONV_CUDA_FUNCTION const char* adaconv_spectral_norm_forward(
    int type, int count, const Tensor* Ws, const Tensor* state, const Tensor* products,
    int iterations, float eps, const Tensor* results, Stream stream) {
  const Network network = {count, Ws, nullptr, results, state, eps};
  const int64_t apart =
      iterations > 0 ? 0 : static_cast<float*>(products->data) - static_cast<float*>(state->data);
  return by_type(type, [&](auto typed) {
    using T = typename decltype(typed)::type;
    return for_each_group<T>(
        network, [&](const Group<T>& group) { return forward(group, apart, iterations, stream); });
  });
}

// The gradients of the matrices W from those of W / sigma, and the state that was returned. The
// sums of g W are written to `parts`, (count, any number) in float32.
ADACONV_CUDA_FUNCTION const char* adaconv_spectral_norm_backward(
    int type, int count, const Tensor* gs, const Tensor* Ws, const Tensor* state,
    const Tensor* parts, float eps, const Tensor* results, Stream stream) {
  const Network network = {count, Ws, gs, results, state, eps};
  return by_type(type, [&](auto typed) {
    using T = typename decltype(typed)::type;
    return for_each_group<T>(
        network, [&](const Group<T>& group) { return backward(group, *parts, stream); });
  });
}
