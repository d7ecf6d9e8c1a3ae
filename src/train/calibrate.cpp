#include <graft/calibration.h>

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <graft/error.h>

#include "base/check.h"
#include "base/translate.h"
#include "model/task.h"
#include "train/evaluator.h"
#include "train/metrics.h"
#include "train/temperature.h"

namespace graft {

namespace {

void check_share(const std::optional<double>& share, const char* what) {
  if (share) base::require(*share >= 0 && *share <= 1, what, "0 to 1", *share);
}

void check(const CalibrationOptions& options, const Task& task) {
  check_share(options.reject_below, "reject_below");
  check_share(options.target_accuracy, "target_accuracy");
  check_share(options.target_coverage, "target_coverage");
  const int asked =
      options.reject_below.has_value() + options.target_accuracy.has_value() + options.target_coverage.has_value();
  base::require(asked <= 1, "reject_below, target_accuracy, target_coverage", "one of them at most", asked);
  if (task.kind != TaskKind::kSingleLabel)
    base::refuse("calibration", "a task of single labels", std::string(to_string(task.kind)));
}

std::optional<double> threshold(const CalibrationOptions& options, const train::Confidence& confidence) {
  if (options.target_accuracy) return train::threshold_for_accuracy(confidence, *options.target_accuracy);
  if (options.target_coverage) return train::threshold_for_coverage(confidence, *options.target_coverage);
  return options.reject_below;
}

CalibrationReport calibrated(Model& model, const Dataset& data, const CalibrationOptions& options) {
  const at::NoGradGuard no_grad;
  const auto tasks = model.tasks();
  const Task& task = model::task_named(tasks, options.task);
  check(options, task);
  train::check_classes(model, data, "the data");
  const TrainerOptions how{.precision = options.precision};
  const auto all =
      train::Evaluator(model, how)
          .logits(data,
                  {.batch_size = options.batch_size, .threads = options.loader_threads, .on_step = options.on_step},
                  /*with_targets=*/true);
  const auto found = train::labelled(all, tasks, task, train::labelled_rows(all, tasks, task));
  const auto &logits = found.logits, &labels = found.labels;
  if (labels.numel() == 0) throw Error(ErrorCode::kMismatch, "expected pictures whose class is known, found none");

  CalibrationReport report{.examples = labels.size(0), .bad_images = all.bad_images};
  const auto measure = [&](double temperature, double& nll, double& ece) {
    const auto scaled = logits / temperature;
    auto confidence = train::confidence_of(scaled.softmax(1), labels);
    nll = train::negative_log_likelihoods(scaled, labels).mean().item<double>();
    ece = train::calibration_error(train::reliability(confidence));
    return confidence;
  };
  measure(1, report.nll_before, report.ece_before);
  const auto best = train::best_temperature(logits, labels);
  report.temperature_found = best.has_value();
  report.calibration.temperature = best.value_or(1);
  const auto confidence = measure(report.calibration.temperature, report.nll_after, report.ece_after);
  report.accuracy = confidence.is_right.to(at::kDouble).mean().item<double>();
  report.calibration.reject_below = threshold(options, confidence);
  const auto rejection = train::rejection_of(confidence, report.calibration.reject_below.value_or(0));
  report.coverage = rejection.coverage;
  report.accuracy_of_answers = rejection.accuracy;
  set_calibration(model, report.calibration, options.task);
  return report;
}

}  // namespace

CalibrationReport calibrate(Model& model, const Dataset& data, const CalibrationOptions& options) {
  return base::translated("calibrating", [&] { return calibrated(model, data, options); });
}

}  // namespace graft
