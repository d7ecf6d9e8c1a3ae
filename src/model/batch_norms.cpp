#include "model/batch_norms.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "base/translate.h"
#include "model/impl.h"

namespace graft::model {

namespace {

bool is_filled_with(const at::Tensor& tensor, double value) {
  return !tensor.defined() || tensor.eq(value).all().item<bool>();
}

}  // namespace

bool BatchNorm::has_default_statistics() const { return is_filled_with(mean, 0) && is_filled_with(variance, 1); }

bool BatchNorm::is_new() const {
  return has_default_statistics() && is_filled_with(weight, 1) && is_filled_with(bias, 0);
}

std::vector<BatchNorm> batch_norms_of(const Model& model) {
  const auto& impl = Model::Impl::of(model);
  const auto parameters = model.named_parameters(), buffers = model.named_buffers();
  const auto at_rest = impl.inference_batch_norms();
  const auto all = impl.network.batch_norms();
  const auto tensor = [](const auto& named, const std::string& name) {
    const auto it = named.find(name);
    return it == named.end() ? at::Tensor() : it->second;
  };
  std::vector<BatchNorm> found;
  for (const auto& probed : impl.structure.calls) {
    const auto& layer = probed.call.path;
    const bool is_known = std::ranges::find(found, layer, &BatchNorm::layer) != found.end();
    if (is_known || std::ranges::find(all, layer) == all.end()) continue;
    found.push_back({layer, std::ranges::find(at_rest, layer) == at_rest.end(),
                     tensor(buffers, layer + ".running_mean"), tensor(buffers, layer + ".running_var"),
                     tensor(parameters, layer + ".weight"), tensor(parameters, layer + ".bias")});
  }
  return found;
}

InputOf::InputOf(const Model& model, std::string_view layer)
    : model_(model), before_(std::make_shared<engine::Runner>(Model::Impl::of(model).network.cut_before(layer))) {}

at::Tensor InputOf::operator()(const at::Tensor& batch) const {
  const auto& impl = Model::Impl::of(model_);
  impl.check_batch(batch, /*evaluation=*/true);
  return base::translated("predicting", [&] { return impl.evaluate(*before_, batch, Precision::kFloat32); });
}

}  // namespace graft::model
