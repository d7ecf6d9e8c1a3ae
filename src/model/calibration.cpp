#include "model/calibration.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>

#include <graft/error.h>

#include "base/torch_device.h"
#include "engine/quantize.h"
#include "model/golden.h"
#include "model/impl.h"
#include "model/int8_state.h"

namespace graft::model {

namespace {

Model::Impl& ready(Model& model) {
  auto& impl = Model::Impl::of(model);
  if (impl.training)
    throw Error(ErrorCode::kConfig, "the model is in training mode; call eval() before calibrating it");
  if (takes_text(impl.input))
    throw Error(ErrorCode::kConfig, "int8 is for networks that take pictures, this one takes texts");
  if (impl.device.is_cuda())
    throw Error(ErrorCode::kConfig, "int8 runs on the CPU; move the model there to calibrate it");
  if (!engine::has_eight_bit_arithmetic())
    throw Error(ErrorCode::kConfig, "this processor has no arithmetic for int8 (VNNI or AMX)");
  return impl;
}

}  // namespace

std::optional<Int8> int8_of(const Model& model) {
  const auto& impl = Model::Impl::of(model);
  return impl.runner.calibration() ? impl.int8 : std::nullopt;
}

void set_int8(Model& model, Int8 int8) {
  auto& impl = Model::Impl::of(model);
  if (impl.runner.calibration()) return;  // it holds still, and so do its plans
  const bool checked = impl.int8_checked;
  impl.set_int8(std::move(int8));
  impl.int8_checked = checked;
}

Calibrator::Calibrator(Model& model) : impl_(ready(model)), activations_(impl_.network) {}
Calibrator::~Calibrator() = default;

at::Tensor Calibrator::observe(const at::Tensor& batch) {
  impl_.check_batch(batch, /*evaluation=*/true);
  return activations_.observe(batch.contiguous(at::MemoryFormat::ChannelsLast));
}

Calibrator::Result Calibrator::finish() {
  const auto picture = golden_input(golden_example(impl_.input), impl_.input);
  Int8 int8{activations_.calibration(), {}, {}};
  impl_.set_int8(int8);
  try {
    const auto plan = impl_.runner.plan(picture.contiguous(at::MemoryFormat::ChannelsLast), Precision::kInt8);
    const auto expected = impl_.infer(impl_.runner, picture, Precision::kFloat32);
    const auto found = impl_.infer(impl_.runner, picture, Precision::kInt8).contiguous();
    int8.logits.assign(found.const_data_ptr<float>(), found.const_data_ptr<float>() + found.numel());
    impl_.set_int8(std::move(int8));
    const auto& made = plan->summary();
    return {made.convolutions, made.convolutions_in_int8, made.linear_in_int8, made.in_float,
            (found - expected).abs().max().item<double>() / std::max(1.0, expected.abs().max().item<double>())};
  } catch (...) {
    undo();
    throw;
  }
}

void Calibrator::set_comparison(const Int8Info& comparison) { impl_.int8.value().comparison = comparison; }
void Calibrator::undo() { impl_.set_int8(std::nullopt); }

}  // namespace graft::model
