#include "base/byte_source.h"

#include <algorithm>
#include <cerrno>

#include <unistd.h>

#include <graft/cancellation.h>
#include <graft/error.h>

namespace graft::base {

void MemorySource::read(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset > bytes_.size() || out.size() > bytes_.size() - offset)
    throw Error(ErrorCode::kInternal, "reading beyond the end of a memory block");
  std::ranges::copy(bytes_.subspan(offset, out.size()), out.begin());
}

FileSource::FileSource(const std::filesystem::path& path) : path_(path) {
  auto [fd, size] = open_regular(path);
  fd_ = std::move(fd);
  size_ = size;
}

void FileSource::read(std::uint64_t offset, std::span<std::byte> out) const {
  CancellationScope::check();
  while (!out.empty()) {
    const auto count = ::pread(fd_.get(), out.data(), out.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) raise_errno(path_, "cannot read", errno);
    if (count == 0)
      throw Error(ErrorCode::kIo, path_.string() + ": expected " + std::to_string(size_) +
                                      " bytes, found fewer: it was changed while it was read");
    out = out.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
}

std::vector<std::byte> read_file(const std::filesystem::path& path, std::uint64_t most) {
  const FileSource file(path);
  if (file.size() > most)
    throw Error(ErrorCode::kLimit, path.string() + ": expected at most " + std::to_string(most) + " bytes, found " +
                                       std::to_string(file.size()));
  return file.read(0, file.size());
}

}  // namespace graft::base
