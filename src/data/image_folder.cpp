#include <graft/dataset.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <sys/stat.h>

#include "base/alive.h"
#include "base/byte_source.h"
#include "base/sha256.h"
#include "base/text.h"
#include "base/translate.h"
#include "data/classes.h"
#include "data/identity.h"
#include "data/shuffle.h"

namespace graft {

namespace fs = std::filesystem;

namespace {

bool is_hidden(const fs::path& path) { return path.filename().native().starts_with('.'); }

[[noreturn]] void fail_io(const fs::path& path, const std::string& what) {
  throw Error(ErrorCode::kIo, path.string() + ": " + what);
}

/// Entries that are not hidden, in code-point order of their names (UTF-8 bytes sort as code points do).
std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (!is_hidden(it->path())) paths.push_back(it->path());
  if (error) fail_io(folder, "cannot be listed: " + error.message());
  std::sort(paths.begin(), paths.end(), [](const auto& a, const auto& b) { return a.native() < b.native(); });
  return paths;
}

/// Whether `inner` is `folder` or lies in it; both without links.
bool contains(const fs::path& folder, const fs::path& inner) {
  return std::mismatch(folder.begin(), folder.end(), inner.begin(), inner.end()).first == folder.end();
}

/// Files below `folder`, in order of their paths. Links are followed, but not to a folder that holds one of those
/// `around`, which this one lies in: it would be walked once more, and what is beside it.
void collect(const fs::path& folder, std::set<fs::path>& around, std::vector<fs::path>& files) {
  std::error_code error;
  const auto real = fs::canonical(folder, error);
  if (error) fail_io(folder, error.message());
  if (std::ranges::any_of(around, [&](const fs::path& outer) { return contains(real, outer); })) return;
  around.insert(real);
  for (const auto& path : entries(folder)) {
    if (fs::is_directory(path, error)) {
      collect(path, around, files);
    } else {
      files.push_back(path);
    }
  }
  around.erase(real);
}

/// `around`: what links may not lead to either.
std::vector<fs::path> files_below(const fs::path& folder, std::set<fs::path> around = {}) {
  std::vector<fs::path> files;
  collect(folder, around, files);
  return files;
}

void check_is_folder(const fs::path& root) {
  std::error_code error;
  const auto status = fs::status(root, error);
  if (status.type() == fs::file_type::not_found) fail_io(root, "expected a folder, found nothing there");
  if (error) fail_io(root, error.message());
  if (status.type() != fs::file_type::directory) fail_io(root, "expected a folder of class folders, found a file");
}

/// A file as its directory entry shows it.
struct Look {
  dev_t device;
  ino_t inode;
  off_t bytes;
  std::int64_t changed_ns;
  bool operator==(const Look&) const = default;

  /// Whether a change just after the look would show: not within the clock's tick of the last one.
  bool is_settled() const {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::nanoseconds(now).count() - changed_ns > 2'000'000'000;
  }
};

std::optional<Look> look_at(const fs::path& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  const auto change = std::max(std::pair(status.st_mtim.tv_sec, status.st_mtim.tv_nsec),
                               std::pair(status.st_ctim.tv_sec, status.st_ctim.tv_nsec));
  return Look{status.st_dev, status.st_ino, status.st_size, change.first * 1'000'000'000 + change.second};
}

/// Hashes of files, computed again for those that look otherwise than before. May be used from many threads.
class FileHashes {
 public:
  /// Of the file at `path`, `i` in the list; empty if it cannot be read or is too large.
  std::string of(std::size_t i, const fs::path& path, std::size_t max_bytes) {
    const auto look = look_at(path);
    if (!look || static_cast<std::size_t>(look->bytes) > max_bytes) return {};
    {
      const std::lock_guard lock(mutex_);
      if (const auto it = known_.find(i); it != known_.end() && it->second.first == *look) return it->second.second;
    }
    const auto hash = hash_of(path);
    if (!hash.empty() && look->is_settled() && look_at(path) == look) {
      const std::lock_guard lock(mutex_);
      known_[i] = {*look, hash};
    }
    return hash;
  }

 private:
  static std::string hash_of(const fs::path& path) try {
    return base::Sha256().update(base::read_file(path)).hex();
  } catch (const Error&) {
    return {};
  }

  std::mutex mutex_;
  std::unordered_map<std::size_t, std::pair<Look, std::string>> known_;
};

}  // namespace

struct [[gnu::visibility("hidden")]] ImageFolder::Impl {
  ImageFolderOptions options;
  std::vector<std::string> classes;
  std::vector<fs::path> paths;
  std::vector<std::int64_t> labels;
  std::vector<fs::path> stray;
  FileHashes hashes;

