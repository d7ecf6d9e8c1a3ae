/// Probabilities that mean what they say: temperature scaling (Guo et al. 2017, arXiv:1706.04599), and answers withheld
/// where the model is not sure enough. Both travel in the model's file and are applied by Model::classify and predict
/// and by Trainer; the network's logits, Model::forward and what other programs compute with the file stay as they are.
/// Thread-safety: both functions need the model for themselves.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <graft/dataset.h>
#include <graft/device.h>
#include <graft/export.h>
#include <graft/loader.h>
#include <graft/model.h>
#include <graft/task.h>

namespace graft {

/// How a model is calibrated. At most one of the last three; without any nothing is rejected.
struct CalibrationOptions {
  std::string task = {};  ///< which one, where the model has several; one of single labels
  std::int64_t batch_size = 32;
  int loader_threads = 2;
  Precision precision = Precision::kFloat32;
  std::optional<double> reject_below = {};     ///< this threshold, 0..1
  std::optional<double> target_accuracy = {};  ///< the lowest threshold at which the answers are right this often, 0..1
  std::optional<double> target_coverage = {};  ///< the highest at which this share of the pictures is answered, 0..1
  /// Told after each batch: how many are done.
  std::function<void(std::int64_t done, std::int64_t of)> on_step = {};
};

/// What came of it, on the pictures that were used. On others it is a little worse: measure it with Trainer::evaluate.
struct CalibrationReport {
  std::int64_t examples = 0;
  Calibration calibration = {};  ///< the model has it from now on
  /// False if the likelihood has no maximum between the temperatures 0.01 and 100, as where all pictures are right: it
  /// stays 1 then.
  bool temperature_found = true;
  double nll_before = 0;  ///< negative log likelihood at temperature 1
  double nll_after = 0;
  double ece_before = 0;  ///< expected calibration error, as Evaluation::ece, at temperature 1
  double ece_after = 0;
  double accuracy = 0;                             ///< of all pictures, 0..1
  double coverage = 1;                             ///< share of the pictures that are answered
  std::optional<double> accuracy_of_answers = {};  ///< nothing if all are rejected
  std::vector<BadImage> bad_images = {};
};

/// Finds the temperature with the highest likelihood on labelled pictures, best ones that the model was not trained on,
/// and a threshold if one is asked for. The model keeps both, and in the file that Model::save writes, until its head
/// is replaced or it is trained further. Throws Error kConfig (options out of range, a task of another kind, a model in
/// training mode), kMismatch (the data's classes are not the task's, no threshold reaches target_accuracy), kNumeric,
/// and what a picture that cannot be read throws under OnBadImage::kFail. The model stays as it was then.
GRAFT_EXPORT CalibrationReport calibrate(Model& model, const Dataset& data, const CalibrationOptions& options = {});

/// Sets it by hand; Calibration() is that of a new model. Task::calibration in Model::tasks() shows it. Throws Error
/// kConfig for numbers out of range and another kind of task.
GRAFT_EXPORT void set_calibration(Model& model, const Calibration& calibration, std::string_view task = {});

}  // namespace graft
