/// Training that leaves no trace.
#pragma once

#include <string>
#include <vector>

#include <graft/model.h>

#include "train/weights.h"

namespace graft::train {

/// The model as it is now, put back at the end of the scope.
class Restored {
 public:
  explicit Restored(const Model& model) {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : model.trainable_parameters()) names.push_back(name);
    weights_ = weights_of(model, names);
    before_ = copy_of(weights_);
  }
  ~Restored() { copy_into(before_, weights_); }
  Restored(const Restored&) = delete;
  Restored& operator=(const Restored&) = delete;

 private:
  Weights weights_, before_;
};

}  // namespace graft::train
