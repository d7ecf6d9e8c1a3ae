/// Bytes that are read piece by piece, from memory or from a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <vector>

#include "base/files.h"

namespace graft::base {

class ByteSource {
 public:
  ByteSource() = default;
  virtual ~ByteSource() = default;
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  virtual std::uint64_t size() const = 0;
  /// Fills `out` from `offset` on. Throws Error kIo (unreadable, or it has become shorter), kInternal beyond the end.
  virtual void read(std::uint64_t offset, std::span<std::byte> out) const = 0;

  std::vector<std::byte> read(std::uint64_t offset, std::size_t count) const {
    std::vector<std::byte> bytes(count);
    read(offset, std::span(bytes));
    return bytes;
  }
};

class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::uint64_t size() const override { return bytes_.size(); }
  using ByteSource::read;
  void read(std::uint64_t offset, std::span<std::byte> out) const override;

 private:
  std::span<const std::byte> bytes_;
};

/// A regular file, read and never mapped: one that somebody cuts off meanwhile is an error and not a signal.
class FileSource final : public ByteSource {
 public:
  /// Throws Error kIo as open_regular() does.
  explicit FileSource(const std::filesystem::path& path);
  std::uint64_t size() const override { return size_; }
  using ByteSource::read;
  void read(std::uint64_t offset, std::span<std::byte> out) const override;

 private:
  std::filesystem::path path_;
  Descriptor fd_;
  std::uint64_t size_ = 0;
};

/// All of a regular file: what is parsed, hashed and checked are the same bytes. Throws Error kIo as FileSource does,
/// kLimit for one of more than `most` bytes.
std::vector<std::byte> read_file(const std::filesystem::path& path,
                                 std::uint64_t most = std::numeric_limits<std::uint64_t>::max());

}  // namespace graft::base
