#include "base/host_memory.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

namespace graft::base {

namespace fs = std::filesystem;

namespace {

/// "NAME:   123 kB" of such a file, in bytes.
std::optional<std::int64_t> field(const char* file, const std::string& name) {
  std::ifstream in(file);
  for (std::string word; in >> word;)
    if (std::int64_t kilobytes = 0; word == name && in >> kilobytes) return kilobytes * 1024;
  return std::nullopt;
}

/// Nothing for "max".
std::optional<std::int64_t> number(const fs::path& file) {
  std::int64_t value = 0;
  if (std::ifstream in(file); in >> value) return value;
  return std::nullopt;
}

/// Where the control groups of one hierarchy are, and what their files are called.
struct Hierarchy {
  fs::path root;
  const char* limit;
  const char* used;

  void bound(const fs::path& group, std::optional<std::int64_t>& free) const {
    const auto most = number(group / limit), now = number(group / used);
    if (most && now) free = std::min(free.value_or(*most), std::max<std::int64_t>(0, *most - *now));
  }
  /// By what the group and all around it allow: a group within one that is full gets nothing either.
  void bound_within(const fs::path& group, std::optional<std::int64_t>& free) const {
    bound(root, free);
    auto folder = root;
    for (const auto& name : group.relative_path())
      if (!name.empty() && name != "..") bound(folder /= name, free);
  }
};

}  // namespace

std::optional<std::int64_t> free_in_control_groups(const fs::path& membership, const fs::path& mounted) {
  const Hierarchy second{mounted, "memory.max", "memory.current"};
  const Hierarchy first{mounted / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"};
  std::optional<std::int64_t> free;
  std::ifstream in(membership);
  for (std::string line; std::getline(in, line);) {  // "number:controllers:path", cgroups(7)
    const auto controllers = line.find(':'), path = line.find(':', controllers + 1);
    if (controllers == std::string::npos || path == std::string::npos) continue;
    const auto names = "," + line.substr(controllers + 1, path - controllers - 1) + ",";
    if (names == ",,") second.bound_within(line.substr(path + 1), free);
    if (names.find(",memory,") != std::string::npos) first.bound_within(line.substr(path + 1), free);
  }
  return free;
}

std::optional<std::int64_t> free_host_bytes() {
  const auto machine = field("/proc/meminfo", "MemAvailable:"), groups = free_in_control_groups();
  return machine && groups ? std::min(machine, groups) : machine ? machine : groups;
}

HostMemoryPeak::HostMemoryPeak() : before_(field("/proc/self/status", "VmRSS:").value_or(0)) { restart(); }

void HostMemoryPeak::restart() const {
  std::ofstream("/proc/self/clear_refs") << "5";  // proc(5): the peak is what is held now
}

std::int64_t HostMemoryPeak::growth() const {
  return std::max<std::int64_t>(0, field("/proc/self/status", "VmHWM:").value_or(before_) - before_);
}

}  // namespace graft::base
