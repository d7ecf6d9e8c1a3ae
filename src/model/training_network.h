/// A model's network as its trainer runs it: what cannot change while it trains as inference, the rest with gradients.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/model.h>

#include "engine/split_runner.h"

namespace graft::model {

class TrainingNetwork {
 public:
  /// The model must outlive it.
  explicit TrainingNetwork(const Model& model) : model_(model) {}

  /// Looks at what cannot change as the model is now, in training mode. Returns whether that, or one of its weights, is
  /// other than at the last call.
  bool refresh();

  /// False if the whole network has to run: features() then may not be called.
  bool has_trunk() const { return split_->has_trunk(); }

  /// False once a weight of the trunk is other than at the last refresh().
  bool trunk_is_current() const { return split_->trunk_is_current(); }

  /// What the trunk yields for a batch [N, 3, H, W]: float32, on the model's device, without gradients, in either mode.
  at::Tensor features(const at::Tensor& batch, Precision precision) const;
  /// Logits [N, num_classes()] for that: in training mode with gradients, else without.
  at::Tensor forward(const at::Tensor& features, Precision precision) const;

  /// What a forward pass in training mode changes: the statistics of the batch norms that train.
  std::vector<at::Tensor> changing_buffers() const;

  /// SHA-256 of the trunk's operations and weights.
  std::string trunk_hash() const;

 private:
  const Model& model_;
  std::optional<engine::SplitRunner> split_;
};

}  // namespace graft::model
