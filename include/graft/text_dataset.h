/// Labelled texts to train and evaluate on: a CSV file, or a folder for each class.
/// Thread-safety: as a Dataset; the constructors and split() need it for themselves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <graft/dataset.h>
#include <graft/export.h>

namespace graft {

/// How a TextDataset is read.
struct TextOptions {
  std::string text_column = "text";    ///< of a CSV file
  std::string label_column = "label";  ///< the same
  /// These classes, in this order, instead of those that occur, in code-point order.
  std::vector<std::string> classes = {};
  bool allow_empty_class = false;
  bool allow_single_class = false;
  std::size_t max_text_bytes = std::size_t{1} << 20;  ///< a longer text is refused
  std::size_t max_file_bytes = std::size_t{4} << 30;  ///< a larger file is refused
};

/// Texts in UTF-8, read whole into memory. Each is known by its content: what a frozen encoder yields for it is kept.
class GRAFT_EXPORT TextDataset : public Dataset {
 public:
  /// From a file: CSV as RFC 4180 has it (commas, fields in quotes, quotes doubled), whose first row names the columns.
  /// From a folder: a folder for each class, as ImageFolder reads it, in which every file is a text.
  /// Throws Error kIo; kFormat naming file and line (not UTF-8, a NUL byte, quotes or fields that do not fit, no such
  /// column, an empty file); kLimit naming the line (a text that is too long), or the file; kMismatch (no texts, a
  /// class without any, a single class, a class that is not among those asked for, a row without a class); kConfig for
  /// options out of range.
  explicit TextDataset(const std::filesystem::path& path, const TextOptions& options = {});
  /// Texts without classes, all of class 0: of a CSV file those of the column, of a folder its files, of any other file
  /// its lines. Throws as the other does.
  static TextDataset unlabelled(const std::vector<std::filesystem::path>& paths, const TextOptions& options = {});
  /// Texts at hand, for instance with classes of a program's own. Throws Error kMismatch unless there is a label, an
  /// index into `classes`, for each; kFormat naming the text that is not UTF-8.
  TextDataset(std::vector<std::string> texts, std::vector<std::int64_t> labels, std::vector<std::string> classes);
  ~TextDataset() override;
  TextDataset(TextDataset&&) noexcept;
  TextDataset& operator=(TextDataset&&) noexcept;

  /// Two parts, as ImageFolder::split() makes them. Throws Error kConfig unless 0 < second_fraction < 1.
  std::pair<TextDataset, TextDataset> split(double second_fraction, std::uint64_t seed = 0) const;

  std::size_t size() const override;
  const std::vector<std::string>& classes() const override;
  std::int64_t label(std::size_t i) const override;
  std::string text(std::size_t i) const override;
  /// "FILE:LINE", the line that the text begins on; for a folder the file's path.
  std::string name(std::size_t i) const override;
  std::string content_id(std::size_t i) const override;  ///< the text's SHA-256

 private:
  struct Impl;
  explicit TextDataset(std::unique_ptr<Impl> impl);
  Impl& impl() const;
  std::unique_ptr<Impl> impl_;
};

}  // namespace graft
