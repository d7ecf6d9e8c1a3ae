/// Many pictures or texts, by one process or by several, into a folder of parts that a later run completes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli/common.h"

namespace graft::cli {

struct BulkOptions {
  std::string folder;
  std::int64_t per_part = 1024;  ///< rounded up to whole batches, so that all have the same neighbours
  std::int64_t batch = 32;
  std::string format;                        ///< of the parts, and their names' ending: "jsonl", "npy", "parquet"
  std::map<std::string, std::string> about;  ///< what the answers depend on: a folder has those of one such
};
/// --shard, and --format: `format`, or parquet.
void add_bulk_options(CLI::App& app, BulkOptions& options, const std::string& format);
/// Whether it is to be Parquet. Throws Error kConfig for that where there is no folder to write to.
bool wants_parquet(const BulkOptions& options, bool to_folder);

/// What is the same for a model's answers: weights, preprocessing, device, versions.
std::map<std::string, std::string> about_answers(const Model& model, bool reduced_decoding);

/// A part: examples that follow each other.
struct Part {
  std::filesystem::path path;
  std::vector<std::size_t> examples;              ///< all of it
  std::map<std::size_t, std::string> unreadable;  ///< which of them, and why
};

/// How examples become a part.
struct Answering {
  /// Answers to a batch; the examples it is of.
  std::function<void(const Batch& batch, const std::vector<std::size_t>& examples)> take;
  /// Writes a part, of which all examples were taken or are unreadable.
  std::function<void(const Part& part)> write;
};

/// Answers all examples that the folder has no part of, this process's share of them, and when all are there writes so
/// into the manifest. Throws Error kMismatch if the folder was begun with other data, another model or options, or
/// if the processes were, naming the difference. Returns what there is to say, in rank 0.
nlohmann::json answer_in_bulk(const BulkOptions& options, const Dataset& data, const Model& model,
                              const Answering& answering, const Common& common);

}  // namespace graft::cli
