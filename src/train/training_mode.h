/// Entering and leaving training mode.
#pragma once

#include <graft/model.h>

namespace graft::train {

/// Training mode for a scope; evaluation mode after it, also when it is left by an exception.
class TrainingMode {
 public:
  explicit TrainingMode(Model& model) : model_(model) { model.train(); }
  ~TrainingMode() { model_.eval(); }
  TrainingMode(const TrainingMode&) = delete;
  TrainingMode& operator=(const TrainingMode&) = delete;

 private:
  Model& model_;
};

}  // namespace graft::train
