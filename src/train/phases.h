/// What the phases of a fit train.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <graft/model.h>
#include <graft/trainer_options.h>

namespace graft::train {

/// Which parameters train, as it is now, put back at the end of the scope.
class KeptFreeze {
 public:
  explicit KeptFreeze(const Model& model) {
    for (const auto& [name, tensor] : model.named_parameters()) trains_.emplace_back(tensor, tensor.requires_grad());
  }
  ~KeptFreeze() {
    for (const auto& [tensor, trains] : trains_) tensor.set_requires_grad(trains);
  }
  KeptFreeze(const KeptFreeze&) = delete;
  KeptFreeze& operator=(const KeptFreeze&) = delete;

 private:
  std::vector<std::pair<at::Tensor, bool>> trains_;
};

/// Names of all parameters that train in one of the phases, each once. The model stays as it is.
std::vector<std::string> trained_in(Model& model, const std::vector<Phase>& phases);

}  // namespace graft::train
