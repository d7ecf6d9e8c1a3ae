/// Optimisers that step a list of tensors in place, with the numerics of PyTorch or of Keras.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/optimizer.h>

namespace graft::train {

class Optimizer {
 public:
  /// A tensor that is stepped, and how it differs from the others.
  struct Parameter {
    at::Tensor tensor;
    std::string name = {};                    ///< for state()
    double rate = 1;                          ///< times the learning rate
    std::optional<double> weight_decay = {};  ///< instead of the optimiser's
  };

  /// Throws Error kConfig for values out of range.
  static std::unique_ptr<Optimizer> create(const OptimizerSpec& spec, Numerics numerics,
                                           std::vector<Parameter> parameters);
  virtual ~Optimizer() = default;

  /// One step from the parameters' gradients; a parameter without one is left alone. `skip`, [1] float32 on their
  /// device, 0 or 1, if it is given: at 1 nothing is changed. With `goes_on` there are steps after one that is skipped,
  /// which then do not count it.
  void step(const at::Tensor& skip = {}, bool goes_on = false);
  void zero_grad();
  double learning_rate() const { return learning_rate_; }
  void set_learning_rate(double rate) { learning_rate_ = rate; }
  const std::vector<Parameter>& parameters() const { return parameters_; }

  /// What it remembers of its parameters, by their names; they share memory with it.
  std::map<std::string, at::Tensor> state() const;
  /// Takes over what state() gave. Throws Error kMismatch for what does not fit.
  void set_state(const std::map<std::string, at::Tensor>& state);

 protected:
  Optimizer(double learning_rate, double weight_decay, std::vector<Parameter> parameters)
      : learning_rate_(learning_rate),
        weight_decay_(weight_decay),
        parameters_(std::move(parameters)),
        slots_(parameters_.size()) {}

  /// What an optimiser remembers of a parameter; undefined until it is first used.
  struct Slots {
    std::int64_t steps = 0;  ///< with those skipped on CUDA
    at::Tensor skipped;      ///< [] float32, how many of them were; undefined for none
    at::Tensor first, second;
  };
  /// The parameter's own, in this step.
  struct Rates {
    double learning_rate;
    double weight_decay;
  };
  /// Steps there were. Waits for the device if some may have been skipped there.
  static std::int64_t steps_of(const Slots& slots);
  virtual void update(at::Tensor& parameter, const at::Tensor& gradient, Slots& slots, const Rates& rates) = 0;
  struct Update {
    at::Tensor& parameter;
    Slots& slots;
    Rates rates;
  };
  /// One after the other, if an optimiser has nothing better for many at once.
  virtual void update_all(std::vector<Update>& updates, const at::Tensor& skip);

 private:
  static void count_skipped(const std::vector<Update>& updates, const at::Tensor& skip);

  double learning_rate_;
  double weight_decay_;
  std::vector<Parameter> parameters_;
  std::vector<Slots> slots_;
};

}  // namespace graft::train
