// Sources of the formulas: torch/optim/{sgd,adam,adamw,rmsprop}.py (single-tensor forms) and
// keras/src/optimizers/{sgd,adam,adamw,rmsprop}.py of Keras 3.

#include "train/optimizer.h"

#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <tuple>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <graft/error.h>

#include "base/check.h"
#include "base/overloaded.h"
#include "base/text.h"

namespace graft {

Numerics parse_numerics(std::string_view text) {
  if (text == "torch") return Numerics::kTorch;
  if (text == "keras") return Numerics::kKeras;
  throw Error(ErrorCode::kConfig, "numerics: expected torch or keras, found \"" + std::string(text) + "\"");
}

OptimizerSpec parse_optimizer(std::string_view name, std::optional<double> learning_rate) {
  if (learning_rate && !(*learning_rate > 0 && std::isfinite(*learning_rate)))
    throw Error(ErrorCode::kConfig,
                "learning rate: expected a number above 0, found " + base::shortest(*learning_rate));
  const auto with_rate = [&](auto spec) -> OptimizerSpec {
    if (learning_rate) spec.learning_rate = *learning_rate;
    return spec;
  };
  if (name == "sgd") return with_rate(Sgd{});
  if (name == "adam") return with_rate(Adam{});
  if (name == "adamw") return with_rate(AdamW{});
  if (name == "rmsprop") return with_rate(RmsProp{});
  throw Error(ErrorCode::kConfig,
              "optimizer: expected sgd, adam, adamw or rmsprop, found \"" + std::string(name) + "\"");
}

namespace train {

namespace {

void check(bool fine, const char* field, const char* expected, double found) {
  if (!fine) base::refuse(std::string("optimizer: ") + field, expected, base::shortest(found));
}

constexpr double kMost = 1e30;  ///< what is computed with it in float32 has to be a number there

double checked_rate(double rate) {
  check(rate > 0 && rate <= kMost, "learning_rate", "a number above 0, at most 1e30", rate);
  return rate;
}

double checked_decay(double decay) {
  check(decay >= 0 && decay <= kMost, "weight_decay", "0 or more, at most 1e30", decay);
  return decay;
}
void check_fraction(const char* field, double value) { check(value >= 0 && value < 1, field, "0 to below 1", value); }
void check_epsilon(double value) { check(value > 0 && std::isfinite(value), "epsilon", "a number above 0", value); }

class SgdStep : public Optimizer {
 public:
  SgdStep(const Sgd& o, bool keras, std::vector<Parameter> parameters)
      : Optimizer(checked_rate(o.learning_rate), checked_decay(o.weight_decay), std::move(parameters)),
        o_(o),
        keras_(keras) {
    check_fraction("momentum", o.momentum);
    check(!o.nesterov || o.momentum > 0, "momentum", "above 0 with nesterov", o.momentum);
  }

 protected:
  void update(at::Tensor& p, const at::Tensor& gradient, Slots& s, const Rates& now) override {
    const auto g = now.weight_decay != 0 ? gradient.add(p, now.weight_decay) : gradient;
    if (o_.momentum == 0) {
      p.add_(g, -now.learning_rate);
    } else if (keras_) {
      if (!s.first.defined()) s.first = at::zeros_like(p);
      s.first.mul_(o_.momentum).sub_(g, now.learning_rate);
      if (o_.nesterov) {
        p.add_(s.first, o_.momentum).sub_(g, now.learning_rate);
      } else {
        p.add_(s.first);
      }
    } else {
      if (s.first.defined()) {
        s.first.mul_(o_.momentum).add_(g);
      } else {
        s.first = g.clone();
      }
      p.add_(o_.nesterov ? g.add(s.first, o_.momentum) : s.first, -now.learning_rate);
    }
  }

