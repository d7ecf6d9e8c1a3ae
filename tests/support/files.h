/// Files of tests/golden.
#pragma once

#include <filesystem>

namespace graft::testing {

inline std::filesystem::path golden(const std::filesystem::path& name) {
  return std::filesystem::path(GRAFT_SOURCE_DIR) / "tests" / "golden" / name;
}

}  // namespace graft::testing
