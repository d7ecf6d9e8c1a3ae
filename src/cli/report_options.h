/// What commands that train or measure leave for people to read: --report, --tensorboard and --log.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/common.h"

namespace graft::cli {

struct ReportOptions {
  std::string report, tensorboard, log;
};

/// --report alone, for commands that do not train.
void add_report_option(CLI::App& app, ReportOptions& options);
/// --report of commands whose page has no document beside it.
void add_page_option(CLI::App& app, std::string& page);
/// All three.
void add_run_options(CLI::App& app, ReportOptions& options);

/// The path's last two parts: "ants_bees/train", for a title.
std::string short_path(const std::string& path);

/// What a command was given, and the defaults of the rest, as the report's settings. Without what does not change
/// results.
std::vector<ReportSetting> settings_of(const CLI::App& app);

/// A file with a line for each epoch. A run that goes on keeps the lines of the epochs before.
class EpochLog {
 public:
  explicit EpochLog(std::string path);
  void add(const EpochInfo& info, std::int64_t number);  ///< `number` counts from 0
  void write(const History& history) const;              ///< all epochs at once

 private:
  std::string text_of(const History& history) const;
  std::string path_;
  std::vector<std::string> before_;  ///< lines that were there
  std::optional<std::int64_t> first_;
  History seen_;
};

/// Writes a run's curves while it trains, and its report at the end; each only if it was asked for.
class RunReport {
 public:
  /// Throws Error before any work is done: kIo if a file could not be written there, kConfig for a log that is neither
  /// .csv nor .jsonl.
  RunReport(const ReportOptions& options, const CLI::App& app, const std::string& title);

  /// Before training, with the seed of its augmentation.
  void begin(const Model& model, const Dataset& train, const Dataset& val, const FitOptions& fit, std::uint64_t seed);
  void step(const StepInfo& info);
  void epoch(const EpochInfo& info);
  /// What a doctor said of the run.
  void set_findings(std::vector<Finding> findings) { report_.findings = std::move(findings); }
  /// After training, with the weights that were kept.
  void finish(const Common& common, const Model& model, const Trainer& trainer, const Dataset& val,
              const History& history);

  /// How many top losses the report wants of an evaluation.
  std::int64_t top_losses() const { return wanted() ? kTopLosses : 0; }
  /// Of an evaluation alone.
  void finish(const Common& common, const Model& model, const Dataset& data, const Evaluation& evaluation);

 private:
  static constexpr std::int64_t kTopLosses = 12;

  bool wanted() const { return !options_.report.empty(); }
  void note_hash(const std::string& name, const std::string& hash);
  void add(const std::string& name, const Evaluation& evaluation, const Model& model, const Dataset& data);
  /// The page and the JSON document beside it.
  void write(const Common& common) const;

  ReportOptions options_;
  Report report_;
  std::optional<TensorBoard> tensorboard_;
  std::optional<EpochLog> log_;
  std::int64_t epoch_ = 0;  ///< of the latest step
};

}  // namespace graft::cli
