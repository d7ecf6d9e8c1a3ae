/// The file behind a feature cache: a header and records of one size, appended.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <graft/error.h>

#include "base/files.h"

namespace graft::train {

/// One process writes, any number read what was there when they opened the file. Every record holds its key and a
/// SHA-256 of both; all of them are checked when the file is opened.
class FeatureFile {
 public:
  /// Opens the file for `space` (64 hexadecimal digits) in `directory`, which is made if need be. All such files there
  /// together keep to `max_bytes`: the one unused for longest goes first. A damaged file is made anew, with a warning.
  /// Where another process writes to it, or it cannot be made anew, nothing can be appended, with a warning.
  /// Throws Error kIo.
  FeatureFile(const std::filesystem::path& directory, std::string space, std::int64_t max_bytes,
              WarningCallback on_warning);
  FeatureFile(const FeatureFile&) = delete;
  FeatureFile& operator=(const FeatureFile&) = delete;

  using Row = std::pair<std::string, std::size_t>;
  /// Keys (64 characters) of the rows that were there, and where they are in the file.
  const std::vector<Row>& rows() const { return rows_; }
  /// A row that is there, from any thread. Throws Error kIo, also if another program has cut the file off.
  void read_row(std::size_t at, std::span<std::byte> row) const;

  /// Of a row of float32; empty while there is none.
  const std::vector<std::int64_t>& shape() const { return shape_; }
  /// The shape of rows to come. Before the first append() to a file without rows.
  void set_shape(std::vector<std::int64_t> shape) { shape_ = std::move(shape); }

  /// Its name in the directory, and the bytes of it that are records.
  std::pair<std::string, std::size_t> extent() const { return {path_.filename().string(), end_}; }

  /// Cuts the file back to an extent that it had, and removes all others there: what was kept since is gone. While no
  /// process works with them.
  static void restore(const std::filesystem::path& directory, const std::pair<std::string, std::size_t>& extent);

  bool can_append() const { return may_write_; }
  /// Where the row is in the file; nothing if there was no room for it, and from then on.
  std::optional<std::size_t> append(const std::string& key, std::span<const std::byte> row);

 private:
  void open();
  /// Whether it is whole, but for what a process that died left at its end.
  bool read();
  bool read_header(std::size_t size);
  bool make_room(std::size_t bytes);
  bool write(std::span<const std::byte> bytes);
  void warn(const std::string& text) const;

  std::filesystem::path path_;
  std::string space_;
  std::int64_t max_bytes_;
  WarningCallback on_warning_;
  base::Descriptor fd_;
  bool may_write_ = false;
  std::size_t end_ = 0;      ///< of the records that are whole
  std::size_t granted_ = 0;  ///< bytes that may be added without a look at the other files
  bool is_full_ = false;
  std::vector<std::int64_t> shape_;
  std::vector<Row> rows_;
};

}  // namespace graft::train