  /// On CUDA all with the same rates are one launch.
  void update_all(std::vector<Update>& updates, const at::Tensor& skip) override {
    if (keras_ || updates.empty() || !updates.front().parameter.is_cuda()) return Optimizer::update_all(updates, skip);
    std::map<std::tuple<double, double, bool>, std::array<std::vector<at::Tensor>, 3>> together;
    for (auto& [p, s, now] : updates) {
      const bool first = o_.momentum != 0 && !s.first.defined();
      auto& [parameters, gradients, momenta] = together[{now.learning_rate, now.weight_decay, first}];
      if (first) s.first = at::zeros_like(p);
      parameters.push_back(p);
      gradients.push_back(p.grad());
      if (o_.momentum != 0) momenta.push_back(s.first);
    }
    for (const auto& [same, tensors] : together) {
      const auto [learning_rate, weight_decay, first] = same;
      at::_fused_sgd_(tensors[0], tensors[1], tensors[2], weight_decay, o_.momentum, learning_rate, /*dampening=*/0,
                      o_.nesterov, /*maximize=*/false, first, /*grad_scale=*/{},
                      skip.defined() ? std::optional(skip) : std::nullopt);
      for (const auto& parameter : tensors[0]) parameter.unsafeGetTensorImpl()->bump_version();
    }
  }

 private:
  Sgd o_;
  bool keras_;
};

/// Adam, and AdamW with its decay apart from the gradient.
class AdamStep : public Optimizer {
 public:
  AdamStep(const Adam& o, bool decoupled, bool keras, std::vector<Parameter> parameters)
      : Optimizer(checked_rate(o.learning_rate), checked_decay(o.weight_decay), std::move(parameters)),
        o_(o),
        decoupled_(decoupled),
        keras_(keras),
        epsilon_(o.epsilon.value_or(keras ? 1e-7 : 1e-8)) {
    check_fraction("beta1", o.beta1);
    check_fraction("beta2", o.beta2);
    check_epsilon(epsilon_);
  }

 protected:
  void update(at::Tensor& p, const at::Tensor& gradient, Slots& s, const Rates& now) override {
    begin(p, s);
    if (can_fuse(p, gradient)) return fused({{p, s, now}});
    const bool couple = !decoupled_ && now.weight_decay != 0;
    const auto g = couple ? gradient.add(p, now.weight_decay) : gradient;
    if (decoupled_ && now.weight_decay != 0) p.mul_(1 - now.learning_rate * now.weight_decay);
    const auto t = static_cast<double>(steps_of(s));
    const double correction1 = 1 - std::pow(o_.beta1, t), correction2 = 1 - std::pow(o_.beta2, t);
    s.first.lerp_(g, 1 - o_.beta1);
    s.second.mul_(o_.beta2).addcmul_(g, g, 1 - o_.beta2);
    if (keras_) {
      p.addcdiv_(s.first, s.second.sqrt().add_(epsilon_), -now.learning_rate * std::sqrt(correction2) / correction1);
    } else {
      p.addcdiv_(s.first, s.second.sqrt().div_(std::sqrt(correction2)).add_(epsilon_),
                 -now.learning_rate / correction1);
    }
  }

  /// On CUDA what can go together is one launch.
  void update_all(std::vector<Update>& updates, const at::Tensor& skip) override {
    std::map<std::tuple<double, double, std::int64_t>, std::vector<Update>> together;
    std::vector<Update> alone;
    for (auto& each : updates) {
      auto& [p, s, now] = each;
      begin(p, s);
      const bool fuses = p.is_cuda() && can_fuse(p, p.grad());
      (fuses ? together[{now.learning_rate, now.weight_decay, s.steps}] : alone).push_back(each);
    }
    for (const auto& [same, group] : together) fused(group, skip);
    Optimizer::update_all(alone, skip);
  }

 private:
  static void begin(const at::Tensor& p, Slots& s) {
    if (s.first.defined()) return;
    s.first = at::zeros_like(p);
    s.second = at::zeros_like(p);
  }

  /// The kernel walks all tensors in the order of their memory, in which a size of 1 has no part.
  bool can_fuse(const at::Tensor& p, const at::Tensor& gradient) const {
    if (keras_ || !p.is_non_overlapping_and_dense()) return false;
    for (std::int64_t i = 0; i < p.dim(); ++i)
      if (p.size(i) > 1 && p.stride(i) != gradient.stride(i)) return false;
    return true;
  }

