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

std::vector<std::string> supported_variants() {
  int count;
  const Variant* table = variants(&count);
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) {
    if (table[i].supported()) names.emplace_back(table[i].name);
  }
  return names;
}

}  // namespace

PYBIND11_MODULE(_C, module) {
  module.doc() = "Native kernels of adaconv.";
  int count;
  const char* name = variants(&count)[active_variant()].name;  // a wrong ADACONV_CPU fails here
  module.def("variant", [name] { return std::string(name); });
  module.def("variants", &supported_variants);
  Binding::define_all(module);
#if defined(ADACONV_SANITIZE)
  module.attr("sanitizers") = ADACONV_SANITIZE;
  module.def("planted_bugs", &planted_bugs);
  module.def("plant", &plant);
#endif
}
