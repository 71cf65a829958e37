// What the files of this folder share: how they enter the module, and how tensors do.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <optional>
#include <utility>

#include "tensor.h"

namespace adaconv {

namespace py = pybind11;

// A part of the Python module adaconv._C. A file here defines one as a static object, with the
// function that adds its definitions to the module, and is named nowhere else.
class Binding {
 public:
  explicit Binding(void (*define)(py::module_&)) : define_(define), next_(first) { first = this; }

  static void define_all(py::module_& module) {
    for (const Binding* binding = first; binding != nullptr; binding = binding->next_) {
      binding->define_(module);
    }
  }

 private:
  void (*define_)(py::module_&);
  const Binding* next_;
  inline static const Binding* first = nullptr;  // a list, in no order
};

// (address, strides counted in elements) of a 4-D tensor.
using TensorArgument = std::optional<std::pair<uintptr_t, std::array<int64_t, 4>>>;

template <class T>
Strided<T> strided(const TensorArgument& argument) {
  if (!argument) return {};
  const auto& [address, step] = *argument;
  return {reinterpret_cast<T*>(address), step[0], step[1], step[2], step[3]};
}

template <class T>
T* pointer(std::optional<uintptr_t> address) {
  return address ? reinterpret_cast<T*>(*address) : nullptr;
}

}  // namespace adaconv
