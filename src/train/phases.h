/// What the phases of a fit train.
#pragma once

#include <string>
#include <vector>

#include <graft/model.h>
#include <graft/trainer_options.h>

namespace graft::train {

/// Names of all parameters that train in one of the phases, each once. The model stays as it is.
std::vector<std::string> trained_in(Model& model, const std::vector<Phase>& phases);

}  // namespace graft::train
