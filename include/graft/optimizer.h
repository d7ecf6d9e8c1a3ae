/// Optimisers by name, with the numerics of PyTorch or of Keras where the two differ (docs/fidelity.md).
/// Thread-safety: values; safe everywhere.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include <graft/export.h>

namespace graft {

/// Whose formulas are followed: where epsilon stands, where the learning rate enters the momentum, default values.
enum class Numerics { kTorch, kKeras };

/// "torch" or "keras". Throws Error kConfig for any other text.
GRAFT_EXPORT Numerics parse_numerics(std::string_view text);

/// Stochastic gradient descent (torch.optim.SGD, keras.optimizers.SGD).
struct Sgd {
  double learning_rate = 0.01;
  double momentum = 0;
  bool nesterov = false;
  double weight_decay = 0;  ///< L2, added to the gradient
};

/// Kingma and Ba 2014, arXiv:1412.6980.
struct Adam {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  std::optional<double> epsilon = {};  ///< torch 1e-8, keras 1e-7
  double weight_decay = 0;             ///< L2, added to the gradient
};

/// Loshchilov and Hutter 2017, arXiv:1711.05101.
struct AdamW {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  std::optional<double> epsilon = {};       ///< torch 1e-8, keras 1e-7
  std::optional<double> weight_decay = {};  ///< decoupled; torch 0.01, keras 0.004
};

/// Hinton 2012, Neural Networks for Machine Learning, lecture 6.
struct RmsProp {
  std::optional<double> learning_rate = {};  ///< torch 1e-2, keras 1e-3
  std::optional<double> rho = {};            ///< decay of the mean square (torch's alpha); torch 0.99, keras 0.9
  std::optional<double> epsilon = {};        ///< torch 1e-8 outside the root, keras 1e-7 inside it
  double momentum = 0;
  double weight_decay = 0;  ///< L2, added to the gradient
};

/// Any of the optimisers.
using OptimizerSpec = std::variant<Sgd, Adam, AdamW, RmsProp>;

/// "sgd", "adam", "adamw" or "rmsprop" with its defaults, and `learning_rate` where given.
/// Throws Error kConfig for any other name or a rate that is not positive and finite.
GRAFT_EXPORT OptimizerSpec parse_optimizer(std::string_view name, std::optional<double> learning_rate = {});

}  // namespace graft
