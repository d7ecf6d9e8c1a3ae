/// Labelled examples, pictures or texts, to train and evaluate on.
/// Thread-safety: const members of a Dataset are called from the loader's threads at the same time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <graft/augment.h>
#include <graft/error.h>
#include <graft/export.h>
#include <graft/image.h>

namespace graft {

/// What happens to a file that cannot be read as a picture.
enum class OnBadImage {
  kFail,  ///< the first unreadable file ends the run with its Error
  kSkip,  ///< unreadable files are left out, counted and listed; an Error only if no file can be read
};

/// Implement this to train on anything that yields pictures or texts, and class indices.
class GRAFT_EXPORT Dataset {
 public:
  virtual ~Dataset();

  virtual std::size_t size() const = 0;
  /// Class names in index order.
  virtual const std::vector<std::string>& classes() const = 0;
  /// Index into classes(). Of no account where targets() is overridden for other tasks than one of single labels.
  virtual std::int64_t label(std::size_t i) const = 0;
  /// What is to be learned of example i, task after task (Task::targets() numbers each): a class index for a single
  /// label, 0 or 1 for each of several labels, a number for each output of a regression. NaN: not known, left out of
  /// the loss. classes() then names the outputs of all tasks in a row. Default: label(i).
  virtual std::vector<float> targets(std::size_t i) const;
  /// Decodes picture i. Throws Error if it cannot be read. Default: throws kMismatch, there are no pictures.
  virtual Image image(std::size_t i) const;
  /// Text i, UTF-8, of a data set for networks that take texts. Default: throws kMismatch, there are no texts.
  virtual std::string text(std::size_t i) const;
  /// What example i is made from, in any text that differs wherever image(i) or text(i) does, now or in another
  /// process: what the frozen part of a network yields for it is kept under it. Empty, the default: not known, nothing
  /// is kept.
  virtual std::string content_id(std::size_t i) const;
  /// How messages and result lists call example i: its path, for files.
  virtual std::string name(std::size_t i) const = 0;
  /// What happens to pictures that image() throws for.
  virtual OnBadImage on_bad_image() const { return OnBadImage::kFail; }
  /// Random changes wanted for training; evaluation ignores them.
  virtual const Augment& augment() const;
};

/// How an ImageFolder is read.
struct ImageFolderOptions {
  Augment augment = {};
  OnBadImage on_bad_image = OnBadImage::kFail;
  /// These folders, in this order, instead of all of them in code-point order.
  std::vector<std::string> classes = {};
  bool allow_empty_class = false;
  bool allow_single_class = false;
  DecodeOptions decode = {};
};

/// A folder per class, as torchvision's ImageFolder and Keras' flow_from_directory read it: classes are the sub-folders
/// in code-point order of their names; every file below one of them (links followed, cycles not) is a picture of that
/// class, folder after folder in code-point order of their paths, a folder's files in that of their names; names that
/// begin with a dot are ignored.
class GRAFT_EXPORT ImageFolder : public Dataset {
 public:
  /// Lists the files; reads none. Throws Error kIo (root missing or not a folder), kMismatch (no class folders, a class
  /// without files, a single class, names that differ by case only, a listed class that is not there), kFormat
  /// (pictures directly in the root, with kFail; a class whose name is not UTF-8).
  explicit ImageFolder(const std::filesystem::path& root, const ImageFolderOptions& options = {});
  ~ImageFolder() override;
  ImageFolder(ImageFolder&&) noexcept;
  ImageFolder& operator=(ImageFolder&&) noexcept;

  /// Two parts of this folder, drawn per class with `seed`: `second_fraction` of each class (rounded down, at least one
  /// picture where the class has two or more) goes to the second. The second has no augmentation.
  /// Throws Error kConfig unless 0 < second_fraction < 1.
  std::pair<ImageFolder, ImageFolder> split(double second_fraction, std::uint64_t seed = 0) const;

  std::size_t size() const override;
  const std::vector<std::string>& classes() const override;
  std::int64_t label(std::size_t i) const override;
  Image image(std::size_t i) const override;
  std::string name(std::size_t i) const override;
  /// The file's SHA-256 and the decode options. A file that looks the same as when it was last hashed (size, time of
  /// change, inode) is not read again. Empty for one that cannot be read.
  std::string content_id(std::size_t i) const override;
  OnBadImage on_bad_image() const override;
  const Augment& augment() const override;

  /// How image() reads from now on. Not while a loader or a trainer works with this folder.
  void set_decode_options(const DecodeOptions& options);

  const std::filesystem::path& path(std::size_t i) const;  ///< example i's file
  /// Files directly in the root, left out under kSkip.
  const std::vector<std::filesystem::path>& stray_files() const;

 private:
  struct Impl;
  explicit ImageFolder(std::unique_ptr<Impl> impl);
  Impl& impl() const;
  std::unique_ptr<Impl> impl_;
};

/// Some examples of a data set, in any order and as often as they are named, with all that it says of them.
class GRAFT_EXPORT Subset : public Dataset {
 public:
  /// The data set must outlive it. Throws Error kConfig for an index that it has not.
  Subset(const Dataset& all, std::vector<std::size_t> indices);

  std::size_t size() const override;
  const std::vector<std::string>& classes() const override;
  std::int64_t label(std::size_t i) const override;
  std::vector<float> targets(std::size_t i) const override;
  Image image(std::size_t i) const override;
  std::string text(std::size_t i) const override;
  std::string content_id(std::size_t i) const override;
  std::string name(std::size_t i) const override;
  OnBadImage on_bad_image() const override;
  const Augment& augment() const override;

  /// Which of the data set's examples i is. Throws Error kConfig unless it is below size(), as all that ask for one do.
  std::size_t original(std::size_t i) const;

 private:
  const Dataset* all_;
  std::vector<std::size_t> indices_;
};

/// All picture files of `paths` (files, or folders walked recursively in code-point order; hidden names ignored).
/// Throws Error kIo for a path that does not exist.
GRAFT_EXPORT std::vector<std::filesystem::path> list_images(const std::vector<std::filesystem::path>& paths);

}  // namespace graft
