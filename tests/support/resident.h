/// The memory that this process has now.
#pragma once

#include <fstream>

#include <unistd.h>

namespace graft::testing {

/// Pages of it that are in memory, in MiB: RSS.
inline double resident_mib() {
  std::ifstream statm("/proc/self/statm");
  double all = 0, resident = 0;
  statm >> all >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

}  // namespace graft::testing
