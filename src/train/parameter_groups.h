/// Which learning rate and weight decay each parameter trains with.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <graft/model.h>
#include <graft/trainer_options.h>

#include "train/optimizer.h"

namespace graft::train {

struct ParameterGroups {
  std::vector<Optimizer::Parameter> parameters;       ///< the trainable ones
  std::vector<std::pair<std::string, double>> rates;  ///< of each group that trains, times the optimiser's; by name
};

/// Throws Error kConfig for values out of range and for a group that names nothing, kMismatch if nothing trains.
ParameterGroups group_parameters(const Model& model, const TrainerOptions& options, double layer_decay);

}  // namespace graft::train
