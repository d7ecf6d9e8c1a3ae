/// Optimisers that step a list of tensors in place, with the numerics of PyTorch or of Keras.
#pragma once

#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/optimizer.h>

namespace graft::train {

class Optimizer {
 public:
  /// Throws Error kConfig for values out of range.
  static std::unique_ptr<Optimizer> create(const OptimizerSpec& spec, Numerics numerics,
                                           std::vector<at::Tensor> parameters);
  virtual ~Optimizer() = default;

  /// One step from the parameters' gradients; a parameter without one is left alone.
  void step();
  void zero_grad();
  double learning_rate() const { return learning_rate_; }
  void set_learning_rate(double rate) { learning_rate_ = rate; }

 protected:
  Optimizer(double learning_rate, std::vector<at::Tensor> parameters)
      : learning_rate_(learning_rate), parameters_(std::move(parameters)), slots_(parameters_.size()) {}

  /// What an optimiser remembers of a parameter; undefined until it is first used.
  struct Slots {
    std::int64_t steps = 0;
    at::Tensor first, second;
  };
  virtual void update(at::Tensor& parameter, const at::Tensor& gradient, Slots& slots) = 0;

  double learning_rate_;

 private:
  std::vector<at::Tensor> parameters_;
  std::vector<Slots> slots_;
};

}  // namespace graft::train
