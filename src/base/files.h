/// Files read whole and written atomically.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

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

/// Writes to a temporary file beside `path`, syncs it, renames it over `path` and syncs the directory: at every moment
/// `path` is the old file or the new one. Throws Error kIo; the old file is then untouched and the temporary one removed.
void write_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes);
void write_atomically(const std::filesystem::path& path, std::string_view bytes);

/// Throws Error kIo unless a file could be created at `path` now (its directory exists and is writable).
void check_writable(const std::filesystem::path& path);

}  // namespace graft::base
