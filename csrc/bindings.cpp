// The Python module adaconv._C: pointers, sizes and strides in, nothing of torch.
#include <string>
#include <vector>

#include "bindings/binding.h"
#include "cpu/shared/variants.h"
#if defined(ADACONV_SANITIZE)
#include "sanitize/planted.h"
#endif

namespace {

using namespace adaconv;

// Of this build, or those of them that the CPU has.
std::vector<std::string> variant_names(bool all) {
  int count;
  const Variant* table = variants(&count);
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) {
    if (all || table[i].supported()) names.emplace_back(table[i].name);
  }
  return names;
}

}  // namespace

PYBIND11_MODULE(_C, module) {
  module.doc() = "Native kernels of adaconv.";
  int count;
  const char* name = variants(&count)[active_variant()].name;  // a wrong ADACONV_CPU fails here
  module.def("variant", [name] { return std::string(name); });
  module.def("variants", &variant_names, pybind11::arg("all") = false);
  Binding::define_all(module);
#if defined(ADACONV_SANITIZE)
  module.attr("sanitizers") = ADACONV_SANITIZE;
  module.def("planted_bugs", &planted_bugs);
  module.def("plant", &plant);
#endif
}
