#include "spectral_norm.h"

#include <algorithm>
#include <string>
#include <vector>

#include "binding.h"
#include "cpu/shared/variants.h"

namespace adaconv {

ADACONV_OF_EACH_VARIANT(SpectralNormChoices, spectral_norm)

namespace {

// Values of a block: half of a second-level cache. A block of long rows has so many at least, since
// each makes a row of sums.
constexpr int64_t kBlockValues = 1 << 16, kBlockRows = 16;

// (rows, columns, W, u, v, sigma, g, result)
using MatrixArgument = std::tuple<int64_t, int64_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t,
                                  std::optional<uintptr_t>, uintptr_t>;

template <class T>
struct Call {
  std::vector<SpectralMatrix<T>> matrices;
  std::vector<SpectralBlock> blocks;
  SpectralNorm<T> call;

  Call(const std::vector<MatrixArgument>& arguments, double eps) {
    int64_t most_columns = 0;
    for (const auto& [rows, columns, W, u, v, sigma, g, result] : arguments) {
      const int64_t most = std::max(kBlockRows, kBlockValues / columns);
      for (int64_t first = 0; first < rows; first += most) {
        blocks.push_back(
            {static_cast<int64_t>(matrices.size()), first, std::min(most, rows - first)});
      }
      matrices.push_back({rows, columns, pointer<const T>(W), pointer<T>(u), pointer<T>(v),
                          pointer<T>(sigma), pointer<const T>(g), pointer<T>(result)});
      most_columns = std::max(most_columns, columns);
    }
    call = {matrices.data(), static_cast<int64_t>(matrices.size()),
            blocks.data(),   static_cast<int64_t>(blocks.size()),
            most_columns,    static_cast<T>(eps)};
  }
};

template <class T>
void define(py::module_& module, const std::string& dtype, const SpectralNormKernels<T>& kernels) {
  const auto release = py::call_guard<py::gil_scoped_release>();
  module.def(("spectral_norm_forward_" + dtype).c_str(),
             [kernels](const std::vector<MatrixArgument>& matrices, int64_t iterations,
                       double eps) { kernels.forward(Call<T>(matrices, eps).call, iterations); },
             release);
  module.def(("spectral_norm_backward_" + dtype).c_str(),
             [kernels](const std::vector<MatrixArgument>& matrices, double eps) {
               kernels.backward(Call<T>(matrices, eps).call);
             },
             release);
}

const Binding binding([](py::module_& module) {
  define<float>(module, "f32", spectral_norm().f32);
  define<double>(module, "f64", spectral_norm().f64);
});

}  // namespace

}  // namespace adaconv
