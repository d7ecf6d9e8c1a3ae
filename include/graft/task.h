/// What the outputs of a network stand for, and by what loss they are learned.
/// Thread-safety: values; safe everywhere.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <graft/export.h>

namespace graft {

/// What there is to say about a picture.
enum class TaskKind {
  kSingleLabel,  ///< one class for each picture: softmax, cross-entropy
  kMultiLabel,   ///< any number of labels for each picture: a sigmoid each, binary cross-entropy
  kRegression,   ///< numbers: no activation, RegressionLoss
};

/// Over the difference d of output and target.
enum class RegressionLoss {
  kMeanSquared,   ///< d^2
  kMeanAbsolute,  ///< |d|
  kHuber,         ///< d^2 / 2 for |d| below 1, |d| - 1/2 above (Huber 1964; torch's huber_loss with delta 1)
};

/// What stands between the logits of a task of single labels and what is answered (graft/calibration.h). The network's
/// own outputs know nothing of it.
struct Calibration {
  double temperature = 1;                   ///< the softmax is that of the logits divided by it
  std::optional<double> reject_below = {};  ///< a best probability below this is no answer

  bool operator==(const Calibration&) const = default;
};

/// A part of a network's outputs. Tasks follow one another, first to last, over the columns of the logits.
struct Task {
  std::string name = {};  ///< empty for the only one
  TaskKind kind = TaskKind::kSingleLabel;
  std::int64_t outputs = 0;                            ///< columns of the logits
  double weight = 1;                                   ///< of its loss in the sum of all tasks' losses
  RegressionLoss loss = RegressionLoss::kMeanSquared;  ///< for kRegression
  Calibration calibration = {};                        ///< for kSingleLabel

  /// Numbers that Dataset::targets gives for it: 1 (a class index) or one for each output.
  std::int64_t targets() const { return kind == TaskKind::kSingleLabel ? 1 : outputs; }
  bool operator==(const Task&) const = default;
};

/// "single_label", "multi_label", "regression".
GRAFT_EXPORT std::string_view to_string(TaskKind kind) noexcept;
/// The reverse of to_string. Throws Error kConfig for any other text.
GRAFT_EXPORT TaskKind parse_task_kind(std::string_view text);
/// "mean_squared", "mean_absolute", "huber".
GRAFT_EXPORT std::string_view to_string(RegressionLoss loss) noexcept;
/// The reverse of to_string. Throws Error kConfig for any other text.
GRAFT_EXPORT RegressionLoss parse_regression_loss(std::string_view text);

}  // namespace graft
