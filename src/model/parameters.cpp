#include "model/parameters.h"

#include <map>
#include <unordered_set>
#include <utility>

#include <ATen/core/Tensor.h>

#include "base/translate.h"

namespace graft::model {

graph::NamedTensors distinct(const graph::NamedTensors& tensors) {
  std::unordered_set<const void*> known;
  graph::NamedTensors first;
  for (const auto& named : tensors)
    if (known.insert(named.second.unsafeGetTensorImpl()).second) first.push_back(named);
  return first;
}

bool set_trainable(const graph::Network& network,
                   const std::function<std::optional<bool>(const std::string& name)>& choose) {
  std::map<const void*, std::pair<at::Tensor, bool>> chosen;
  for (const auto& [name, tensor] : network.named_parameters())
    if (const auto trainable = choose(name)) {
      auto& [same, trains] = chosen.try_emplace(tensor.unsafeGetTensorImpl(), tensor, true).first->second;
      trains = trains && *trainable && (tensor.is_floating_point() || tensor.is_complex());
    }
  base::translated("freezing", [&] {
    for (auto& [key, choice] : chosen) choice.first.set_requires_grad(choice.second);
  });
  return !chosen.empty();
}

}  // namespace graft::model
