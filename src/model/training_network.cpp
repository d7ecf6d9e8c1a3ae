#include "model/training_network.h"

#include <algorithm>
#include <string_view>

#include "base/sha256.h"
#include "base/translate.h"
#include "model/hash.h"
#include "model/impl.h"
#include "model/parameters.h"

namespace graft::model {

bool TrainingNetwork::refresh() {
  if (split_ && split_->is_current()) return false;
  split_.emplace(Model::Impl::of(model_).network);
  return true;
}

at::Tensor TrainingNetwork::features(const at::Tensor& batch, Precision precision) const {
  const auto& impl = Model::Impl::of(model_);
  impl.check_batch(batch, /*evaluation=*/false);
  return base::translated("running the network", [&] { return impl.evaluate(split_->trunk(), batch, precision); });
}

at::Tensor TrainingNetwork::forward(const at::Tensor& features, Precision precision) const {
  const auto& impl = Model::Impl::of(model_);
  return base::translated("running the network", [&] {
    if (!impl.training) return impl.evaluate(split_->rest(), features, precision);
    return impl.train([&](const at::Tensor& input) { return split_->train(input); }, features, precision);
  });
}

std::vector<at::Tensor> TrainingNetwork::changing_buffers() const {
  const auto& impl = Model::Impl::of(model_);
  const auto all = impl.network.batch_norms(), at_rest = impl.inference_batch_norms();
  const auto contains = [](const auto& list, std::string_view what) {
    return std::find(list.begin(), list.end(), what) != list.end();
  };
  std::vector<at::Tensor> changing;
  for (const auto& [name, tensor] : distinct(impl.network.named_buffers()))
    if (contains(all, owner_of(name)) && !contains(at_rest, owner_of(name))) changing.push_back(tensor);
  return changing;
}

std::string TrainingNetwork::trunk_hash() const {
  return base::Sha256().update(split_->trunk_text()).update(content_hash(split_->trunk_network())).hex();
}

}  // namespace graft::model
