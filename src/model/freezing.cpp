// Which parameters train, and what batch norm does about it.

#include <algorithm>
#include <optional>
#include <set>

#include "base/text.h"
#include "base/translate.h"
#include "model/impl.h"
#include "model/parameters.h"

namespace graft {

using model::covers;
using model::is_within;
using model::owner_of;
using model::set_trainable;

void Model::freeze() {
  set_trainable(impl().network,
                [&](const std::string& name) { return impl().is_head(name) ? std::nullopt : std::optional(false); });
  impl().apply_batch_norm_policy();
}

void Model::unfreeze() {
  set_trainable(impl().network, [](const std::string&) { return std::optional(true); });
}

void Model::freeze(std::string_view pattern) {
  if (!set_trainable(impl().network, [&](const std::string& name) {
        return covers(pattern, name) ? std::optional(false) : std::nullopt;
      }))
    throw Error(ErrorCode::kConfig, "freeze: no layer with parameters matches \"" + std::string(pattern) + "\"");
  impl().apply_batch_norm_policy();
}

void Model::unfreeze(std::string_view pattern) {
  if (!set_trainable(impl().network, [&](const std::string& name) {
        return covers(pattern, name) ? std::optional(true) : std::nullopt;
      }))
    throw Error(ErrorCode::kConfig, "unfreeze: no layer with parameters matches \"" + std::string(pattern) + "\"");
}

void Model::freeze_until(std::string_view layer) {
  const auto& calls = impl().structure.calls;
  const auto boundary =
      std::find_if(calls.begin(), calls.end(), [&](const auto& probed) { return is_within(probed.call.path, layer); });
  if (layer.empty() || boundary == calls.end())
    throw Error(ErrorCode::kConfig, "freeze_until: no layer \"" + std::string(layer) + "\" is called by this network");
  set_trainable(impl().network, [&](const std::string& name) -> std::optional<bool> {
    if (impl().is_head(name)) return true;
    // Parameters of no called layer (a class token) enter at the beginning.
    const auto first_call = std::find_if(calls.begin(), calls.end(),
                                         [&](const auto& probed) { return probed.call.path == owner_of(name); });
    return first_call != calls.end() && first_call >= boundary;
  });
  impl().apply_batch_norm_policy();
}

void Model::freeze_stages(int n) {
  const auto& stages = impl().structure.stages;
  if (n < 0 || n > std::ssize(stages))
    throw Error(ErrorCode::kConfig, "freeze_stages: expected 0 to " + std::to_string(stages.size()) +
                                        " (see stages()), found " + std::to_string(n));
  set_trainable(impl().network, [&](const std::string& name) -> std::optional<bool> {
    for (auto stage = stages.begin() + n; stage != stages.end(); ++stage)
      for (const auto& layer : *stage)
        if (is_within(name, layer)) return true;
    return impl().is_head(name) || n == 0;
  });
  impl().apply_batch_norm_policy();
}

std::vector<std::vector<std::string>> Model::stages() const { return impl().structure.stages; }

void Model::apply_freeze(std::string_view spec) {
  if (spec == "all") return freeze();
  if (spec == "none") return unfreeze();
  if (spec.starts_with("until:")) return freeze_until(spec.substr(6));
  if (spec.starts_with("stages:")) {
    const auto n = base::parse_integer(spec.substr(7), "number of stages");
    return freeze_stages(static_cast<int>(std::clamp<std::int64_t>(n, -1, 1'000'000)));
  }
  throw Error(ErrorCode::kConfig,
              "freeze: expected all, none, until:LAYER or stages:N, found \"" + std::string(spec) + "\"");
}

void Model::set_batch_norm(BatchNormPolicy policy) {
  impl().batch_norm = policy;
  impl().apply_batch_norm_policy();
}

BatchNormPolicy Model::batch_norm() const { return impl().batch_norm; }

bool Model::uses_batch_statistics() const {
  return impl().inference_batch_norms().size() < impl().network.batch_norms().size();
}

const std::vector<graph::FixedTraining>& Model::Impl::fixed_training() const {
  const std::lock_guard lock(parts_mutex);
  if (!found_fixed) found_fixed = network.fixed_training();
  return *found_fixed;
}

void Model::Impl::apply_batch_norm_policy() {
  if (batch_norm != BatchNormPolicy::kTrain) return;
  for (const auto& layer : network.batch_norms())
    set_trainable(network, [&](const std::string& parameter) {
      return is_within(parameter, layer) ? std::optional(true) : std::nullopt;
    });
}

std::vector<std::string> Model::Impl::inference_batch_norms() const {
  std::set<std::string, std::less<>> with_parameters, trained;  // the latter with all the layers around them
  for (const auto& [parameter, tensor] : network.named_parameters()) {
    with_parameters.emplace(owner_of(parameter));
    for (auto layer = owner_of(parameter); tensor.requires_grad() && trained.emplace(layer).second && !layer.empty();)
      layer = owner_of(layer);
  }
  std::vector<std::string> layers;
  for (const auto& layer : network.batch_norms()) {
    // One without parameters goes with the layers around it.
    const bool trains = trained.contains(with_parameters.contains(layer) ? std::string_view(layer) : owner_of(layer));
    const bool by_policy = batch_norm == BatchNormPolicy::kInference && !is_head(layer);
    if (batch_norm != BatchNormPolicy::kTrain && (by_policy || !trains)) layers.push_back(layer);
  }
  return layers;
}

void Model::train(bool on) {
  base::translated("entering training mode", [&] {
    const auto in_inference = impl().inference_batch_norms();
    if (on) {
      for (const auto& fixed : impl().fixed_training()) {
        const bool trains = std::find(in_inference.begin(), in_inference.end(), fixed.layer) == in_inference.end();
        if (fixed.kind != "batch norm" || !trains) continue;
        throw Error(
            ErrorCode::kMismatch,
            "batch norm \"" + fixed.layer +
                "\" should train, but this network was traced and its behaviour is fixed; "
                "export it with torch.jit.script, freeze that layer, or set the batch norm policy to inference");
      }
    }
    impl().network.set_training(on, in_inference);
    impl().training = on;
  });
}

std::vector<std::string> Model::fixed_dropouts() const {
  return base::translated("looking for dropout", [&] {
    std::vector<std::string> layers;
    for (const auto& fixed : impl().fixed_training())
      if (fixed.kind == "dropout" && !fixed.on) layers.push_back(fixed.layer);
    return layers;
  });
}

bool Model::is_training() const { return impl().training; }

std::vector<std::pair<std::string, at::Tensor>> Model::trainable_parameters() const {
  std::vector<std::pair<std::string, at::Tensor>> trainable;
  for (const auto& parameter : model::distinct(impl().network.named_parameters()))
    if (parameter.second.requires_grad()) trainable.push_back(parameter);
  return trainable;
}

}  // namespace graft
