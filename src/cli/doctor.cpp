#include "cli/doctor.h"

#include <algorithm>
#include <filesystem>

#include <stdlib.h>

#include "cli/json.h"
#include "cli/training_options.h"

namespace graft::cli {

namespace {

constexpr std::size_t kColumns = 100;

/// `text` behind `label`, further lines indented as far.
std::string wrapped(const std::string& label, const std::string& text) {
  std::string lines, line = label;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find(' ', at), text.size());
    const auto word = text.substr(at, end - at);
    if (line.size() > label.size() && line.size() + 1 + word.size() > kColumns) {
      lines += line + "\n";
      line = std::string(label.size(), ' ');
    }
    line += (line.size() > label.size() ? " " : "") + word;
    at = end + 1;
  }
  return lines + line + "\n";
}

void sort_by_severity(std::vector<Finding>& findings) {
  std::ranges::stable_sort(findings, std::greater{}, &Finding::severity);
}

nlohmann::json to_json(const std::vector<Finding>& findings) {
  auto all = nlohmann::json::array();
  for (const auto& finding : findings)
    all.push_back({{"code", std::string(to_string(finding.code))},
                   {"severity", std::string(to_string(finding.severity))},
                   {"where", finding.where},
                   {"seen", finding.seen},
                   {"change", finding.change},
                   {"pictures", finding.pictures}});
  return all;
}

std::string to_text(const Diagnosis& diagnosis) {
  const auto count = diagnosis.findings.size();
  const std::string total = (count == 0 ? "no" : std::to_string(count)) + (count == 1 ? " finding; " : " findings; ") +
                            std::to_string(diagnosis.checked.size()) + " things were checked\n";
  return count == 0 ? total : findings_text(diagnosis.findings) + "\n" + total;
}

/// A folder for the features, which the examinations and the trial run share.
class CacheFolder {
 public:
  CacheFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "graft-doctor-XXXXXX").string();
    if (::mkdtemp(pattern.data())) path_ = pattern;
  }
  ~CacheFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  CacheFolder(const CacheFolder&) = delete;
  CacheFolder& operator=(const CacheFolder&) = delete;

  /// Empty if there is none: features are then computed as often as they are needed.
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// A run that diverges has no history.
History tried(Trainer& trainer, const Dataset& train, const Dataset& val, const FitOptions& fit) {
  try {
    return trainer.fit(train, val, fit);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kNumeric) return {};
    throw;
  }
}

void run(TrainingFlags flags, const Common& common) {
  flags.on_bad_image = "skip";  // they are a finding
  const bool with_trial = flags.epochs > 0;
  flags.epochs = std::max<std::int64_t>(flags.epochs, 1);
  auto options = trainer_options(flags, common);
  const CacheFolder cache;
  if (options.feature_cache.enabled && options.feature_cache.directory.empty())
    options.feature_cache.directory = cache.path();
  if (holds_texts(flags.domain, flags.train))
    throw Error(ErrorCode::kConfig, "the doctor knows networks that take pictures, the data are texts");
  const auto [train, val] = training_data(flags, common);

  Progress progress(common);
  DoctorVisit visit(options, *train, *val);
  note(common, "trying other preprocessings");
  auto model = model_to_train(flags, common, *train, *val, [&](Model& loaded) { visit.before_new_head(loaded); });
  auto fit = fit_options(flags, common, model);
  fit.on_step = [&](const StepInfo& info) { progress.update("trial run", info.step, info.steps, ""); };
  note(common, "reading pictures, labels and model");
  visit.before_training(model, fit);
  if (with_trial && !model.trainable_parameters().empty()) {
    Trainer trainer(model, options);
    visit.after_training(tried(trainer, *train, *val, fit));
    progress.finish("trial run done");
  }
  auto diagnosis = visit.diagnosis();
  sort_by_severity(diagnosis.findings);
  if (common.json) {
    print_with_diagnosis("{}", diagnosis);
  } else {
    print(to_text(diagnosis));
  }
}

}  // namespace

std::string findings_text(const std::vector<Finding>& findings) {
  auto sorted = findings;
  sort_by_severity(sorted);
  std::string text;
  for (const auto& finding : sorted)
    text += (text.empty() ? "" : "\n") + std::string(to_string(finding.severity)) + ": " +
            std::string(to_string(finding.code)) + " (" + finding.where + ")\n" + wrapped("  seen    ", finding.seen) +
            wrapped("  change  ", finding.change);
  return text;
}

void print_with_diagnosis(const std::string& json, const Diagnosis& diagnosis) {
  auto document = nlohmann::json::parse(json);
  document["findings"] = to_json(diagnosis.findings);
  document["checked"] = diagnosis.checked;
  print_json(document);
}

void DoctorVisit::add(Diagnosis diagnosis) {
  if (tell_ && !diagnosis.findings.empty()) tell_(diagnosis.findings);
  std::ranges::move(diagnosis.findings, std::back_inserter(diagnosis_.findings));
  std::ranges::move(diagnosis.checked, std::back_inserter(diagnosis_.checked));
}

void DoctorVisit::before_new_head(Model& model) { add(Doctor(model, trainer_).examine_preprocessing(train_)); }

void DoctorVisit::before_training(Model& model, FitOptions& fit) {
  doctor_.emplace(model, trainer_, fit);
  add(doctor_->examine_data(train_, val_));
  add(doctor_->examine_model(train_));
  doctor_->watch(fit);
}

void DoctorVisit::after_training(const History& history) { add(doctor_->examine_training(train_, history)); }

std::optional<DoctorVisit> doctor_visit(bool wanted, const Common& common, const TrainerOptions& trainer,
                                        const Dataset& train, const Dataset& val) {
  if (!wanted) return std::nullopt;
  return DoctorVisit(trainer, train, val,
                     [&common](const std::vector<Finding>& findings) { note(common, findings_text(findings)); });
}

Command add_doctor(CLI::App& app) {
  auto flags = std::make_shared<TrainingFlags>();
  flags->epochs = 3;
  add_training_options(app, *flags);
  app.remove_option(app.get_option("--epochs"));
  app.add_option("--epochs", flags->epochs, "of a trial run that is looked at and thrown away; 0: none")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  return [flags](const Common& common) { run(*flags, common); };
}

}  // namespace graft::cli
