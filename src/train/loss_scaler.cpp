#include "train/loss_scaler.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <graft/error.h>

#include "base/text.h"

namespace graft::train {

namespace {

// torch/amp/grad_scaler.py.
constexpr double kFirst = 65536, kGrowth = 2, kBackoff = 0.5;
constexpr std::int64_t kGrowthInterval = 2000;

}  // namespace

LossScaler::LossScaler(c10::Device device)
    : scale_(at::full({1}, kFirst, at::TensorOptions(device).dtype(at::kFloat))),
      growth_(at::zeros({1}, at::TensorOptions(device).dtype(at::kInt))),
      overflow_(at::zeros({1}, at::TensorOptions(device).dtype(at::kFloat))) {}

void LossScaler::unscale(const std::vector<at::Tensor>& gradients) {
  const at::NoGradGuard no_grad;
  overflow_.copy_(scale_.lt(kSmallest));
  if (gradients.empty()) return;
  // In float64, as 1 / scale may have no float32 where scale has one.
  const auto inverse = scale_.to(at::kDouble).reciprocal().to(at::kFloat);
  at::_amp_foreach_non_finite_check_and_unscale_(gradients, overflow_, inverse);
}

bool LossScaler::overflowed() const { return overflow_.item<float>() != 0; }

void LossScaler::update() {
  const at::NoGradGuard no_grad;
  at::_amp_update_scale_(scale_, growth_, overflow_, kGrowth, kBackoff, kGrowthInterval);
}

void LossScaler::check() const {
  const auto scale = scale_.item<float>();
  if (scale >= kSmallest) return;
  throw Error(ErrorCode::kNumeric, "float16: gradients overflow at every scale of the loss; it has fallen to " +
                                       base::shortest(scale) +
                                       ", below 2^-14; the weights are as before; train in bfloat16 or float32");
}

void LossScaler::save(const std::string& prefix, RunState& state) const {
  state.set(prefix + "/scale", scale_.item<double>());
  state.set(prefix + "/growth", growth_.item<std::int64_t>());
}

void LossScaler::load(const std::string& prefix, const RunState& state) {
  const at::NoGradGuard no_grad;
  scale_.fill_(state.number(prefix + "/scale"));
  growth_.fill_(state.integer(prefix + "/growth"));
}

}  // namespace graft::train
