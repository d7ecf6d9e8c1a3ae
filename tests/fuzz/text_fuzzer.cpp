// What people write: files of labels, lists of hashes, and options as text; and feature caches. The first byte chooses
// the reader. Nothing but a graft::Error may leave it.

#include <cstdlib>
#include <filesystem>
#include <fstream>
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
#include "train/feature_file.h"

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

/// A cache's file cannot be anywhere: it has a name in its folder, which is this one for the length of the process.
const std::filesystem::path& cache_folder() {
  static const std::filesystem::path folder = [] {
    std::string pattern = (std::filesystem::temp_directory_path() / "graft-fuzz-XXXXXX").string();
    if (!::mkdtemp(pattern.data())) __builtin_trap();
    std::atexit([] {
      std::error_code ignored;
      std::filesystem::remove_all(cache_folder(), ignored);
    });
    return pattern;
  }();
  return folder;
}

/// As it is opened; a row is appended to it, and that is there the next time.
void open_cache(std::string_view content) {
  const std::string space(64, 'a'), key(64, 'k');
  const auto path = cache_folder() / (space.substr(0, 32) + ".features");
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary).write(content.data(), static_cast<std::streamsize>(content.size()));
  std::size_t rows = 0, row_bytes = 0;
  {
    graft::train::FeatureFile file(cache_folder(), space, 1 << 20, {});
    if (file.shape().empty()) file.set_shape({2});
    row_bytes = sizeof(float);
    for (const auto size : file.shape()) row_bytes *= static_cast<std::size_t>(size);
    if (row_bytes > content.size() + sizeof(float) * 2) return;  // what it states of itself does not fit in it
    rows = file.rows().size();
    const std::vector<std::byte> row(row_bytes);
    if (!file.can_append() || !file.append(key, row)) return;
  }
  const graft::train::FeatureFile again(cache_folder(), space, 1 << 20, {});
  if (again.rows().size() != rows + 1) __builtin_trap();
}

void read(std::uint8_t which, std::string_view text) {
  switch (which % 6) {
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
    case 4:
      open_cache(text);
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
