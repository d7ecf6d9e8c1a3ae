/// Memory of the machine, and of this program in it.
#pragma once

#include <cstdint>
#include <optional>

namespace graft::base {

/// Bytes that the system, and the control group the program is in, still give out; nothing where nobody tells.
std::optional<std::int64_t> free_host_bytes();

/// Watches how much memory the program has held at once. Pages that are given back and held again count once.
class HostMemoryPeak {
 public:
  /// From now on. Other threads' memory counts as well, and so does another one that begins later.
  HostMemoryPeak();
  /// The most that was held beyond what was at the beginning, since the beginning or the latest restart(); 0 where
  /// nobody tells.
  std::int64_t growth() const;
  void restart() const;

 private:
  std::int64_t before_ = 0;
};

}  // namespace graft::base
