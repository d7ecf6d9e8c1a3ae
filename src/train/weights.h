/// Weights apart from their model: copies to go back to, and averages over training.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/model.h>

namespace graft::train {

/// Tensors by their name in a model: some of its parameters and all of its buffers.
using Weights = std::map<std::string, at::Tensor>;

/// Those of these parameters and all buffers; they share memory with the model.
Weights weights_of(const Model& model, const std::vector<std::string>& parameters);
Weights copy_of(const Weights& weights);
/// Throws Error kMismatch if one is missing or of another shape.
void copy_into(const Weights& from, const Weights& to);

/// An exponential moving average: average = decay * average + (1 - decay) * weight. Buffers of whole numbers are
/// copied.
class MovingAverage {
 public:
  /// Begins with the weights as they are. Throws Error kConfig unless 0 < decay < 1.
  MovingAverage(Weights weights, double decay);

  void update();
  const Weights& average() const { return average_; }
  /// The model gets the average, and this keeps what was there; a second call puts it back.
  void exchange();

 private:
  Weights weights_;
  Weights average_;
  double decay_;
  at::Tensor scratch_;  ///< for the largest of them: exchanging back must not need memory
};

}  // namespace graft::train
