/// How well a classifier does on labelled data.
/// Thread-safety: values; safe everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/augment.h>
#include <graft/export.h>
#include <graft/loader.h>
#include <graft/task.h>

namespace graft {

/// Several looks at each picture. The answer is the mean of their probabilities (of a regression, of its numbers).
struct TestTimeAugmentation {
  bool horizontal_flip = false;      ///< the picture as the network sees it, and its mirror image
  std::int64_t augmented_views = 0;  ///< besides, the picture changed by `augment`, this many times
  Augment augment = {};              ///< needed for augmented_views

  bool enabled() const { return horizontal_flip || augmented_views > 0; }
};

/// How Trainer::evaluate and Trainer::predict go about it.
struct EvaluateOptions {
  std::int64_t batch_size = 32;
  int loader_threads = 2;
  TestTimeAugmentation tta = {};
  std::int64_t top_losses = 0;            ///< how many of the pictures with the highest loss are listed
  std::int64_t bootstrap_samples = 1000;  ///< resamples for the intervals; 0: no intervals
  std::uint64_t seed = 0;                 ///< of the resamples and of the augmented views
  /// Told after each batch: how many are done, of all looks together.
  std::function<void(std::int64_t done, std::int64_t of)> on_step = {};
};

/// How well one class is told from the others.
struct ClassScores {
  std::string name;
  std::int64_t support = 0;  ///< examples of this class
  double precision = 0;      ///< 0 where the class was never predicted
  double recall = 0;         ///< 0 where the class has no examples
  double f1 = 0;
  /// Area under the ROC curve of its probability, this class against all others (Mann-Whitney's U, ties count half);
  /// nothing unless there are examples of it and others.
  std::optional<double> roc_auc = {};
};

/// Means over classes.
struct Averages {
  double precision = 0;
  double recall = 0;
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
  std::optional<double> roc_auc = {};              ///< mean over the classes, or labels, that have one
  std::vector<ClassScores> per_class = {};         ///< of classes, or of labels at 1/2
  std::optional<double> mean_absolute_error = {};  ///< of a regression, as the next two
  std::optional<double> root_mean_squared_error = {};
  std::optional<double> r2 =
      {};  ///< 1 - residual / total sum of squares, mean over the outputs; scikit-learn's r2_score
};

/// Pictures whose best probability lies in one of 15 equal parts (low, high] of 0..1. Mean confidence and accuracy over
/// all 15 are a reliability diagram.
struct ReliabilityBin {
  std::int64_t count = 0;
  double confidence = 0;  ///< mean of the best probability; 0 without pictures
  double accuracy = 0;    ///< 0..1; 0 without pictures
};

/// From where to where a figure lies in 95 % of the resamples (bootstrap, percentile method; Efron 1979).
struct Interval {
  double low = 0;
  double high = 0;
};

/// A picture that the model is wrong about, or nearly so.
struct TopLoss {
  std::size_t index = 0;  ///< in the data set
  std::string name;       ///< Dataset::name
  std::int64_t true_class = 0;
  std::int64_t predicted_class = 0;
  double probability = 0;  ///< of the predicted class
  double loss = 0;         ///< -log of the true class's probability
};

/// What a model that rejects does (Calibration::reject_below).
struct Rejection {
  double reject_below = 0;
  double coverage = 0;                  ///< share of the examples that are answered, 0..1
  std::optional<double> accuracy = {};  ///< of the answers; nothing if all are rejected
};

/// The figures of classification are those of the first task of single labels; without one they stay 0. Losses and
/// probabilities are those that the model answers with: calibrated where it is, and the mean over all looks.
struct Evaluation {
  std::int64_t examples = 0;
  double loss = 0;           ///< mean cross-entropy; with several tasks the weighed sum of their losses
  double accuracy = 0;       ///< 0..1
  double top5_accuracy = 0;  ///< of min(5, classes) guesses
  double nll = 0;            ///< negative log likelihood: mean of -log of the true class's probability
  /// Expected calibration error over 15 equal bins of confidence (Guo et al. 2017, arXiv:1706.04599).
  double ece = 0;
  std::vector<ReliabilityBin> reliability;  ///< these bins
  std::vector<ClassScores> per_class;
  Averages macro;                 ///< over the classes that occur or are predicted, as scikit-learn's average="macro"
  Averages weighted;              ///< each class as often as it occurs
  std::optional<double> roc_auc;  ///< mean over the classes that have one
  std::vector<std::vector<std::int64_t>> confusion;  ///< [true class][predicted class]
  std::optional<Interval> accuracy_interval;         ///< from Trainer::evaluate, unless it was asked for no resamples
  std::optional<Interval> macro_f1_interval;         ///< the same
  std::vector<TopLoss> top_losses;                   ///< the highest first
  std::optional<Rejection> rejection;                ///< of a model that rejects
  std::vector<TaskScores> tasks;                     ///< in the order of Model::tasks()
  /// What Trainer::predict gives for the data set, [size, outputs].
  at::Tensor probabilities;
  std::vector<BadImage> bad_images;
  double images_per_second = 0;
};

}  // namespace graft
