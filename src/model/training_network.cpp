#include "model/training_network.h"

#include "base/sha256.h"
#include "base/translate.h"
#include "model/hash.h"
#include "model/impl.h"

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

std::string TrainingNetwork::trunk_hash() const {
  return base::Sha256().update(split_->trunk_text()).update(content_hash(split_->trunk_network())).hex();
}

}  // namespace graft::model
