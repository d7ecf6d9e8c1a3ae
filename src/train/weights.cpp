#include "train/weights.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "base/check.h"

// What is equal is not written: plans and what is cached of frozen layers go by the tensors' count of changes.

namespace graft::train {

Weights weights_of(const Model& model, const std::vector<std::string>& parameters) {
  Weights weights;
  const auto all = model.named_parameters();
  for (const auto& name : parameters) weights[name] = all.at(name).detach();
  for (const auto& [name, tensor] : model.named_buffers()) weights[name] = tensor.detach();
  return weights;
}

Weights copy_of(const Weights& weights) {
  Weights copy;
  for (const auto& [name, tensor] : weights) copy[name] = tensor.clone();
  return copy;
}

void copy_into(const Weights& from, const Weights& to) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : to) {
    const auto it = from.find(name);
    if (it == from.end() || it->second.sizes() != tensor.sizes())
      throw Error(ErrorCode::kMismatch, "saved weights: \"" + name + "\" is missing or of another shape");
    if (!at::equal(tensor, it->second.to(tensor.device()))) tensor.copy_(it->second);
  }
}

MovingAverage::MovingAverage(Weights weights, double decay)
    : weights_(std::move(weights)), average_(copy_of(weights_)), decay_(decay) {
  base::require(decay > 0 && decay < 1, "ema_decay", "between 0 and 1", decay);
}

void MovingAverage::update() {
  const at::NoGradGuard no_grad;
  for (auto& [name, average] : average_) {
    const auto& now = weights_.at(name);
    if (average.is_floating_point()) {
      average.lerp_(now, 1 - decay_);
    } else {
      average.copy_(now);
    }
  }
}

void MovingAverage::exchange() {
  const at::NoGradGuard no_grad;
  for (auto& [name, average] : average_) {
    const auto& weight = weights_.at(name);
    if (at::equal(weight, average)) continue;
    const auto kept = weight.clone();
    weight.copy_(average);
    average.copy_(kept);
  }
}

}  // namespace graft::train
