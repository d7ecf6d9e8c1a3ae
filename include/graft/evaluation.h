/// How well a classifier does on labelled data.
/// Thread-safety: values; safe everywhere.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <graft/export.h>
#include <graft/loader.h>
#include <graft/task.h>

namespace graft {

/// How well one class is told from the others.
struct ClassScores {
  std::string name;
  std::int64_t support = 0;  ///< examples of this class
  double precision = 0;      ///< 0 where the class was never predicted
  double recall = 0;         ///< 0 where the class has no examples
  double f1 = 0;
};

/// How well one task does, over the examples whose targets are known.
struct TaskScores {
  std::string name = {};
  TaskKind kind = TaskKind::kSingleLabel;
  double loss = 0;  ///< mean cross-entropy, binary cross-entropy or regression loss
  std::optional<double> accuracy =
      {};  ///< 0..1; of several labels: the share of single decisions at 1/2 that are right
  /// Several labels: mean over the labels that occur of the area under the precision-recall curve, as scikit-learn's
  /// average_precision_score computes it.
  std::optional<double> mean_average_precision = {};
  std::vector<ClassScores> per_class = {};         ///< of classes, or of labels at 1/2
  std::optional<double> mean_absolute_error = {};  ///< of a regression, as the next two
  std::optional<double> root_mean_squared_error = {};
  std::optional<double> r2 =
      {};  ///< 1 - residual / total sum of squares, mean over the outputs; scikit-learn's r2_score
};

/// The figures of classification are those of the first task of single labels; without one they stay 0.
struct Evaluation {
  std::int64_t examples = 0;
  double loss = 0;           ///< mean cross-entropy; with several tasks the weighed sum of their losses
  double accuracy = 0;       ///< 0..1
  double top5_accuracy = 0;  ///< of min(5, classes) guesses
  /// Expected calibration error over 15 equal bins of confidence (Guo et al. 2017, arXiv:1706.04599).
  double ece = 0;
  std::vector<ClassScores> per_class;
  std::vector<std::vector<std::int64_t>> confusion;  ///< [true class][predicted class]
  std::vector<TaskScores> tasks;                     ///< in the order of Model::tasks()
  std::vector<BadImage> bad_images;
  double images_per_second = 0;
};

}  // namespace graft
