/// Files read whole, and written whole: the public part of it is graft/files.h.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <utility>

#include <unistd.h>

namespace graft::base {

/// Throws Error kIo "PATH: WHAT: the system's words for `error`", an errno.
[[noreturn]] void raise_errno(const std::filesystem::path& path, const char* what, int error);

/// An open file, closed with the object.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  void close() {
    if (fd_ >= 0) ::close(release());
  }

 private:
  int fd_ = -1;
};

struct OpenFile {
  Descriptor fd;
  std::size_t size = 0;  ///< bytes
};

/// A regular file, for reading. Throws Error kIo: missing, unreadable, a directory, a device or a pipe (never waited
/// for), a loop of links.
OpenFile open_regular(const std::filesystem::path& path);

/// graft::write_atomically() for bytes that lie in several places.
void write_parts_atomically(const std::filesystem::path& path, std::span<const std::span<const std::byte>> parts);

}  // namespace graft::base
