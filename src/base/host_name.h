/// The machine's name.
#pragma once

#include <array>
#include <string>

#include <unistd.h>

namespace graft::base {

/// Empty where nobody tells.
inline std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : std::string();
}

}  // namespace graft::base
