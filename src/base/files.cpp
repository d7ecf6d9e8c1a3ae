#include "base/files.h"

#include <graft/files.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <graft/error.h>

#include "base/translate.h"

namespace graft {

namespace base {

void raise_errno(const std::filesystem::path& path, const char* what, int error) {
  throw Error(ErrorCode::kIo, path.string() + ": " + what + ": " + std::generic_category().message(error));
}

}  // namespace base

namespace {

using base::Descriptor;
using base::raise_errno;

std::filesystem::path directory_of(const std::filesystem::path& path) {
  const auto parent = path.parent_path();
  return parent.empty() ? std::filesystem::path(".") : parent;
}

constexpr std::string_view kTemporary = ".tmp-", kPattern = "XXXXXX";

/// Removes what writers that were killed left beside `target`. Those who are at work hold a lock on theirs.
void remove_leftovers(const std::filesystem::path& target) {
  const std::string start = target.filename().string() + std::string(kTemporary);
  std::error_code ignored;
  std::filesystem::directory_iterator entry(directory_of(target), ignored);
  for (; !ignored && entry != std::filesystem::directory_iterator(); entry.increment(ignored)) {
    const auto name = entry->path().filename().string();
    if (!name.starts_with(start) || name.size() != start.size() + kPattern.size()) continue;
    const Descriptor fd(::open(entry->path().c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
    if (fd.get() >= 0 && ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) ::unlink(entry->path().c_str());
  }
}

/// Removes the temporary file unless it was renamed.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::filesystem::path& target) : target_(target) {
    do {
      path_ = target.string() + std::string(kTemporary) + std::string(kPattern);
      fd_ = Descriptor(::mkstemp(path_.data()));
      if (fd_.get() < 0) raise_errno(target, "cannot create a file beside it", errno);
      ::flock(fd_.get(), LOCK_EX);  // where the file system has no locks, leftovers stay
    } while (is_removed());  // by remove_leftovers(), before the lock
  }
  ~TemporaryFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const auto written = ::write(fd_.get(), bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) raise_errno(target_, "cannot write", errno);
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }

  void rename_to_target() {
    // mkstemp creates 0600; the umask can only be read by setting it, so the old file's mode or the usual one is taken.
    struct stat old{};
    const mode_t mode = ::stat(target_.c_str(), &old) == 0 ? old.st_mode & 07777 : 0644;
    if (::fchmod(fd_.get(), mode) != 0) raise_errno(target_, "cannot set the mode", errno);
    // Before the rename: what fails until then leaves the old file.
    const Descriptor directory(::open(directory_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory.get() < 0) raise_errno(target_, "cannot open its directory", errno);
    if (::fsync(fd_.get()) != 0) raise_errno(target_, "cannot sync", errno);
    const Descriptor still_locked(::dup(fd_.get()));  // until the new name is there
    if (::close(fd_.release()) != 0) raise_errno(target_, "cannot close", errno);
    if (::rename(path_.c_str(), target_.c_str()) != 0) raise_errno(target_, "cannot rename onto it", errno);
    path_.clear();
    if (::fsync(directory.get()) != 0)
      raise_errno(target_, "is written, but may not outlive a power cut: cannot sync its directory", errno);
  }

 private:
  bool is_removed() const {
    struct stat status{};
    return ::fstat(fd_.get(), &status) == 0 && status.st_nlink == 0;
  }

  const std::filesystem::path& target_;
  std::string path_;
  Descriptor fd_;
};

/// A rename would replace a device or fail on a directory.
void check_replaceable(const std::filesystem::path& path) {
  if (std::error_code ignored;
      std::filesystem::exists(path, ignored) && !std::filesystem::is_regular_file(path, ignored))
    throw Error(ErrorCode::kIo, path.string() + ": is there already and is not a regular file");
}

}  // namespace

namespace base {

OpenFile open_regular(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a pipe without a writer must not wait.
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) raise_errno(path, "cannot open", errno);
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) raise_errno(path, "cannot stat", errno);
  if (!S_ISREG(status.st_mode))
    throw Error(ErrorCode::kIo, path.string() + ": expected a regular file, found " +
                                    (S_ISDIR(status.st_mode) ? "a directory" : "a device, pipe or socket"));
  return {std::move(fd), static_cast<std::size_t>(status.st_size)};
}

}  // namespace base

namespace base {

void write_parts_atomically(const std::filesystem::path& path, std::span<const std::span<const std::byte>> parts) {
  check_replaceable(path);
  remove_leftovers(path);
  TemporaryFile file(path);
  for (const auto part : parts) file.write(part);
  file.rename_to_target();
}

}  // namespace base

void write_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  base::translated("writing ", path.native(), [&] { base::write_parts_atomically(path, std::span(&bytes, 1)); });
}

void write_atomically(const std::filesystem::path& path, std::string_view bytes) {
  write_atomically(path, std::as_bytes(std::span(bytes.data(), bytes.size())));
}

void check_writable(const std::filesystem::path& path) {
  base::translated("writing ", path.native(), [&] {
    check_replaceable(path);
    const TemporaryFile probe(path);
  });
}

}  // namespace graft