  void list(const fs::path& root) {
    check_is_folder(root);
    std::error_code ignored;
    std::vector<std::string> found;
    for (const auto& path : entries(root)) {
      if (fs::is_directory(path, ignored)) {
        found.push_back(path.filename().string());
      } else {
        stray.push_back(path);
      }
    }
    choose_classes(root, found);
    if (!stray.empty() && options.on_bad_image == OnBadImage::kFail)
      throw Error(ErrorCode::kFormat,
                  stray.front().string() +
                      ": expected class folders only, found a file beside them; move it into a class folder, or have "
                      "it left out (OnBadImage::kSkip, --on-bad-image skip)");
    const auto real_root = fs::canonical(root, ignored);
    for (std::size_t label = 0; label < classes.size(); ++label) {
      auto files = files_below(root / classes[label], {real_root});
      // As sorted(os.walk(...)) and sorted(files) of both have it: a folder's own files first.
      std::ranges::sort(files, {}, [](const fs::path& file) {
        const std::string_view path = file.native();
        return std::pair(path.substr(0, path.rfind('/')), path);
      });
      if (files.empty() && !options.allow_empty_class)
        throw Error(ErrorCode::kMismatch,
                    (root / classes[label]).string() + ": expected files of this class, found none");
      labels.insert(labels.end(), files.size(), static_cast<std::int64_t>(label));
      std::move(files.begin(), files.end(), std::back_inserter(paths));
    }
  }

  void choose_classes(const fs::path& root, const std::vector<std::string>& found) {
    classes = options.classes.empty() ? found : options.classes;
    for (const auto& name : classes)
      if (std::find(found.begin(), found.end(), name) == found.end())
        throw Error(ErrorCode::kMismatch,
                    root.string() + ": expected a folder for class \"" + name + "\", found " + base::list_names(found));
    if (classes.empty())
      throw Error(ErrorCode::kMismatch, root.string() + ": expected one folder for each class, found none");
    if (classes.size() == 1 && !options.allow_single_class)
      throw Error(ErrorCode::kMismatch,
                  root.string() + ": expected at least two classes, found only \"" + classes[0] + "\"");
    base::named(root.string(), [&] { data::check_class_names(classes); });
  }
};

ImageFolder::ImageFolder(const fs::path& root, const ImageFolderOptions& options) : impl_(std::make_unique<Impl>()) {
  base::translated(root.native(), [&] {
    options.augment.validate();
    impl().options = options;
    impl().list(root);
  });
}

ImageFolder::ImageFolder(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ImageFolder::Impl& ImageFolder::impl() const { return base::alive(impl_, "ImageFolder"); }
ImageFolder::~ImageFolder() = default;
ImageFolder::ImageFolder(ImageFolder&&) noexcept = default;
ImageFolder& ImageFolder::operator=(ImageFolder&&) noexcept = default;

std::pair<ImageFolder, ImageFolder> ImageFolder::split(double second_fraction, std::uint64_t seed) const {
  const auto in_second = data::second_part(impl().labels, classes().size(), second_fraction, seed);
  const auto part = [&](bool which) {
    auto chosen = std::make_unique<Impl>();
    chosen->options = impl().options;
    chosen->classes = impl().classes;
    if (which) chosen->options.augment = {};
    for (std::size_t i = 0; i < size(); ++i) {
      if (in_second[i] != which) continue;
      chosen->paths.push_back(impl().paths[i]);
      chosen->labels.push_back(impl().labels[i]);
    }
    return ImageFolder(std::move(chosen));
  };
  return {part(false), part(true)};
}

std::size_t ImageFolder::size() const { return impl().paths.size(); }
const std::vector<std::string>& ImageFolder::classes() const { return impl().classes; }
std::int64_t ImageFolder::label(std::size_t i) const {
  (void)path(i);  // checks i
  return impl().labels[i];
}
Image ImageFolder::image(std::size_t i) const { return Image::read(path(i), impl().options.decode); }
std::string ImageFolder::name(std::size_t i) const { return path(i).string(); }
std::string ImageFolder::content_id(std::size_t i) const {
  const auto& decode = impl().options.decode;
  const auto hash = impl().hashes.of(i, path(i), decode.max_file_bytes);
  return hash.empty() ? hash : hash + " " + data::to_text(decode);
}
OnBadImage ImageFolder::on_bad_image() const { return impl().options.on_bad_image; }
const Augment& ImageFolder::augment() const { return impl().options.augment; }

void ImageFolder::set_decode_options(const DecodeOptions& options) { impl().options.decode = options; }

const fs::path& ImageFolder::path(std::size_t i) const {
  if (i < impl().paths.size()) return impl().paths[i];
  throw Error(ErrorCode::kConfig,
              "expected an example below " + std::to_string(size()) + ", found " + std::to_string(i));
}

const std::vector<fs::path>& ImageFolder::stray_files() const { return impl().stray; }

std::vector<fs::path> list_images(const std::vector<fs::path>& paths) {
  return base::translated("listing pictures", [&] {
    std::vector<fs::path> files;
    for (const auto& path : paths) {
      std::error_code error;
      const auto type = fs::status(path, error).type();
      if (type == fs::file_type::not_found) fail_io(path, "No such file or directory");
      if (type == fs::file_type::directory) {
        auto below = files_below(path);
        std::move(below.begin(), below.end(), std::back_inserter(files));
      } else {
        files.push_back(path);
      }
    }
    return files;
  });
}

}  // namespace graft
