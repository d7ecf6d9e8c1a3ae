/// Heads of your own, written as a torch::nn::Module.
///
/// The module's operations are recorded and its tensors taken over under their names ("head.fc.weight"), so that the
/// model trains, freezes, saves and loads it like any other head, and its file runs in Python and in TorchScript
/// servers without your C++ class. Dropout and batch norm follow training and evaluation mode. Only this header of the
/// library needs torch/nn.h, which takes 10 s to compile: include it where heads are written. Thread-safety: values;
/// safe everywhere.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <torch/nn.h>

#include <graft/export.h>
#include <graft/head.h>

namespace graft::heads {

/// Of custom().
struct CustomOptions {
  std::string name = {};  ///< what Head::describe() says; the class's name if empty
  TaskKind kind = TaskKind::kSingleLabel;
  RegressionLoss loss = RegressionLoss::kMeanSquared;  ///< for kRegression
  std::uint64_t seed = 0;                              ///< of the initial weights that a factory's module draws
};

/// A module and its forward function.
struct CustomModule {
  std::shared_ptr<torch::nn::Module> module;
  std::function<at::Tensor(const at::Tensor&)> forward;

  /// From what a factory returns.
  template <class Contained>
  CustomModule(std::shared_ptr<Contained> impl)  // NOLINT(google-explicit-constructor)
      : module(impl), forward([impl](const at::Tensor& features) { return impl->forward(features); }) {}
  /// The same.
  template <class Contained>
  CustomModule(const torch::nn::ModuleHolder<Contained>& holder)  // NOLINT(google-explicit-constructor)
      : CustomModule(holder.is_empty() ? nullptr : holder.ptr()) {}
};

/// Makes the module for features of this shape: [1, C, H, W], [1, T, C] or [1, C].
using MakeModule = std::function<CustomModule(const std::vector<std::int64_t>& feature_shape)>;

/// A new module for every Model::replace_head, made by a function that is told the shape of the features:
///
///     model.replace_head(graft::heads::custom([](const auto& shape) { return TwoBranch(shape.at(1), 10); }));
///
/// What replace_head throws for it, besides what any head is refused for. kMismatch: the module refuses the features,
/// yields something else than [N, outputs] float32, has no parameters, uses tensors it did not register, is not on the
/// CPU, or does what a recording cannot hold (depends on sizes taken with size(), or on the values of tensors): the
/// recording is run beside the module for a second batch size and other values, in both modes, gradients included, and
/// the message says what differs. The module's own exceptions come as kMismatch with their text.
GRAFT_EXPORT Head custom_made(MakeModule make, const CustomOptions& options = {});
/// The same for anything that can be called so, and returns a module holder or a shared pointer to a module.
template <class Make>
  requires(!std::is_base_of_v<torch::detail::ModuleHolderIndicator, Make>)
Head custom(Make make, const CustomOptions& options = {}) {
  return custom_made(std::move(make), options);
}

/// A module that is there already: the model gets a copy of its tensors as they are when replace_head is called, the
/// module itself stays as it is.
GRAFT_EXPORT Head custom_copy(CustomModule module, const CustomOptions& options = {});
/// The same.
template <class Contained>
Head custom(const torch::nn::ModuleHolder<Contained>& module, const CustomOptions& options = {}) {
  return custom_copy(module, options);
}

}  // namespace graft::heads
