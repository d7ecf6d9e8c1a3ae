/// Files read whole. Writing is public: graft/files.h.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace graft::base {

/// A regular file's bytes, mapped read-only: parsed, hashed and checked are the same bytes, and pages that were copied
/// elsewhere need not stay in memory. Movable; the span is valid as long as the object.
class MappedFile {
 public:
  /// Throws Error kIo: missing, unreadable, a directory, a device or a pipe (never waited for), a loop of links.
  static MappedFile open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  MappedFile() = default;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace graft::base
