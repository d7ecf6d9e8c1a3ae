/// A model's batch norm layers: what they remember, and what they are given.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/model.h>

namespace graft::engine {
class Runner;
}

namespace graft::model {

struct BatchNorm {
  std::string layer;
  bool trains = false;        ///< uses its batch's statistics in training mode, under the policy
  at::Tensor mean, variance;  ///< [C], running
  at::Tensor weight, bias;    ///< [C]; undefined where there is none

  /// Mean 0 and variance 1: it has seen no data, or was saved folded into its weight and bias.
  bool has_default_statistics() const;
  /// Neither statistics nor parameters have been trained.
  bool is_new() const;
};

/// In the order in which they run first.
std::vector<BatchNorm> batch_norms_of(const Model& model);

/// What a layer is given, in evaluation mode: the network up to it, compiled once. The model must outlive it.
class InputOf {
 public:
  /// Throws Error kConfig if there is no such layer, kMismatch if it is called under a condition or nothing comes
  /// before it.
  InputOf(const Model& model, std::string_view layer);
  /// For a batch [N, 3, H, W].
  at::Tensor operator()(const at::Tensor& batch) const;

 private:
  const Model& model_;
  std::shared_ptr<const engine::Runner> before_;
};

}  // namespace graft::model
