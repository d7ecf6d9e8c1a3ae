#include "base/files.h"

#include <graft/files.h>

#include <cerrno>
#include <cstdio>
#include <optional>
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

/// Temporary files of NAME are called NAME.graft-tmp- and so many hexadecimal digits, counted from 0: nobody's own file
/// is. Whoever writes takes the first name that nobody at work has, so that what killed writers left is found again
/// without a look at all that lies in the directory.
constexpr const char* kTemporary = ".graft-tmp-";
constexpr unsigned kTidied = 8;  ///< names that are looked at even if the first is free

std::string temporary_name(const std::filesystem::path& target, unsigned number) {
  char digits[9];
  std::snprintf(digits, sizeof digits, "%08x", number);
  return target.string() + kTemporary + digits;
}

/// Whether `path` names the file that is open.
bool is_at(const Descriptor& fd, const std::string& path) {
  struct stat open{}, named{};
  return ::fstat(fd.get(), &open) == 0 && ::lstat(path.c_str(), &named) == 0 && open.st_ino == named.st_ino &&
         open.st_dev == named.st_dev;
}

/// Removes a temporary file whose writer was killed: those who are at work hold a lock on theirs. False if it is there
/// still.
bool remove_leftover(const std::string& path) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
  if (fd.get() < 0) return errno == ENOENT;
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return false;
  // Its writer may be done, and the name another's by now; with the lock on what it names nobody else touches it.
  return !is_at(fd, path) || ::unlink(path.c_str()) == 0;
}

/// The file that a link leads to, so that the link stays one.
std::filesystem::path behind_links(const std::filesystem::path& path) {
  std::error_code none;
  auto target = std::filesystem::is_symlink(path, none) ? std::filesystem::canonical(path, none) : path;
  return target.empty() ? path : target;
}

/// Removes the temporary file unless it was renamed.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::filesystem::path target) : target_(std::move(target)) {
    struct stat old{};
    if (::stat(target_.c_str(), &old) == 0) mode_ = old.st_mode & 07777;
    for (unsigned number = 0; number < kTidied; ++number) remove_leftover(temporary_name(target_, number));
    unsigned number = 0;
    do path_ = temporary_name(target_, number++);
    while (!create());  // no allocation behind it: one that fails would leave the file
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
    if (mode_ && ::fchmod(fd_.get(), *mode_) != 0) raise_errno(target_, "cannot set the mode", errno);
    // Before the rename: what fails until then leaves the old file.
    const Descriptor directory(::open(directory_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory.get() < 0) raise_errno(target_, "cannot open its directory", errno);
    if (::fsync(fd_.get()) != 0) raise_errno(target_, "cannot sync", errno);
    if (::rename(path_.c_str(), target_.c_str()) != 0) raise_errno(target_, "cannot rename onto it", errno);
    path_.clear();
    if (::fsync(directory.get()) != 0)
      raise_errno(target_, "is written, but may not outlive a power cut: cannot sync its directory", errno);
  }

 private:
  /// False if another writer has that name. Nobody may read more of the file than of the old one, or than the umask has
  /// it.
  bool create() {
    for (;;) {
      fd_ = Descriptor(::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode_.value_or(0666) & 0666));
      if (const int error = errno; fd_.get() < 0) {
        if (error != EEXIST) raise_errno(target_, "cannot create a file beside it", error);
        if (!remove_leftover(path_)) return false;
        continue;
      }
      ::flock(fd_.get(), LOCK_EX);         // where the file system has no locks, leftovers stay
      if (is_at(fd_, path_)) return true;  // else it was removed as a leftover before the lock
    }
  }

  std::filesystem::path target_;
  std::optional<mode_t> mode_;  ///< the old file's
  std::string path_;
  Descriptor fd_;
};

/// A rename would replace a device or fail on a directory.
void check_replaceable(const std::filesystem::path& path) {
  if (path.empty()) throw Error(ErrorCode::kIo, "expected the name of a file, found none");
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
  TemporaryFile file(behind_links(path));
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
    const TemporaryFile probe(behind_links(path));
  });
}

}  // namespace graft
