#include "train/kept_model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <graft/calibration.h>

namespace graft::train {

namespace {

template <class Part>
bool succeeds(const Part& part) noexcept {
  try {
    part();
    return true;
  } catch (...) {
    return false;
  }
}

/// What is equal is not written: plans and what is cached of frozen layers go by the tensors' count of changes. The
/// comparison takes memory; without, it is written.
void put_back(const at::Tensor& to, const at::Tensor& from) {
  bool equal = false;
  if (succeeds([&] { equal = at::equal(to, from); }) && equal) return;
  to.copy_(from);
}

}  // namespace

KeptModel::KeptModel(Model& model) : model_(&model), policy_(model.batch_norm()) {
  for (const auto& [name, tensor] : model.named_parameters()) trains_.emplace_back(tensor, tensor.requires_grad());
  for (const auto& task : model.tasks()) calibrations_.emplace_back(task.name, task.calibration);
}

KeptModel::KeptModel(Model& model, const std::vector<std::string>& parameters) : KeptModel(model) {
  weights_ = weights_of(model, parameters);
  before_ = copy_of(weights_);
  int8_ = model::int8_of(model);
}

KeptModel::~KeptModel() {
  if (!model_) return;
  succeeds([&] {
    if (model_->batch_norm() != policy_) model_->set_batch_norm(policy_);
  });
  for (const auto& [tensor, trains] : trains_) succeeds([&] { tensor.set_requires_grad(trains); });
  succeeds([&] {
    const auto now = model_->tasks();
    for (std::size_t i = 0; i < now.size(); ++i)
      if (now[i].calibration != calibrations_.at(i).second)
        set_calibration(*model_, calibrations_[i].second, calibrations_[i].first);
  });
  put_back_weights();
}

void KeptModel::put_back_weights() {
  const at::NoGradGuard no_grad;
  bool all = true;
  for (const auto& [name, tensor] : weights_)
    if (!succeeds([&] { put_back(tensor, before_.at(name)); })) all = false;
  if (all && int8_) succeeds([&] { model::set_int8(*model_, std::move(*int8_)); });
}

}  // namespace graft::train
