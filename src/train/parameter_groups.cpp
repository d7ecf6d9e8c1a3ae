#include "train/parameter_groups.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/check.h"
#include "model/structure.h"

namespace graft::train {

namespace {

/// Stages before the head: 0 for the head itself. What is in no stage counts as the first.
std::size_t depth(const Model& model, const std::vector<std::vector<std::string>>& stages, std::string_view name) {
  if (!model.head_name().empty() && model::is_within(name, model.head_name())) return 0;
  for (std::size_t stage = 0; stage < stages.size(); ++stage)
    for (const auto& layer : stages[stage])
      if (model::is_within(name, layer)) return stages.size() - stage;
  return stages.size();
}

void check_groups(const Model& model, const TrainerOptions& options) {
  for (const auto& group : options.groups) {
    const auto parameters = model.named_parameters();
    if (std::none_of(parameters.begin(), parameters.end(),
                     [&](const auto& named) { return model::covers(group.layers, named.first); }))
      throw Error(ErrorCode::kConfig, "groups: no layer with parameters matches \"" + group.layers + "\"");
  }
}

}  // namespace

ParameterGroups group_parameters(const Model& model, const TrainerOptions& options, double layer_decay) {
  base::require(layer_decay > 0 && layer_decay <= 1, "layer_decay", "above 0, at most 1", layer_decay);
  check_groups(model, options);
  const auto stages = model.stages();
  ParameterGroups groups;
  for (const auto& [name, tensor] : model.trainable_parameters()) {
    const auto group =
        std::find_if(options.groups.begin(), options.groups.end(),
                     [&, &layer = name](const ParameterGroup& g) { return model::covers(g.layers, layer); });
    const bool chosen = group != options.groups.end();
    double rate = chosen ? group->rate : 1;
    std::string label = chosen ? group->layers : options.groups.empty() ? "all" : "others";
    if (layer_decay < 1) {
      const auto stages_before_head = depth(model, stages, name);
      const std::string place =
          stages_before_head == 0 ? "head" : "stage " + std::to_string(stages.size() - stages_before_head + 1);
      label = chosen ? label + " (" + place + ")" : place;
      rate *= std::pow(layer_decay, static_cast<double>(stages_before_head));
    }
    auto weight_decay = chosen ? group->weight_decay : std::nullopt;
    if (!options.decay_one_dimensional && tensor.dim() <= 1) weight_decay = 0;
    groups.parameters.push_back({tensor, name, rate, weight_decay});
    if (std::none_of(groups.rates.begin(), groups.rates.end(), [&](const auto& known) { return known.first == label; }))
      groups.rates.emplace_back(label, rate);
  }
  if (groups.parameters.empty())
    throw Error(ErrorCode::kMismatch, "nothing to train: every parameter is frozen; replace_head or unfreeze a layer");
  return groups;
}

}  // namespace graft::train
