/// Which output of a network is explained, and what becomes of its heat.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/explain.h>

#include "model/impl.h"

namespace graft::explain {

class Target {
 public:
  /// Empty names: the only task, and the class that is predicted. Throws Error kConfig if there is no such task or
  /// class, or none is named where none is predicted. The model must outlive it.
  Target(const Model::Impl& model, const std::string& task, const std::string& class_id);

  /// The column that is explained for each row of the logits [N, outputs of all tasks]: [N, 1].
  at::Tensor columns(const at::Tensor& logits) const;
  /// What the task says of these columns: probabilities, or a regression's numbers, [N].
  at::Tensor answers(const at::Tensor& logits, const at::Tensor& columns) const;
  /// The columns' classes with these answers.
  std::vector<Prediction> describe(const at::Tensor& columns, const at::Tensor& answers) const;

 private:
  const Model::Impl& model_;
  const Task& task_;
  std::int64_t first_;                  ///< the task's first column
  std::optional<std::int64_t> column_;  ///< nothing: what is predicted
};

/// One map each: heat [N, H, W] without what is negative, divided by the largest value. Throws Error kNumeric if not
/// all of it is finite.
std::vector<HeatMap> heat_maps(const at::Tensor& heat, const std::vector<Prediction>& explained);

}  // namespace graft::explain
