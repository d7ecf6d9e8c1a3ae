/// Memory of the machine, and of this program in it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace graft::base {

/// Bytes that the system, and the control groups the program is in, still give out; nothing where nobody tells.
std::optional<std::int64_t> free_host_bytes();

/// The control groups' part of that, of version 1 or 2, with all groups around the program's own: nothing without a
/// limit. `membership` says which group that is, `mounted` is where the groups are; one that is not to be seen there,
/// as from within a container, does not count.
std::optional<std::int64_t> free_in_control_groups(const std::filesystem::path& membership = "/proc/self/cgroup",
                                                   const std::filesystem::path& mounted = "/sys/fs/cgroup");

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