  /// PyTorch's formula in one pass over memory instead of nine, for parameters with the same rates and steps.
  void fused(const std::vector<Update>& updates, const at::Tensor& skip = {}) const {
    std::vector<at::Tensor> parameters, gradients, first, second, skipped;
    for (const auto& [p, s, now] : updates) {
      parameters.push_back(p);
      gradients.push_back(p.grad());
      first.push_back(s.first);
      second.push_back(s.second);
      if (s.skipped.defined()) skipped.push_back(s.skipped);
    }
    const auto& [p, s, now] = updates.front();
    std::vector<at::Tensor> steps(updates.size(),
                                  at::full({}, static_cast<double>(s.steps), p.options().dtype(at::kFloat)));
    if (!skipped.empty()) steps = at::_foreach_sub(steps, skipped);
    const auto kernel = decoupled_ ? static_cast<Kernel>(at::_fused_adamw_) : static_cast<Kernel>(at::_fused_adam_);
    kernel(parameters, gradients, first, second, {}, steps, now.learning_rate, o_.beta1, o_.beta2, now.weight_decay,
           epsilon_, /*amsgrad=*/false, /*maximize=*/false, /*grad_scale=*/{},
           skip.defined() ? std::optional(skip) : std::nullopt);
    // Which this operator does not do; plans go by it.
    for (const auto& parameter : parameters) parameter.unsafeGetTensorImpl()->bump_version();
  }
  using Kernel = void (*)(at::TensorList, at::TensorList, at::TensorList, at::TensorList, at::TensorList,
                          at::TensorList, double, double, double, double, double, bool, bool,
                          const std::optional<at::Tensor>&, const std::optional<at::Tensor>&);

  Adam o_;
  bool decoupled_;
  bool keras_;
  double epsilon_;
};

class RmsPropStep : public Optimizer {
 public:
  RmsPropStep(const RmsProp& o, bool keras, std::vector<Parameter> parameters)
      : Optimizer(checked_rate(o.learning_rate.value_or(keras ? 1e-3 : 1e-2)), checked_decay(o.weight_decay),
                  std::move(parameters)),
        o_(o),
        keras_(keras),
        rho_(o.rho.value_or(keras ? 0.9 : 0.99)),
        epsilon_(o.epsilon.value_or(keras ? 1e-7 : 1e-8)) {
    check_fraction("rho", rho_);
    check_fraction("momentum", o.momentum);
    check_epsilon(epsilon_);
  }

 protected:
  void update(at::Tensor& p, const at::Tensor& gradient, Slots& s, const Rates& now) override {
    const auto g = now.weight_decay != 0 ? gradient.add(p, now.weight_decay) : gradient;
    if (!s.second.defined()) s.second = at::zeros_like(p);
    s.second.mul_(rho_).addcmul_(g, g, 1 - rho_);
    const auto denominator = keras_ ? s.second.add(epsilon_).sqrt_() : s.second.sqrt().add_(epsilon_);
    if (o_.momentum == 0) {
      p.addcdiv_(g, denominator, -now.learning_rate);
      return;
    }
    if (!s.first.defined()) s.first = at::zeros_like(p);
    s.first.mul_(o_.momentum).addcdiv_(g, denominator, keras_ ? now.learning_rate : 1);
    p.add_(s.first, keras_ ? -1 : -now.learning_rate);
  }

