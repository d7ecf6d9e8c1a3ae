/// A process that gets no more memory than it has.
#pragma once

#include <cstddef>
#include <stdexcept>

#include <sys/resource.h>

#include "support/resident.h"

namespace graft::testing {

/// As long as it lives the process's addresses are those that it has, and `more_mib` more (RLIMIT_AS).
class LittleMemory {
 public:
  explicit LittleMemory(std::size_t more_mib) {
    if (::getrlimit(RLIMIT_AS, &before_) != 0) throw std::runtime_error("getrlimit");
    set({addressed_bytes() + (more_mib << 20), before_.rlim_max});
  }
  ~LittleMemory() { (void)::setrlimit(RLIMIT_AS, &before_); }
  LittleMemory(const LittleMemory&) = delete;
  LittleMemory& operator=(const LittleMemory&) = delete;

 private:
  static void set(const rlimit& limit) {
    if (::setrlimit(RLIMIT_AS, &limit) != 0) throw std::runtime_error("setrlimit");
  }
  rlimit before_{};
};

}  // namespace graft::testing
