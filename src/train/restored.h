/// Training that leaves no trace.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <graft/model.h>

#include "train/weights.h"

namespace graft::train {

/// The model as it is now, put back at the end of the scope.
class Restored {
 public:
  explicit Restored(const Model& model) : Restored(model, names_of(model.trainable_parameters())) {}
  /// With other parameters that train.
  Restored(const Model& model, const std::vector<std::string>& parameters)
      : weights_(weights_of(model, parameters)), before_(copy_of(weights_)) {}
  ~Restored() { copy_into(before_, weights_); }
  Restored(const Restored&) = delete;
  Restored& operator=(const Restored&) = delete;

 private:
  static std::vector<std::string> names_of(const std::vector<std::pair<std::string, at::Tensor>>& parameters) {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : parameters) names.push_back(name);
    return names;
  }

  Weights weights_, before_;
};

}  // namespace graft::train