 private:
  RmsProp o_;
  bool keras_;
  double rho_, epsilon_;
};

}  // namespace

std::unique_ptr<Optimizer> Optimizer::create(const OptimizerSpec& spec, Numerics numerics, std::vector<Parameter> p) {
  for (const auto& parameter : p) {
    check(parameter.rate >= 0 && std::isfinite(parameter.rate), "rate of a group", "0 or more", parameter.rate);
    if (parameter.weight_decay) checked_decay(*parameter.weight_decay);
  }
  const bool keras = numerics == Numerics::kKeras;
  using Result = std::unique_ptr<Optimizer>;
  return std::visit(
      base::Overloaded{
          [&](const Sgd& o) -> Result { return std::make_unique<SgdStep>(o, keras, std::move(p)); },
          [&](const Adam& o) -> Result { return std::make_unique<AdamStep>(o, false, keras, std::move(p)); },
          [&](const AdamW& o) -> Result {
            const Adam common{o.learning_rate, o.beta1, o.beta2, o.epsilon,
                              o.weight_decay.value_or(keras ? 0.004 : 0.01)};
            return std::make_unique<AdamStep>(common, true, keras, std::move(p));
          },
          [&](const RmsProp& o) -> Result { return std::make_unique<RmsPropStep>(o, keras, std::move(p)); }},
      spec);
}

void Optimizer::step(const at::Tensor& skip, bool goes_on) {
  const at::NoGradGuard no_grad;
  if (skip.defined() && skip.is_cpu() && skip.item<float>() != 0) return;
  std::vector<Update> updates;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    auto& [tensor, name, rate, weight_decay] = parameters_[i];
    if (!tensor.grad().defined()) continue;
    check(learning_rate_ * rate <= kMost, "learning_rate of a group and phase", "1e30 at most", learning_rate_ * rate);
    ++slots_[i].steps;
    updates.push_back({tensor, slots_[i], {learning_rate_ * rate, weight_decay.value_or(weight_decay_)}});
  }
  if (goes_on && skip.defined() && skip.is_cuda()) count_skipped(updates, skip);
  update_all(updates, skip);
}

std::int64_t Optimizer::steps_of(const Slots& slots) {
  return slots.steps - (slots.skipped.defined() ? static_cast<std::int64_t>(slots.skipped.item<float>()) : 0);
}

void Optimizer::count_skipped(const std::vector<Update>& updates, const at::Tensor& skip) {
  std::vector<at::Tensor> counters;
  for (const auto& [parameter, slots, rates] : updates) {
    if (!slots.skipped.defined()) slots.skipped = at::zeros({}, skip.options());
    counters.push_back(slots.skipped);
  }
  if (!counters.empty()) at::_foreach_add_(counters, skip.squeeze());
}

void Optimizer::update_all(std::vector<Update>& updates, const at::Tensor& skip) {
  if (updates.empty() || (skip.defined() && skip.item<float>() != 0)) return;
  for (auto& [parameter, slots, rates] : updates) update(parameter, parameter.grad(), slots, rates);
}

void Optimizer::zero_grad() {
  for (auto& parameter : parameters_) parameter.tensor.mutable_grad().reset();
}

std::map<std::string, at::Tensor> Optimizer::state() const {
  std::map<std::string, at::Tensor> state;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const auto& [steps, skipped, first, second] = slots_[i];
    const auto& name = parameters_[i].name;
    state[name + ".steps"] = at::full({}, steps_of(slots_[i]), at::kLong);
    if (first.defined()) state[name + ".first"] = first;
    if (second.defined()) state[name + ".second"] = second;
  }
  return state;
}

void Optimizer::set_state(const std::map<std::string, at::Tensor>& state) {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const auto& tensor = parameters_[i].tensor;
    const auto& name = parameters_[i].name;
    const auto steps = state.find(name + ".steps");
    if (steps == state.end()) throw Error(ErrorCode::kMismatch, "the optimiser's state knows nothing of " + name);
    slots_[i].steps = steps->second.item<std::int64_t>();
    slots_[i].skipped.reset();
    const auto take = [&](const std::string& slot, at::Tensor& into) {
      const auto it = state.find(name + slot);
      if (it != state.end() && it->second.sizes() != tensor.sizes())
        throw Error(ErrorCode::kMismatch, c10::str("the optimiser's state of ", name, ": expected ", tensor.sizes(),
                                                   ", found ", it->second.sizes()));
      into = it == state.end() ? at::Tensor() : at::empty_like(tensor).copy_(it->second);
    };
    take(".first", slots_[i].first);
    take(".second", slots_[i].second);
  }
}

}  // namespace train
}  // namespace graft
