// The kernels of separable adaptive convolution for one instruction set; compiled once for each
// variant. The second stage is an adaptive convolution with a kernel of one tap.
#include "adaptive_separable.h"

#include "adaptive_separable_depthwise.h"

namespace adaconv::ADACONV_VARIANT {

extern const AdaptiveConvChoices adaptive_conv;

namespace separable {

// One of the pieces that a call is computed in, and what the stages see of the call there.
struct Piece {
  AdaptiveConvShape depthwise, pointwise;
  int64_t image, row;

  Piece(const AdaptiveSeparableShape& whole, int64_t image_, int64_t row_)
      : depthwise(whole.depthwise), image(image_), row(row_) {
    AdaptiveConvShape& s = depthwise;
    s.batch = min(whole.piece_images, s.batch - image);
    s.out_height = min(whole.piece_rows, s.out_height - row);
    s.padding_h -= row * s.stride_h;
    pointwise = {{s.batch, s.in_channels, s.out_height, s.out_width, 1, 1, s.out_height,
                  s.out_width, 1, 1, 0, 0, 1, 1, 1},
                 whole.out_channels,
                 s.features,
                 whole.groups,
                 s.negative_slope};
  }

  // Values of u.
  int64_t size() const {
    return depthwise.batch * depthwise.in_channels * depthwise.out_height * depthwise.out_width;
  }

  // The part of a tensor of output pixels, or of input pixels, null where that is.
  template <class T>
  Strided<T> of(const Strided<T>& tensor) const {
    if (tensor.data == nullptr) return tensor;
    return {tensor.at(image, 0, row, 0), tensor.n, tensor.c, tensor.h, tensor.w};
  }
  template <class T>
  Strided<T> pictures(const Strided<T>& x) const {
    if (x.data == nullptr) return x;
    return {x.at(image, 0, 0, 0), x.n, x.c, x.h, x.w};
  }

  template <class T>
  Strided<T> contiguous(T* data) const {
    const AdaptiveConvShape& s = depthwise;
    const int64_t c = s.out_height * s.out_width;
    return {data, s.in_channels * c, c, s.out_width, 1};
  }

  Bands bands(int64_t tile_pixels) const {
    return cut_into_bands(depthwise, depthwise.batch * depthwise.out_height * depthwise.out_width,
                          tile_pixels);
  }

  int64_t sign_bytes(const SignLayout& signs) const {
    const Bands cut = cut_into_bands(pointwise, signs.band_pixels, signs.tile_pixels);
    const int64_t outputs = (pointwise.group_out() + signs.outputs - 1) / signs.outputs;
    return cut.total_tiles * outputs * signs.outputs * pointwise.in_channels * signs.row_bytes;
  }
};

template <class Use>
void for_each_piece(const AdaptiveSeparableShape& whole, Use use) {
  for (int64_t image = 0; image < whole.depthwise.batch; image += whole.piece_images) {
    for (int64_t row = 0; row < whole.depthwise.out_height; row += whole.piece_rows) {
      use(Piece(whole, image, row));
    }
  }
}

template <class T>
const AdaptiveConvKernels<T>& pointwise_kernels(const AdaptiveSeparableShape& whole) {
  return *adaptive_conv.get<T>()(whole.depthwise.features, whole.out_channels / whole.groups,
                                 whole.terms);
}

template <class T>
Plan plan_of(const Piece& piece) {
  const Bands bands = piece.bands(kTile<T>);
  return make_plan(piece.depthwise, 0, bands.rows, kTile<T>,
                   segment_tiles(bands.tiles, kSegmentTiles));
}

template <class T>
void forward(const AdaptiveSeparableForward<T>& call) {
  const Piece largest(call.shape, 0, 0);
  const AdaptiveConvKernels<T>& kernels = pointwise_kernels<T>(call.shape);
  const Arenas shared(largest.size() * sizeof(T), 1);
  const Arenas arenas(Depthwise<T>::forward_bytes(call.shape.depthwise));
  uint8_t* signs = call.signs;
  for_each_piece(call.shape, [&](const Piece& piece) {
    const Strided<T> u = call.u.data != nullptr
                             ? piece.of(call.u)
                             : piece.contiguous(shared.first().take<T>(piece.size()));
    const Strided<const T> d = piece.of(call.d);
    const Plan plan = plan_of<T>(piece);
    Depthwise<T>{piece.depthwise, plan, piece.pictures(call.x), d, call.P1, call.q1}.forward(
        u, arenas);
    kernels.forward({piece.pointwise, readable(u), d, piece.of(call.b), call.P2, call.q2,
                     piece.of(call.y), signs});
    if (signs != nullptr) signs += piece.sign_bytes(kernels.signs);
  });
}

template <class T>
void backward(const AdaptiveSeparableBackward<T>& call) {
  const Piece largest(call.shape, 0, 0);
  const AdaptiveConvKernels<T>& kernels = pointwise_kernels<T>(call.shape);
  const AdaptiveConvShape& s = call.shape.depthwise;
  const int64_t tiles = largest.bands(kTile<T>).tiles;
  const Arenas shared(
      2 * aligned(largest.size() * sizeof(T)) + DepthwiseBackward<T>::bytes(s, tiles), 1);
  const size_t forward_bytes = Depthwise<T>::forward_bytes(s);
  const size_t backward_bytes = DepthwiseBackward<T>::scratch_bytes(s);
  const Arenas arenas(forward_bytes < backward_bytes ? backward_bytes : forward_bytes);
  const uint8_t* signs = call.signs;
  for_each_piece(call.shape, [&](const Piece& piece) {
    Arena arena = shared.first();
    const Plan plan = plan_of<T>(piece);
    const Depthwise<T> first{piece.depthwise,  plan,    piece.pictures(call.x),
                             piece.of(call.d), call.P1, call.q1};
    Strided<const T> u = piece.of(call.u);
    if (u.data == nullptr) {
      const Strided<T> anew = piece.contiguous(arena.take<T>(piece.size()));
      first.forward(anew, arenas);
      u = readable(anew);
    }
    Strided<T> gu, gd = piece.of(call.gd);
    if (gd.data != nullptr) {
      gu = piece.contiguous(arena.take<T>(piece.size()));
      zero(gu.data, piece.size());
    }
    kernels.backward({piece.pointwise, piece.of(call.gy), u, first.d, call.P2, call.q2, signs, gu,
                      gd, call.gP2, call.gq2, true});
    if (signs != nullptr) signs += piece.sign_bytes(kernels.signs);
    if (gd.data != nullptr) {
      DepthwiseBackward<T>(first, readable(gu), piece.pictures(call.gx), gd, call.gP1, call.gq1,
                           arena)
          .run(arenas);
    }
  });
}

}  // namespace separable

extern const AdaptiveSeparableKernelsByType adaptive_separable = {
    {&separable::forward<float>, &separable::backward<float>},
    {&separable::forward<double>, &separable::backward<double>},
    {}};

}  // namespace adaconv::ADACONV_VARIANT
