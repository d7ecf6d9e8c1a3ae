#include "train/phases.h"

#include <algorithm>

#include "train/kept_model.h"

namespace graft::train {

std::vector<std::string> trained_in(Model& model, const std::vector<Phase>& phases) {
  const KeptModel kept(model);
  std::vector<std::string> names;
  for (const auto& phase : phases) {
    if (!phase.freeze.empty()) model.apply_freeze(phase.freeze);
    for (const auto& [name, tensor] : model.trainable_parameters())
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

}  // namespace graft::train
