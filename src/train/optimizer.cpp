// Sources of the formulas: torch/optim/{sgd,adam,adamw,rmsprop}.py (single-tensor forms) and
// keras/src/optimizers/{sgd,adam,adamw,rmsprop}.py of Keras 3.

#include "train/optimizer.h"

#include <cmath>
#include <string>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <graft/error.h>

#include "base/check.h"
#include "base/overloaded.h"

namespace graft {

Numerics parse_numerics(std::string_view text) {
  if (text == "torch") return Numerics::kTorch;
  if (text == "keras") return Numerics::kKeras;
  throw Error(ErrorCode::kConfig, "numerics: expected torch or keras, found \"" + std::string(text) + "\"");
}

OptimizerSpec parse_optimizer(std::string_view name, std::optional<double> learning_rate) {
  if (learning_rate && !(*learning_rate > 0 && std::isfinite(*learning_rate)))
    throw Error(ErrorCode::kConfig,
                "learning rate: expected a number above 0, found " + std::to_string(*learning_rate));
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
  base::require(fine, std::string("optimizer: ") + field, expected, found);
}

double checked_rate(double rate) {
  check(rate > 0 && std::isfinite(rate), "learning_rate", "a number above 0", rate);
  return rate;
}

void check_decay(double decay) { check(decay >= 0 && std::isfinite(decay), "weight_decay", "0 or more", decay); }
void check_fraction(const char* field, double value) { check(value >= 0 && value < 1, field, "0 to below 1", value); }
void check_epsilon(double value) { check(value > 0 && std::isfinite(value), "epsilon", "a number above 0", value); }

class SgdStep : public Optimizer {
 public:
  SgdStep(const Sgd& o, bool keras, std::vector<at::Tensor> parameters)
      : Optimizer(checked_rate(o.learning_rate), std::move(parameters)), o_(o), keras_(keras) {
    check_fraction("momentum", o.momentum);
    check_decay(o.weight_decay);
    check(!o.nesterov || o.momentum > 0, "momentum", "above 0 with nesterov", o.momentum);
  }

 protected:
  void update(at::Tensor& p, const at::Tensor& gradient, Slots& s) override {
    const auto g = o_.weight_decay != 0 ? gradient.add(p, o_.weight_decay) : gradient;
    if (o_.momentum == 0) {
      p.add_(g, -learning_rate_);
    } else if (keras_) {
      if (!s.first.defined()) s.first = at::zeros_like(p);
      s.first.mul_(o_.momentum).sub_(g, learning_rate_);
      if (o_.nesterov) {
        p.add_(s.first, o_.momentum).sub_(g, learning_rate_);
      } else {
        p.add_(s.first);
      }
    } else {
      if (s.first.defined()) {
        s.first.mul_(o_.momentum).add_(g);
      } else {
        s.first = g.clone();
      }
      p.add_(o_.nesterov ? g.add(s.first, o_.momentum) : s.first, -learning_rate_);
    }
  }

 private:
  Sgd o_;
  bool keras_;
};

/// Adam, and AdamW with its decay apart from the gradient.
class AdamStep : public Optimizer {
 public:
  AdamStep(const Adam& o, bool decoupled, bool keras, std::vector<at::Tensor> parameters)
      : Optimizer(checked_rate(o.learning_rate), std::move(parameters)),
        o_(o),
        decoupled_(decoupled),
        keras_(keras),
        epsilon_(o.epsilon.value_or(keras ? 1e-7 : 1e-8)) {
    check_fraction("beta1", o.beta1);
    check_fraction("beta2", o.beta2);
    check_epsilon(epsilon_);
    check_decay(o.weight_decay);
  }

