/// The answer to several views of the same pictures: test-time augmentation.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/task.h>

namespace graft::train {

/// Mean of probabilities, of a regression's numbers. Works with logarithms, so that a probability too small for a
/// float32 is not lost.
class ViewMean {
 public:
  /// Must outlive it.
  explicit ViewMean(const std::vector<Task>& tasks) : tasks_(tasks) {}

  /// Logits [N, outputs] whose activation is a view's answer, in each call for the same pictures.
  void add(const at::Tensor& logits);

  /// [N, outputs]: logits whose activation is the mean; NaN where any view's are. Call add() before.
  at::Tensor logits() const;

 private:
  const std::vector<Task>& tasks_;
  std::vector<at::Tensor> yes_;  ///< by task: log of the sum of the probabilities, or the sum of the numbers
  std::vector<at::Tensor> no_;   ///< by task of several labels: log of the sum of 1 - probability
  double views_ = 0;
};

}  // namespace graft::train
