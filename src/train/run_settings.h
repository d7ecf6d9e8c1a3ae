/// What a run is made of, in words: a checkpoint fits the runs that say the same.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <graft/dataset.h>
#include <graft/model.h>
#include <graft/trainer_options.h>

namespace graft::train {

/// By name. `val` may be null; the model is as the first phase has it, with the weights that training begins with.
std::map<std::string, std::string> settings_of(const Model& model, const TrainerOptions& options, const FitOptions& fit,
                                               const std::vector<Phase>& phases, const Dataset& train,
                                               const Dataset* val);

}  // namespace graft::train
