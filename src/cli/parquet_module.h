/// What the program and its module graft_parquet.so, the only code that knows Apache Arrow, say to each other: types of
/// the standard library alone. Both are built together; the module says of which version it is.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace graft::cli {

/// Texts are UTF-8.
struct GuessRow {
  std::string id, label;
  std::int32_t index = 0;
  float probability = 0;
};
struct AnswerRow {
  std::string file;
  std::vector<GuessRow> top = {};
  bool rejected = false;
  std::optional<std::string> error = {};  ///< why it could not be read; then `top` and `rejected` are null in the file
};

/// Key and value, for the whole file.
using ParquetMetadata = std::vector<std::pair<std::string, std::string>>;

struct ParquetModule {
  const char* version;  ///< GRAFT_VERSION
  /// Whole Parquet files, of one row group. They throw std::bad_alloc, or std::runtime_error with Arrow's words.
  std::string (*answers)(std::span<const AnswerRow> rows, const ParquetMetadata& metadata);
  /// `values` has files.size() rows, which are [files.size(), C].
  std::string (*features)(std::span<const std::string> files, std::span<const float> values,
                          const ParquetMetadata& metadata);
};

inline constexpr const char* kParquetModuleFile = "graft_parquet.so";
/// The module's one function: const ParquetModule* graft_parquet_module().
inline constexpr const char* kParquetModuleFunction = "graft_parquet_module";

}  // namespace graft::cli
