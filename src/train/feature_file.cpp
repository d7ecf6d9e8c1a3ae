#include "train/feature_file.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sha256.h"

namespace graft::train {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kMagic = "graft features 1\n";
constexpr std::string_view kSuffix = ".features";
constexpr std::size_t kDigest = 64;
constexpr std::size_t kHeader = 512;
constexpr std::size_t kBeforeRow = 2 * kDigest;  ///< of a record: the key and the checksum
constexpr std::int64_t kLargest = std::int64_t{1} << 40;

/// The first kHeader bytes of a file: what it is, for which space, the rows' shape and a checksum of that.
std::string header(const std::string& space, const std::vector<std::int64_t>& shape) {
  std::string text = std::string(kMagic) + space + "\n";
  for (const auto size : shape) text += std::to_string(size) + " ";
  text += "\n";
  text += base::Sha256().update(text).hex();
  text.resize(kHeader, '\n');
  return text;
}

std::string checksum(std::string_view key, std::span<const std::byte> row) {
  return base::Sha256().update(key).update(row).hex();
}

std::vector<std::int64_t> numbers(std::string_view text) {
  std::vector<std::int64_t> found;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    std::int64_t number = 0;
    const auto [rest, error] = std::from_chars(at, end, number);
    if (error != std::errc() || number < 1) break;
    found.push_back(number);
    at = rest + 1;
  }
  return found;
}

/// Of a row of float32; nothing for a shape that no memory holds.
std::optional<std::size_t> bytes_of(const std::vector<std::int64_t>& shape) {
  std::size_t product = sizeof(float);
  for (const auto size : shape)
    if (__builtin_mul_overflow(product, static_cast<std::size_t>(size), &product) || product > std::size_t{kLargest})
      return std::nullopt;
  return product;
}

std::size_t size_of(int fd, const fs::path& path) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) base::raise_errno(path, "cannot stat", errno);
  if (!S_ISREG(status.st_mode)) throw Error(ErrorCode::kIo, path.string() + ": expected a regular file");
  return static_cast<std::size_t>(status.st_size);
}

/// Whether `path` still names the file that is open.
bool is_at(int fd, const fs::path& path) {
  struct stat open{}, named{};
  return ::fstat(fd, &open) == 0 && ::stat(path.c_str(), &named) == 0 && open.st_ino == named.st_ino &&
         open.st_dev == named.st_dev;
}

struct OtherFile {
  fs::path path;
  std::size_t bytes;
  fs::file_time_type used;
};

/// The other caches in the directory, the one unused for longest first.
std::vector<OtherFile> others(const fs::path& mine) {
  std::vector<OtherFile> found;
  std::error_code error;
  for (fs::directory_iterator it(mine.parent_path(), error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() != kSuffix || it->path() == mine) continue;
    std::error_code gone;
    OtherFile other{it->path(), static_cast<std::size_t>(it->file_size(gone)), it->last_write_time(gone)};
    if (!gone) found.push_back(std::move(other));
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.used < b.used; });
  return found;
}

/// Removes a cache unless a process writes to it.
bool remove_unused(const fs::path& path) {
  const base::Descriptor fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  return fd.get() >= 0 && ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0 && ::unlink(path.c_str()) == 0;
}

}  // namespace

FeatureFile::FeatureFile(const fs::path& directory, std::string space, std::int64_t max_bytes,
                         WarningCallback on_warning)
    : path_(directory / (space.substr(0, 32) + std::string(kSuffix))),
      space_(std::move(space)),
      max_bytes_(max_bytes),
      on_warning_(std::move(on_warning)) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) base::raise_errno(directory, "cannot be made", error.value());
  open();
  if (!may_write_) warn("another process writes to it: what is computed now is kept in memory");
  if (read()) return;
  warn("is damaged, or no feature cache of this version: it is made anew");
  rows_.clear();
  shape_.clear();
  if (may_write_ && ::unlink(path_.c_str()) == 0) {
    open();
    if (may_write_ && read()) return;
  }
  rows_.clear();
  shape_.clear();
  may_write_ = false;
}

void FeatureFile::restore(const fs::path& directory, const std::pair<std::string, std::size_t>& extent) {
  const auto kept = directory / extent.first;
  for (const auto& other : others(kept)) fs::remove(other.path);
  std::error_code error;
  if (fs::file_size(kept, error) > extent.second && !error) fs::resize_file(kept, extent.second);
}

