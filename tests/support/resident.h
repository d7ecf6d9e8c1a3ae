/// The memory that this process has now.
#pragma once

#include <cstddef>
#include <fstream>

#include <unistd.h>

namespace graft::testing {

/// Its addresses, in bytes: the pages that it may touch.
inline std::size_t addressed_bytes() {
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

/// Pages of it that are in memory, in MiB: RSS.
inline double resident_mib() {
  std::ifstream statm("/proc/self/statm");
  double all = 0, resident = 0;
  statm >> all >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

}  // namespace graft::testing
