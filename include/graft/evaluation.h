/// How well a classifier does on labelled data.
/// Thread-safety: values; safe everywhere.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <graft/export.h>
#include <graft/loader.h>

namespace graft {

struct ClassScores {
  std::string name;
  std::int64_t support = 0;  ///< examples of this class
  double precision = 0;      ///< 0 where the class was never predicted
  double recall = 0;         ///< 0 where the class has no examples
  double f1 = 0;
};

struct Evaluation {
  std::int64_t examples = 0;
  double loss = 0;           ///< mean cross-entropy
  double accuracy = 0;       ///< 0..1
  double top5_accuracy = 0;  ///< of min(5, classes) guesses
  /// Expected calibration error over 15 equal bins of confidence (Guo et al. 2017, arXiv:1706.04599).
  double ece = 0;
  std::vector<ClassScores> per_class;
  std::vector<std::vector<std::int64_t>> confusion;  ///< [true class][predicted class]
  std::vector<BadImage> bad_images;
  double images_per_second = 0;
};

}  // namespace graft
