/// Whether one model is better than another, or was lucky with these pictures.
/// Thread-safety: as that of Model::forward of both models.
#pragma once

#include <cstdint>
#include <vector>

#include <graft/dataset.h>
#include <graft/device.h>
#include <graft/evaluation.h>
#include <graft/export.h>
#include <graft/loader.h>
#include <graft/model.h>

namespace graft {

/// Of one of the two.
struct ComparedModel {
  double accuracy = 0;  ///< 0..1
  /// Expected calibration error, negative log likelihood, as Evaluation has them.
  double ece = 0;
  double nll = 0;
};

/// McNemar's test of whether two models are wrong equally often, by the pictures that only one of them is right about
/// (McNemar 1947; Dietterich 1998 recommends it for classifiers).
struct McNemar {
  double exact_p = 1;  ///< two-sided binomial; trust it always, and alone where fewer than 25 such pictures are there
  double chi_squared = 0;  ///< (|b - c| - 1)^2 / (b + c), with Edwards' correction; 0 where there are no such pictures
  double chi_squared_p = 1;  ///< of that, with one degree of freedom
};

/// The result of compare().
struct ModelComparison {
  std::int64_t examples = 0;
  ComparedModel first = {};
  ComparedModel second = {};
  std::int64_t both_right = 0;
  std::int64_t only_first_right = 0;
  std::int64_t only_second_right = 0;
  std::int64_t both_wrong = 0;
  McNemar mcnemar = {};
  double difference = 0;              ///< accuracy of the second less that of the first
  Interval difference_interval = {};  ///< paired bootstrap, 95 %
  std::vector<BadImage> bad_images = {};
};

/// How two models are compared. The test says nothing about several pairs at once.
struct CompareOptions {
  EvaluateOptions evaluate = {};  ///< for both; top_losses is not looked at, bootstrap_samples 1 at least
  Precision precision = Precision::kFloat32;
};

/// Answers of both models to the same pictures, each with its own preprocessing, in their first task of single labels.
/// Throws Error kMismatch (the models' labels differ, or the data's classes are not theirs), kConfig (options out of
/// range, no task of single labels, a model in training mode), kNumeric, and what a picture that cannot be read throws
/// under OnBadImage::kFail.
GRAFT_EXPORT ModelComparison compare(const Model& first, const Model& second, const Dataset& data,
                                     const CompareOptions& options = {});

}  // namespace graft
