#include "cli/report_options.h"

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <utility>

#include <nlohmann/json.hpp>

#include "cli/outputs.h"
#include "cli/report_pictures.h"

namespace graft::cli {

namespace {

std::filesystem::path json_beside(const std::string& report) {
  return std::filesystem::path(report).replace_extension(".json");
}

/// Refuses to write over a .json file that somebody else has put beside the page.
void check_document(const std::filesystem::path& file) {
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return;
  std::ifstream bytes(file, std::ios::binary);
  const auto there = nlohmann::json::parse(bytes, nullptr, /*allow_exceptions=*/false);
  if (!there.is_object() || !there.contains("graft_report"))
    throw Error(ErrorCode::kConfig, "--report: would write over " + file.string() +
                                        ", which is no report; give the page another name, or move that file");
}

std::string without_dashes(const std::string& name) { return name.substr(name.starts_with("--") ? 2 : 0); }

/// The file's lines; none if it cannot be read.
std::vector<std::string> lines_of(std::istream&& text) {
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

/// What a phase trains, in words.
std::string phase_name(const Phase& phase, std::size_t number) {
  if (phase.freeze == "all") return "head alone";
  if (phase.freeze == "none") return "all layers";
  return "phase " + std::to_string(number) + (phase.freeze.empty() ? "" : ", frozen " + phase.freeze);
}

}  // namespace

std::string short_path(const std::string& path) {
  const auto whole = std::filesystem::path(path).lexically_normal();
  const auto last = whole.has_filename() ? whole : whole.parent_path();  // "data/train/"
  return (last.parent_path().filename() / last.filename()).string();
}

void add_report_option(CLI::App& app, ReportOptions& options) {
  app.add_option("--report", options.report, ".html file for a report; the same as .json beside it, for graft report")
      ->check(page_name());
}

void add_page_option(CLI::App& app, std::string& page) {
  app.add_option("--report", page, ".html file for a page with charts")->check(page_name());
}

void add_run_options(CLI::App& app, ReportOptions& options) {
  add_report_option(app, options);
  app.add_option("--tensorboard", options.tensorboard, "folder for TensorBoard's event files");
  app.add_option("--log", options.log, ".csv or .jsonl file with a line for each epoch");
}

std::vector<ReportSetting> settings_of(const CLI::App& app) {
  static const std::set<std::string> kOfTheProgram = {"help",   "json",        "quiet", "config",
                                                      "report", "tensorboard", "log"};
  std::vector<ReportSetting> settings;
  for (const auto* option : app.get_options()) {
    const auto name = without_dashes(option->get_name());
    if (kOfTheProgram.contains(name)) continue;
    std::string value;
    for (const auto& given : option->results()) value += (value.empty() ? "" : " ") + given;
    if (option->count() == 0) value = option->get_default_str();
    if (!value.empty()) settings.push_back({name, value});
  }
  return settings;
}

EpochLog::EpochLog(std::string path) : path_(std::move(path)) {
  if (!path_.ends_with(".csv") && !path_.ends_with(".jsonl"))
    throw Error(ErrorCode::kConfig, "--log: expected a .csv or .jsonl file, found \"" + path_ + "\"");
  check_writable(path_);
  before_ = lines_of(std::ifstream(path_));
}

std::string EpochLog::text_of(const History& history) const {
  return path_.ends_with(".csv") ? to_csv(history) : to_json_lines(history);
}

void EpochLog::add(const EpochInfo& info, std::int64_t number) {
  if (!first_) first_ = number;
  seen_.epochs.resize(static_cast<std::size_t>(number));
  seen_.epochs.push_back(info);
  const auto lines = lines_of(std::istringstream(text_of(seen_)));
  const std::size_t old = lines.size() - seen_.epochs.size() + static_cast<std::size_t>(*first_);
  std::string text;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const bool header = i + seen_.epochs.size() < lines.size();
    if (header || i >= old)
      text += lines[i] + "\n";
    else if (i < before_.size())
      text += before_[i] + "\n";
  }
  write_atomically(path_, text);
}

void EpochLog::write(const History& history) const { write_atomically(path_, text_of(history)); }

RunReport::RunReport(const ReportOptions& options, const CLI::App& app, const std::string& title)
    : options_(options), report_{.title = title, .settings = settings_of(app)} {
  if (wanted()) {
    check_output(app, "--report", json_beside(options_.report));
    check_document(json_beside(options_.report));
    check_writable(options_.report);
    check_writable(json_beside(options_.report));
  }
  if (!options_.log.empty()) log_.emplace(options_.log);
  if (!options_.tensorboard.empty()) tensorboard_.emplace(options_.tensorboard);
}

void RunReport::note_hash(const std::string& name, const std::string& hash) {
  if (!hash.empty()) report_.hashes.push_back({name, hash});
}

void RunReport::begin(const Model& model, const Dataset& train, const Dataset& val, const FitOptions& fit,
                      std::uint64_t seed) {
  if (!wanted()) return;
  note_hash("the model before training", model.inspect().sha256);
  note_hash("training data", content_hash(train));
  note_hash("validation data", content_hash(val));
  if (!takes_text(model.input())) report_.augmentation_sheet = augmentation_sheet(train, model.preprocessing(), seed);
  for (const auto& phase : fit.phases) report_.phases.push_back(phase_name(phase, report_.phases.size() + 1));
}

void RunReport::step(const StepInfo& info) {
  epoch_ = info.epoch;
  if (tensorboard_) tensorboard_->add(info);
}

void RunReport::epoch(const EpochInfo& info) {
  if (tensorboard_) tensorboard_->add(info);
  if (log_) log_->add(info, epoch_);
}

void RunReport::finish(const Common& common, const Model& model, const Trainer& trainer, const Dataset& val,
                       const History& history) {
  if (log_) log_->write(history);
  if (!wanted()) return;
  note_hash("the model after training", model.inspect().sha256);
  report_.history = history;
  add("validation data", trainer.evaluate(val, {.loader_threads = loader_threads(common), .top_losses = kTopLosses}),
      model, val);
  write(common);
}

void RunReport::finish(const Common& common, const Model& model, const Dataset& data, const Evaluation& evaluation) {
  if (!wanted()) return;
  note_hash("the model", model.inspect().sha256);
  note_hash("the data", content_hash(data));
  add("", evaluation, model, data);
  write(common);
}

namespace {

/// Of a text as much as a table shows, whole characters of UTF-8.
std::string beginning(const std::string& text) {
  constexpr std::size_t kMostBytes = 160;
  if (text.size() <= kMostBytes) return text;
  auto size = kMostBytes;
  while ((static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
  return text.substr(0, size) + "...";
}

}  // namespace

void RunReport::add(const std::string& name, const Evaluation& evaluation, const Model& model, const Dataset& data) {
  report_.evaluations.push_back({name, evaluation});
  const auto class_name = [&](std::int64_t index) {
    return evaluation.per_class.at(static_cast<std::size_t>(index)).name;
  };
  for (const auto& one : evaluation.top_losses) {
    ReportExample example{.name = one.name,
                          .label = class_name(one.true_class),
                          .guess = class_name(one.predicted_class),
                          .probability = one.probability,
                          .loss = one.loss};
    if (takes_text(model.input())) {
      example.name += ": " + beginning(data.text(one.index));
    } else {
      illustrate(example, model, data.image(one.index));
    }
    report_.top_losses.push_back(std::move(example));
  }
}

void RunReport::write(const Common& common) const {
  write_atomically(json_beside(options_.report), to_json(report_));
  write_html(options_.report, report_);
  note(common, "wrote " + options_.report);
}

}  // namespace graft::cli
