// What the C functions of local adaptive convolution share: how arguments are read, and cut into
// chunks.
//
// The arguments that all of them take:
//
//   type       of all tensors but those that are said to be something else, see interface.h
//   x          (N, C, H, W)
//   d          (N, D, GH, GW)
//   P          (O, C / groups, kh * kw, D), contiguous
//   q          (O, C / groups, kh, kw), or missing
//   a          (N, J, OH, OW), any strides
//   gy         (N, O, OH, OW): the gradient of y
//   options    int[kOptions], see Option
//   slope      of the activation below 0
//   scratch    memory for as many bytes as the function of that name says, 16-byte aligned. What it
//              has afterwards is of no interest
//
// But for P and a, tensors are contiguous with dimension 1, the channels, last. Where tensors are
// to be loaded 16 bytes at once, they must be aligned to that, and C / groups, O / groups and D be
// multiples of it.
#pragma once

#include "adaptive_conv_launch.cuh"
#include "local_adaptive_call.cuh"

namespace adaconv::cuda::local_adaptive {

using adaptive_conv::by_terms;
using adaptive_conv::geometry_of;
using adaptive_conv::is_contiguous;
using adaptive_conv::kGroups;
using adaptive_conv::runs_of;

// Those of adaptive convolution come first; whether gradients are wide is not asked for.
enum Option {
  kPitch = adaptive_conv::kOptions,
  kChunkBytes,   // that what belongs to a chunk may take
  kLeastPoints,  // of a chunk, unless one output for each takes too much
  kOptions
};

inline bool has_channels_last(const Tensor& picture) {
  Tensor last = {};
  for (int i = 0; i < 4; ++i) {
    const int from = i == 0 ? 0 : i % 3 + 1;
    last.sizes[i] = picture.sizes[from], last.strides[i] = picture.strides[from];
  }
  return is_contiguous(last, 4);
}

// Of how many pixels a point is a neighbour in one direction, at most.
inline int slots_of(const Grid& grid, int points, int size) {
  int most = 0;
  for (int point = 0; point < points; ++point) {
    const int end = std::min(grid.start(point) + grid.side * grid.pitch, size);
    most = std::max(most, end - grid.first(point));
  }
  return most;
}

inline Grid grid_of(const Tensor& d, const Tensor& a, const int* options) {
  const int pitch = options[kPitch], side = a.sizes[1] == 4 ? 2 : 3;
  Grid grid = {pitch,
               side,
               side == 2 ? pitch - pitch / 2 : 0,
               static_cast<int>(d.sizes[2]),
               static_cast<int>(d.sizes[3]),
               0,
               0};
  grid.slots_h = slots_of(grid, grid.height, static_cast<int>(a.sizes[2]));
  grid.slots_w = slots_of(grid, grid.width, static_cast<int>(a.sizes[3]));
  return grid;
}

// The whole call as one chunk, which has no memory yet.
template <class T>
Chunk<T> call_of(const Tensor& gy, const Tensor& x, const Tensor& d, const Tensor& P,
                 const Tensor& q, const Tensor& a, const int* options, float slope) {
  const auto size = [](int64_t of) { return static_cast<int>(of); };
  const auto data = [](const Tensor& tensor) { return static_cast<const T*>(tensor.data); };
  return {data(x),
          data(d),
          data(P),
          data(q),
          data(gy),
          picture_of<const T>(a),
          nullptr,
          geometry_of(x, options),
          grid_of(d, a, options),
          0,
          d.sizes[0] * d.sizes[2] * d.sizes[3],
          0,
          0,
          size(P.sizes[0]),
          size(P.sizes[0] / options[kGroups]),
          size(P.sizes[1]),
          size(P.sizes[3]),
          size(x.sizes[1]),
          size(P.sizes[0]),
          slope};
}

// Why the arguments fit no kernel, or null.
inline const char* refusal(const Tensor& x, const Tensor& d, const Tensor& P, const Tensor& q,
                           const Tensor& a, const int* options) {
  const int64_t groups = options[kGroups], pitch = options[kPitch];
  if (*std::min_element(options + adaptive_conv::kStrideH, options + adaptive_conv::kPadH) < 1 ||
      options[adaptive_conv::kUpsample] < 1 || groups < 1 || pitch < 1 ||
      options[adaptive_conv::kProcessors] < 1 || options[kChunkBytes] < 1 ||
      options[kLeastPoints] < 1) {
    return "strides, upsample, groups, pitch, processors and limits must be positive";
  }
  if (P.sizes[0] % groups != 0 || x.sizes[1] != P.sizes[1] * groups || P.sizes[3] < 1 ||
      P.sizes[2] != options[adaptive_conv::kKernelH] * options[adaptive_conv::kKernelW] ||
      !is_contiguous(P, 4)) {
    return "P must be contiguous, (O, C / groups, kh * kw, D)";
  }
  if (!has_channels_last(x)) return "x must be contiguous with the channels last";
  if (d.sizes[0] != x.sizes[0] || d.sizes[1] != P.sizes[3] ||
      d.sizes[2] != ceil_div<int64_t>(a.sizes[2], pitch) ||
      d.sizes[3] != ceil_div<int64_t>(a.sizes[3], pitch) || !has_channels_last(d)) {
    return "d must be contiguous with the channels last, (N, D, OH / pitch, OW / pitch)";
  }
  if (q.data != nullptr && (q.sizes[0] != P.sizes[0] || q.sizes[1] != P.sizes[1] ||
                            q.sizes[2] * q.sizes[3] != P.sizes[2] || !has_channels_last(q))) {
    return "q must be contiguous with the channels last, (O, C / groups, kh, kw)";
  }
  if ((a.sizes[1] != 4 && a.sizes[1] != 9) || a.sizes[0] != x.sizes[0] ||
      a.sizes[2] != options[adaptive_conv::kOutHeight] ||
      a.sizes[3] != options[adaptive_conv::kOutWidth]) {
    return "a must be (N, 4 or 9, OH, OW)";
  }
  constexpr int64_t kMost = INT32_MAX / 2;
  const int upsample = options[adaptive_conv::kUpsample];
  const bool large = std::max({P.sizes[0] * P.sizes[1] * P.sizes[2], P.sizes[3],
                               x.sizes[2] * upsample, x.sizes[3] * upsample}) > kMost;
  return large ? "sizes other than the batch's, and all weights of a pixel, must fit into 30 bits"
               : nullptr;
}

// Likewise of y, or its gradient.
inline const char* refusal_of_y(const Tensor& y, const Tensor& P, const Tensor& a) {
  const bool fits = y.sizes[0] == a.sizes[0] && y.sizes[1] == P.sizes[0] &&
                    y.sizes[2] == a.sizes[2] && y.sizes[3] == a.sizes[3] && has_channels_last(y);
  return fits ? nullptr : "y and gy must be contiguous with the channels last, (N, O, OH, OW)";
}

// Points and outputs of a chunk, at most.
struct Plan {
  int64_t points;
  int outputs;
};

// A point and an output take so many bytes beside W, and a point so many more. A chunk has fewer
// outputs rather than fewer than kLeastPoints, so that P is not read again for a few points.
template <class T>
Plan plan_of(const Chunk<T>& all, const int* options, int64_t a_pair, int64_t a_point) {
  constexpr int64_t kMostPoints = 1 << 20;
  const int64_t bytes = options[kChunkBytes];
  a_pair += all.taps() * static_cast<int64_t>(sizeof(T));
  const int64_t least = std::min<int64_t>(options[kLeastPoints], bytes / (a_pair + a_point));
  const int64_t fitting = std::max(bytes / (a_pair * all.outputs + a_point), least);
  const int64_t points = std::max<int64_t>(1, std::min({fitting, kMostPoints, all.points}));
  const int64_t outputs = std::max<int64_t>(1, (bytes / points - a_point) / a_pair);
  return {points, static_cast<int>(std::min<int64_t>(outputs, all.outputs))};
}

// Calls function(chunk) for all chunks: points, and outputs of a part of a group or of several
// groups.
template <class T, class Function>
const char* for_each_chunk(const Chunk<T>& all, const Plan& plan, const Function& function) {
  const int of_group = all.group_outputs;
  const int step = plan.outputs < of_group ? plan.outputs : plan.outputs / of_group * of_group;
  for (int o = 0, end; o < all.outputs; o = end) {
    const int limit = step < of_group ? (o / of_group + 1) * of_group : all.outputs;
    end = std::min(o + step, limit);
    for (int64_t g = 0; g < all.points; g += plan.points) {
      Chunk<T> chunk = all;
      chunk.output = o, chunk.channel = o / of_group * all.depth;
      chunk.x += chunk.channel;
      chunk.d += g * all.features;
      chunk.P += int64_t{o} * all.taps() * all.features;
      if (all.q != nullptr) chunk.q += int64_t{o} * all.taps();
      if (all.gy != nullptr) chunk.gy += o;
      chunk.first = g;
      chunk.points = std::min(plan.points, all.points - g);
      chunk.outputs = end - o;
      chunk.group_outputs = std::min(of_group, end - o);
      if (const char* reason = function(chunk)) return reason;
    }
  }
  return nullptr;
}

// Into how many runs the depth of a product of T is cut.
template <class T>
int depth_runs(int64_t rows, int64_t columns, int64_t depth, const int* options) {
  const int64_t blocks =
      ceil_div<int64_t>(rows, product::kRows) * ceil_div<int64_t>(columns, product::kColumns);
  return runs_of(blocks, ceil_div<int64_t>(depth, product::kDepth<T>), options);
}

// Pieces of a memory, one behind the other; of none, how much they take.
class Scratch {
 public:
  explicit Scratch(void* memory) : memory_(static_cast<unsigned char*>(memory)) {}