void FeatureFile::open() {
  do {  // again if it was replaced in between
    fd_ = base::Descriptor(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644));
    if (fd_.get() < 0) base::raise_errno(path_, "cannot open", errno);
    may_write_ = ::flock(fd_.get(), LOCK_EX | LOCK_NB) == 0;
  } while (may_write_ && !is_at(fd_.get(), path_));
  ::futimens(fd_.get(), nullptr);
}

bool FeatureFile::read_header(std::size_t size) {
  if (size < kHeader) return false;
  std::string found(kHeader, '\0');
  read_row(0, std::as_writable_bytes(std::span(found)));
  const auto shape_at = kMagic.size() + kDigest + 1;
  shape_ = numbers(std::string_view(found).substr(shape_at, found.find('\n', shape_at) - shape_at));
  return !shape_.empty() && bytes_of(shape_) && found == header(space_, shape_);
}

bool FeatureFile::read() {
  end_ = 0;
  const std::size_t size = size_of(fd_.get(), path_);
  if (size == 0) return true;
  if (!read_header(size)) return false;
  const std::size_t row_bytes = *bytes_of(shape_), record = kBeforeRow + row_bytes, count = (size - kHeader) / record;
  end_ = kHeader;
  std::vector<std::byte> bytes(count == 0 ? 0 : record);
  for (std::size_t i = 0; i < count; ++i) {
    read_row(end_, bytes);
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), kBeforeRow);
    const auto key = text.substr(0, kDigest);
    if (text.substr(kDigest) != checksum(key, std::span(bytes).subspan(kBeforeRow))) {
      if (i + 1 < count) return false;
      break;  // the next one is written over it: never cut off, others may read there
    }
    rows_.emplace_back(key, end_ + kBeforeRow);
    end_ += record;
  }
  return true;
}

void FeatureFile::read_row(std::size_t at, std::span<std::byte> row) const {
  while (!row.empty()) {
    const auto found = ::pread(fd_.get(), row.data(), row.size(), static_cast<off_t>(at));
    if (found < 0 && errno == EINTR) continue;
    if (found < 0) base::raise_errno(path_, "cannot read", errno);
    if (found == 0)
      throw Error(ErrorCode::kIo, path_.string() + ": ends at byte " + std::to_string(at) +
                                      ", where there was more: another program has cut the feature cache off");
    at += static_cast<std::size_t>(found);
    row = row.subspan(static_cast<std::size_t>(found));
  }
}

std::optional<std::size_t> FeatureFile::append(const std::string& key, std::span<const std::byte> row) {
  const std::string first = end_ == 0 ? header(space_, shape_) : std::string();
  const std::string before = key + checksum(key, row);
  std::vector<std::byte> record(first.size() + before.size() + row.size());
  std::memcpy(record.data(), first.data(), first.size());
  std::memcpy(record.data() + first.size(), before.data(), before.size());
  std::memcpy(record.data() + first.size() + before.size(), row.data(), row.size());
  is_full_ = is_full_ || !make_room(record.size());
  if (is_full_) return std::nullopt;
  if (!write(record)) {
    warn(std::string("cannot be written (") + std::generic_category().message(errno) + "): no more is kept in it");
    may_write_ = false;
    return std::nullopt;
  }
  end_ += record.size();
  return end_ - row.size();
}

bool FeatureFile::make_room(std::size_t bytes) {
  if (bytes > granted_) {
    const auto bound = static_cast<std::size_t>(max_bytes_);
    if (end_ + bytes > bound) return false;
    const auto files = others(path_);
    std::size_t sum = end_ + bytes;
    for (const auto& file : files) sum += file.bytes;
    for (const auto& file : files) {
      if (sum <= bound) break;
      if (remove_unused(file.path)) sum -= file.bytes;
    }
    if (sum > bound) return false;
    // Half of the room that is left: another process may take the other half, and it need not look for each row either.
    granted_ = bytes + (bound - sum) / 2;
  }
  granted_ -= bytes;
  return true;
}

bool FeatureFile::write(std::span<const std::byte> bytes) {
  for (std::size_t done = 0; done < bytes.size();) {
    const auto written = ::pwrite(fd_.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(end_ + done));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    done += static_cast<std::size_t>(written);
  }
  return true;
}

void FeatureFile::warn(const std::string& text) const {
  if (on_warning_) on_warning_("the feature cache " + path_.string() + " " + text);
}

}  // namespace graft::train