 protected:
  void update(at::Tensor& p, const at::Tensor& gradient, Slots& s) override {
    if (!s.first.defined()) {
      s.first = at::zeros_like(p);
      s.second = at::zeros_like(p);
    }
    if (!keras_ && p.is_non_overlapping_and_dense() && p.strides() == gradient.strides()) return fused(p, gradient, s);
    const bool couple = !decoupled_ && o_.weight_decay != 0;
    const auto g = couple ? gradient.add(p, o_.weight_decay) : gradient;
    if (decoupled_ && o_.weight_decay != 0) p.mul_(1 - learning_rate_ * o_.weight_decay);
    const auto t = static_cast<double>(s.steps);
    const double correction1 = 1 - std::pow(o_.beta1, t), correction2 = 1 - std::pow(o_.beta2, t);
    s.first.lerp_(g, 1 - o_.beta1);
    s.second.mul_(o_.beta2).addcmul_(g, g, 1 - o_.beta2);
    if (keras_) {
      p.addcdiv_(s.first, s.second.sqrt().add_(epsilon_), -learning_rate_ * std::sqrt(correction2) / correction1);
    } else {
      p.addcdiv_(s.first, s.second.sqrt().div_(std::sqrt(correction2)).add_(epsilon_), -learning_rate_ / correction1);
    }
  }

 private:
  /// PyTorch's formula in one pass over memory instead of nine. It walks all tensors in the order of their memory.
  void fused(const at::Tensor& p, const at::Tensor& gradient, const Slots& s) const {
    const auto step = at::full({}, static_cast<double>(s.steps), p.options().dtype(at::kFloat));
    const auto kernel = decoupled_ ? static_cast<Kernel>(at::_fused_adamw_) : static_cast<Kernel>(at::_fused_adam_);
    kernel(p, gradient, s.first, s.second, {}, step, learning_rate_, o_.beta1, o_.beta2, o_.weight_decay, epsilon_,
           /*amsgrad=*/false, /*maximize=*/false, {}, {});
    p.unsafeGetTensorImpl()->bump_version();  // which this operator does not do; plans go by it
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
  RmsPropStep(const RmsProp& o, bool keras, std::vector<at::Tensor> parameters)
      : Optimizer(checked_rate(o.learning_rate.value_or(keras ? 1e-3 : 1e-2)), std::move(parameters)),
        o_(o),
        keras_(keras),
        rho_(o.rho.value_or(keras ? 0.9 : 0.99)),
        epsilon_(o.epsilon.value_or(keras ? 1e-7 : 1e-8)) {
    check_fraction("rho", rho_);
    check_fraction("momentum", o.momentum);
    check_epsilon(epsilon_);
    check_decay(o.weight_decay);
  }

 protected:
  void update(at::Tensor& p, const at::Tensor& gradient, Slots& s) override {
    const auto g = o_.weight_decay != 0 ? gradient.add(p, o_.weight_decay) : gradient;
    if (!s.second.defined()) s.second = at::zeros_like(p);
    s.second.mul_(rho_).addcmul_(g, g, 1 - rho_);
    const auto denominator = keras_ ? s.second.add(epsilon_).sqrt_() : s.second.sqrt().add_(epsilon_);
    if (o_.momentum == 0) {
      p.addcdiv_(g, denominator, -learning_rate_);
      return;
    }
    if (!s.first.defined()) s.first = at::zeros_like(p);
    s.first.mul_(o_.momentum).addcdiv_(g, denominator, keras_ ? learning_rate_ : 1);
    p.add_(s.first, keras_ ? -1 : -learning_rate_);
  }

 private:
  RmsProp o_;
  bool keras_;
  double rho_, epsilon_;
};

}  // namespace

std::unique_ptr<Optimizer> Optimizer::create(const OptimizerSpec& spec, Numerics numerics, std::vector<at::Tensor> p) {
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

void Optimizer::step() {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (!parameters_[i].grad().defined()) continue;
    ++slots_[i].steps;
    update(parameters_[i], parameters_[i].grad(), slots_[i]);
  }
}

void Optimizer::zero_grad() {
  for (auto& parameter : parameters_) parameter.mutable_grad().reset();
}

}  // namespace train
}  // namespace graft
