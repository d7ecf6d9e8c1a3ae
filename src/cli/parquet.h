/// Answers as Parquet files, where the module that writes them is there.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>

#include <ATen/core/Tensor.h>

#include "cli/parquet_module.h"

namespace graft::cli {

/// Writes parts, with what they depend on (about_answers()) as the files' metadata.
/// Thread-safety: const functions are safe.
class ParquetWriter {
 public:
  /// Loads graft_parquet.so. Throws Error kConfig where it is not there, or is another Graft's.
  ParquetWriter();
  /// graft.version, graft.model_sha256 and the rest as JSON, in every file from now on.
  void describe(const std::map<std::string, std::string>& about);

  /// Bytes of texts that are not UTF-8 are replaced, as in JSON. They throw Error kIo, kOutOfMemory, kInternal.
  void write_answers(const std::filesystem::path& path, std::span<AnswerRow> rows) const;
  /// `rows`: [N, C], float32, on the CPU.
  void write_features(const std::filesystem::path& path, std::span<std::string> files, const at::Tensor& rows) const;

 private:
  const ParquetModule* module_;
  ParquetMetadata metadata_;
};

}  // namespace graft::cli
