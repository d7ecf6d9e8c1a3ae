// What people write: files of labels, lists of hashes, and options as text. The first byte chooses the reader. Nothing
// but a graft::Error may leave it.

#include <string>
#include <string_view>

#include <sys/mman.h>
#include <unistd.h>

#include <graft/augment.h>
#include <graft/error.h>
#include <graft/inspect.h>
#include <graft/preprocess.h>
#include <graft/schedule.h>

#include "base/manifest.h"

namespace {

/// A file in memory, with a path.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view content) : fd_(::memfd_create("fuzzed", MFD_CLOEXEC)) {
    if (::write(fd_, content.data(), content.size()) != static_cast<ssize_t>(content.size())) __builtin_trap();
  }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

void read(std::uint8_t which, std::string_view text) {
  switch (which % 5) {
    case 0:
      (void)graft::read_labels(MemoryFile(text).path());
      return;
    case 1:
      (void)graft::Preprocessing::parse(text);
      return;
    case 2:
      (void)graft::Augment::parse(text);
      return;
    case 3:
      (void)graft::Schedule::parse(text);
      return;
    default:
      graft::base::check_listed(MemoryFile(text).path(), "model.pt", {});
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  try {
    read(data[0], {reinterpret_cast<const char*>(data) + 1, size - 1});
  } catch (const graft::Error&) {
  }
  return 0;
}