  template <class T>
  T* take(int64_t count) {
    void* piece = memory_ == nullptr ? nullptr : memory_ + bytes_;
    bytes_ += static_cast<int64_t>(shared_bytes<T>(count));
    return static_cast<T*>(piece);
  }
  int64_t bytes() const { return bytes_; }

 private:
  unsigned char* memory_;
  int64_t bytes_ = 0;
};

// Pixels of all pictures, from one to another.
struct Pixels {
  int64_t start, stop;

  int64_t count() const { return stop - start; }
};

// Those in the rows that the windows of a chunk begin and end in: rows of the output, or of x.
template <class T>
Pixels pixels_of(const Chunk<T>& chunk, bool of_output) {
  const Grid& grid = chunk.grid;
  const Geometry& g = chunk.geometry;
  const int height = of_output ? g.out_height : g.height;
  const int width = of_output ? g.out_width : g.width;
  const auto pixel = [&](int64_t point, bool last) {
    const int64_t row_of_grid = point / grid.width, n = row_of_grid / grid.height;
    const int row = static_cast<int>(row_of_grid % grid.height);
    int edge = grid.first(row);
    if (last) edge = std::min(grid.start(row) + grid.side * grid.pitch, g.out_height) - 1;
    if (!of_output) {
      edge = edge * g.stride_h - g.pad_h + (last ? (g.kernel_h - 1) * g.dilation_h : 0);
      edge /= g.upsample;
    }
    return (n * height + std::clamp(edge + last, 0, height)) * width;
  };
  return {pixel(chunk.first, false), pixel(chunk.first + chunk.points - 1, true)};
}

// Starts a kernel with a thread for each of so many numbers.
template <class... Parameters, class... Arguments>
const char* start_each(void (*kernel)(Parameters...), int64_t count, Stream stream,
                       const Arguments&... arguments) {
  if (count <= 0) return nullptr;
  const dim3 grid(static_cast<unsigned>(ceil_div<int64_t>(count, kPlaceThreads)));
  return launch(kernel, grid, kPlaceThreads, 0, stream, arguments...);
}

}  // namespace adaconv::cuda::local_adaptive
