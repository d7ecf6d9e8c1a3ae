#include "base/host_memory.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

namespace graft::base {

namespace {

/// "NAME:   123 kB" of such a file, in bytes.
std::optional<std::int64_t> field(const char* file, const std::string& name) {
  std::ifstream in(file);
  for (std::string word; in >> word;)
    if (std::int64_t kilobytes = 0; word == name && in >> kilobytes) return kilobytes * 1024;
  return std::nullopt;
}

/// Nothing for "max".
std::optional<std::int64_t> number(const std::filesystem::path& file) {
  std::int64_t value = 0;
  if (std::ifstream in(file); in >> value) return value;
  return std::nullopt;
}

}  // namespace

std::optional<std::int64_t> free_host_bytes() {
  auto free = field("/proc/meminfo", "MemAvailable:");
  const auto bound = [&](const char* limit, const char* used) {
    const auto most = number(limit), now = number(used);
    if (most && now) free = std::min(free.value_or(*most), std::max<std::int64_t>(0, *most - *now));
  };
  bound("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current");  // as a container sees its own
  bound("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes");
  return free;
}

HostMemoryPeak::HostMemoryPeak() : before_(field("/proc/self/status", "VmRSS:").value_or(0)) { restart(); }

void HostMemoryPeak::restart() const {
  std::ofstream("/proc/self/clear_refs") << "5";  // proc(5): the peak is what is held now
}

std::int64_t HostMemoryPeak::growth() const {
  return std::max<std::int64_t>(0, field("/proc/self/status", "VmHWM:").value_or(before_) - before_);
}

}  // namespace graft::base
