// Bugs on purpose, in builds with sanitizers: a test commits each and expects the report.
#pragma once

#include <string>
#include <vector>

namespace adaconv {

// The names of those that this build's sanitizers should find.
std::vector<std::string> planted_bugs();

// Commits one; returns where it goes unnoticed. "none" does correctly what the kernels do, for 28.
// Throws std::invalid_argument for other names.
double plant(const std::string& name);

}  // namespace adaconv
