#include "graph/state.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

#include "graph/jit.h"

namespace graft::graph {

struct KeptState::Slot {
  c10::intrusive_ptr<c10::ivalue::Object> object;
  std::size_t index = 0;
  c10::IValue value;
  at::Tensor copy;  ///< of a tensor
  std::int64_t version = 0;

  Slot(c10::intrusive_ptr<c10::ivalue::Object> owner, std::size_t slot)
      : object(std::move(owner)), index(slot), value(object->getSlot(slot)) {
    if (!value.isTensor() || !value.toTensor().defined()) return;
    copy = value.toTensor().detach().clone();
    version = version_of(value.toTensor());
  }

  void restore() const {
    if (!object->getSlot(index).is(value)) object->setSlot(index, value);
    if (!copy.defined()) return;
    const auto& tensor = value.toTensor();
    // What is equal is not written: plans go by the count of changes.
    if (tensor.is_inference() ? at::equal(tensor, copy) : version_of(tensor) == version) return;
    const c10::InferenceMode mode(tensor.is_inference());
    tensor.detach().copy_(copy);
  }

  static std::int64_t version_of(const at::Tensor& tensor) { return tensor.is_inference() ? 0 : tensor._version(); }
};

namespace {

template <class Slot>
void collect(const torch::jit::Module& module, std::vector<Slot>& slots) {
  const auto object = module._ivalue();
  const auto& type = *object->type();
  for (std::size_t i = 0; i < type.numAttributes(); ++i) {
    if (type.getAttribute(i)->is_module()) {
      collect(object->getSlot(i).toModule(), slots);
    } else if (!type.is_parameter(i)) {
      slots.emplace_back(object, i);
    }
  }
}

}  // namespace

KeptState::KeptState(const Network& network) : network_(network) {
  const at::NoGradGuard no_grad;
  std::vector<Slot> slots;
  collect(network.jit().module, slots);
  slots_ = std::make_unique<const std::vector<Slot>>(std::move(slots));
}

KeptState::~KeptState() = default;

void KeptState::restore() const {
  const at::NoGradGuard no_grad;
  for (const auto& slot : *slots_) slot.restore();
}

}  // namespace graft::graph
