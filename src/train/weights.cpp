#include "train/weights.h"

#include <algorithm>
#include <string>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/util/StringUtil.h>

#include "base/check.h"
#include "base/text.h"

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

namespace {

void check_fit(const Weights& from, const Weights& to) {
  std::vector<std::string> missing, unknown, differing;
  for (const auto& [name, tensor] : to) {
    const auto it = from.find(name);
    if (it == from.end())
      missing.push_back(name);
    else if (it->second.sizes() != tensor.sizes())
      differing.push_back(c10::str(name, " ", it->second.sizes(), " for ", tensor.sizes()));
  }
  for (const auto& [name, tensor] : from)
    if (!to.contains(name)) unknown.push_back(name);
  std::string what;
  const auto add = [&](const char* kind, const std::vector<std::string>& names) {
    if (!names.empty()) what += (what.empty() ? "" : "; ") + std::string(kind) + " " + base::list_names(names);
  };
  add("missing", missing);
  add("not in this model", unknown);
  add("of another shape", differing);
  if (!what.empty()) throw Error(ErrorCode::kMismatch, "the saved weights are not this model's: " + what);
}

}  // namespace

void copy_into(const Weights& from, const Weights& to) {
  const at::NoGradGuard no_grad;
  check_fit(from, to);
  for (const auto& [name, tensor] : to) {
    const auto it = from.find(name);
    if (!at::equal(tensor, it->second.to(tensor.device()))) tensor.copy_(it->second);
  }
}

MovingAverage::MovingAverage(Weights weights, double decay)
    : weights_(std::move(weights)), average_(copy_of(weights_)), decay_(decay) {
  base::require(decay > 0 && decay < 1, "ema_decay", "between 0 and 1", decay);
  std::size_t largest = 0;
  for (const auto& [name, tensor] : weights_) largest = std::max(largest, tensor.nbytes());
  if (largest > 0)
    scratch_ = at::empty({static_cast<std::int64_t>(largest)}, weights_.begin()->second.options().dtype(at::kByte));
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
    const auto kept = scratch_.narrow(0, 0, static_cast<std::int64_t>(weight.nbytes()))
                          .view(weight.scalar_type())
                          .view(weight.sizes());
    kept.copy_(weight);
    weight.copy_(average);
    average.copy_(kept);
  }
}

}  // namespace graft::train
