#include "engine/split_runner.h"

#include <optional>
#include <utility>
#include <vector>

#include <torch/csrc/jit/runtime/interpreter.h>

#include "engine/execute.h"
#include "engine/stamp.h"
#include "graph/split.h"

namespace graft::engine {

namespace {

/// The two parts, ready to run.
struct Parts {
  graph::Network trunk_network;
  Runner trunk, rest;
  torch::jit::Code training;
  std::string text;
  std::vector<at::Tensor> trunk_tensors;
  std::vector<Stamp> trunk_stamps;

  explicit Parts(graph::Split split)
      : trunk_network(split.trunk),
        trunk(split.trunk),
        rest(split.rest),
        training(split.training, "training"),
        text(std::move(split.text)) {
    for (const auto& named : {trunk_network.named_parameters(), trunk_network.named_buffers()})
      for (const auto& [name, tensor] : named) trunk_tensors.push_back(tensor);
    trunk_stamps = stamps_of(trunk_tensors);
  }
};

}  // namespace

struct SplitRunner::Impl {
  torch::jit::Module module;
  std::vector<std::pair<c10::intrusive_ptr<c10::ivalue::Object>, std::size_t>> flags;
  std::vector<at::Tensor> parameters;
  std::vector<bool> state;  ///< of these, when the network was cut
  std::unique_ptr<const Parts> parts;

  explicit Impl(const graph::Network& network) : module(network.jit().module) {
    for (const auto& each : module.modules())
      if (const auto slot = each._ivalue()->type()->findAttributeSlot("training"))
        flags.emplace_back(each._ivalue(), *slot);
    for (const auto& [name, tensor] : network.named_parameters()) parameters.push_back(tensor);
    state = current_state();
    if (auto split = graph::split_frozen(network)) parts = std::make_unique<const Parts>(std::move(*split));
  }

  std::vector<bool> current_state() const {
    std::vector<bool> now;
    for (const auto& [object, slot] : flags) now.push_back(object->getSlot(slot).toBool());
    for (const auto& parameter : parameters) now.push_back(parameter.requires_grad());
    return now;
  }
};

SplitRunner::SplitRunner(const graph::Network& network) : impl_(std::make_unique<Impl>(network)) {}
SplitRunner::~SplitRunner() = default;
SplitRunner::SplitRunner(SplitRunner&&) noexcept = default;
SplitRunner& SplitRunner::operator=(SplitRunner&&) noexcept = default;

bool SplitRunner::has_trunk() const { return impl_->parts != nullptr; }
const Runner& SplitRunner::trunk() const { return impl_->parts->trunk; }
const Runner& SplitRunner::rest() const { return impl_->parts->rest; }
const graph::Network& SplitRunner::trunk_network() const { return impl_->parts->trunk_network; }
const std::string& SplitRunner::trunk_text() const { return impl_->parts->text; }

at::Tensor SplitRunner::train(const at::Tensor& features) const {
  return one_tensor(execute(impl_->parts->training, {impl_->module._ivalue(), features}));
}

bool SplitRunner::is_current() const { return impl_->current_state() == impl_->state && trunk_is_current(); }

bool SplitRunner::trunk_is_current() const {
  return !has_trunk() || stamps_of(impl_->parts->trunk_tensors) == impl_->parts->trunk_stamps;
}

}  // namespace graft::engine
