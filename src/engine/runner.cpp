#include "engine/runner.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <ATen/cpu/Utils.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include <graft/error.h>

#include "base/translate.h"
#include "engine/execute.h"
#include "engine/quantize.h"
#include "engine/stamp.h"
#include "graph/to_run.h"

namespace graft::engine {

namespace {

/// The plan's difference() on one picture; infinite, too, where it does not run.
double error_of(const Plan& plan, const at::Tensor& input, const at::Tensor& expected) {
  const at::NoGradGuard no_grad;
  try {
    return difference(plan.run(input), expected);
  } catch (const Error& error) {
    if (!base::is_about_input(error.code())) throw;
    return std::numeric_limits<double>::infinity();
  }
}

/// A plan that is further off is none: a fused addition, for one, cannot broadcast the convolution. In eight bits
/// numbers say nothing: the picture may be unlike those that were calibrated with.
double tolerance_of(Precision precision, const at::Tensor& input) {
  switch (precision) {
    case Precision::kBFloat16:
      return 0.1;
    case Precision::kFloat16:
      return 0.02;
    case Precision::kInt8:
      return std::numeric_limits<double>::max();
    default:
      return input.is_cuda() ? Runner::kCudaTolerance : Runner::kTolerance;
  }
}

/// Other processors get there by way of float32, and not faster; older CUDA devices do not at all.
bool computes_in_bfloat16(const at::Tensor& input) {
  if (input.is_cuda()) return at::detail::getCUDAHooks().supportsBFloat16ConvolutionWithCuDNNv8();
  static const bool found = [] {
    const auto capabilities = at::cpu::get_cpu_capabilities();
    return std::ranges::any_of(std::array{"avx512_bf16", "amx_bf16"}, [&](const char* name) {
      const auto capability = capabilities.find(name);
      return capability != capabilities.end() && capability->second.isBool() && capability->second.toBool();
    });
  }();
  return found;
}

}  // namespace

struct Runner::Impl {
  explicit Impl(const graph::Network& given) : network(given) {
    for (const auto& [name, tensor] : network.named_parameters()) weights.push_back(tensor);
    for (const auto& [name, tensor] : network.named_buffers()) weights.push_back(tensor);
  }

  const graph::Network network;
  std::vector<at::Tensor> weights;

  std::optional<Calibration> calibration;
  std::vector<Stamp> calibrated;  ///< the weights when it was set

  struct Compiled {
    std::optional<std::vector<Stamp>> stamps;  ///< of the weights it was compiled with; nothing before
    std::shared_ptr<const Plan> plan;
    PlanSummary summary;
    double difference = 0;   ///< of a plan's answer to the interpreter's
    bool asked_for = false;  ///< by plan()
  };
  std::mutex mutex;                                         ///< of all that follows
  std::map<std::pair<Precision, bool>, Compiled> compiled;  ///< the second: for single pictures

  struct Choice {
    std::optional<std::vector<Stamp>> stamps;
    Precision precision = Precision::kFloat32;
  };
  std::map<bool, Choice> chosen;  ///< for kAuto; by whether pictures are single

  std::vector<std::int64_t> probed_size;  ///< of an input [1, ...]
  Sizes convolution_inputs;               ///< for that
  struct Answer {
    std::vector<Stamp> stamps;
    at::Tensor input, output;
  };
  std::optional<Answer> known;

  const Sizes& convolution_inputs_for(const at::Tensor& one) {
    if (probed_size != one.sizes()) remember(probe(network, one));
    return convolution_inputs;
  }
  void remember(const Probe& seen) {
    probed_size = seen.input_shape;
    convolution_inputs = seen.convolution_inputs;
  }
  const at::Tensor& answer_to(const at::Tensor& one, const std::vector<Stamp>& stamps) {
    if (!known || known->stamps != stamps || known->input.sizes() != one.sizes()) {
      const at::NoGradGuard no_grad;
      known = {stamps, one.clone(), run(one).to(at::kFloat)};  // the caller may fill his batch anew
    }
    return known->output;
  }

  /// Where a plan answers, the interpreter's code is never needed.
  std::once_flag interpreted;
  std::optional<torch::jit::Code> code;

  at::Tensor run(const at::Tensor& input) {
    std::call_once(interpreted, [&] {
      const auto graph = graph::flatten_one_input(network.jit().module).graph;
      torch::jit::EliminateDeadCode(graph);
      code.emplace(graph, "forward");
    });
    return one_tensor(execute(*code, {network.jit().module._ivalue(), input}));
  }

  /// The entry for such inputs, made anew if a weight has changed.
  Compiled& compile(const at::Tensor& input, Precision precision) {
    const bool single = input.is_cpu() && input.size(0) == 1;
    auto stamps = stamps_of(weights);
    auto& entry = compiled[{precision, single}];
    if (entry.stamps == stamps) return entry;
    // What only a check has needed so far is not worth its memory beside another plan.
    std::erase_if(compiled, [&](const auto& other) { return &other.second != &entry && !other.second.asked_for; });
    const auto one = input.narrow(0, 0, 1);
    entry.plan = Plan::compile(network, precision, single ? convolution_inputs_for(one) : Sizes(),
                               calibration ? &*calibration : nullptr, &entry.summary);
    if (entry.plan) {
      const auto& expected = answer_to(one, stamps);
      entry.difference = error_of(*entry.plan, known->input, expected);
      if (entry.difference > tolerance_of(precision, input)) {
        entry.plan.reset();
        entry.summary.obstacle = "its answer to a picture was not the interpreter's";
      }
    }
    entry.stamps = std::move(stamps);
    return entry;
  }
};

Runner::Runner(const graph::Network& network) : impl_(std::make_unique<Impl>(network)) {}

Runner::~Runner() = default;
Runner::Runner(Runner&&) noexcept = default;
Runner& Runner::operator=(Runner&&) noexcept = default;

at::Tensor Runner::run(const at::Tensor& input) const { return impl_->run(input); }

void Runner::remember(const Probe& seen) {
  const std::lock_guard lock(impl_->mutex);
  impl_->remember(seen);
}

bool Runner::answers(const at::Tensor& input, const at::Tensor& output) {
  const std::lock_guard lock(impl_->mutex);
  impl_->known = {stamps_of(impl_->weights), input, output};
  const bool found = impl_->compile(input, Precision::kFloat32).plan != nullptr;
  if (!found) impl_->known.reset();
  return found;
}

std::shared_ptr<const Plan> Runner::plan(const at::Tensor& input, Precision precision) const {
  if (precision == Precision::kInt8 && !calibration())
    throw Error(ErrorCode::kConfig, impl_->calibration
                                        ? "int8: the weights are not those that were calibrated; calibrate them "
                                          "again (quantize(), graft quantize)"
                                        : "int8: this model is not calibrated; calibrate it with quantize() or "
                                          "graft quantize");
  const std::lock_guard lock(impl_->mutex);
  auto& compiled = impl_->compile(input, precision);
  compiled.asked_for = true;
  if (precision == Precision::kInt8 && !compiled.plan && has_eight_bit_arithmetic())
    throw Error(ErrorCode::kMismatch, "int8: this network does not run in eight bits with its calibration");
  return compiled.plan;
}

Precision Runner::resolved(Precision precision, const at::Tensor& input) const {
  if (precision != Precision::kAuto) return precision;
  if (!computes_in_bfloat16(input)) return Precision::kFloat32;
  const std::lock_guard lock(impl_->mutex);
  auto& choice = impl_->chosen[input.is_cpu() && input.size(0) == 1];
  auto stamps = stamps_of(impl_->weights);
  if (choice.stamps != stamps) {
    const auto& compiled = impl_->compile(input, Precision::kBFloat16);
    const bool near = compiled.plan && compiled.difference <= kAutoTolerance;
    choice = {std::move(stamps), near ? Precision::kBFloat16 : Precision::kFloat32};
  }
  return choice.precision;
}

PlanSummary Runner::summary(const at::Tensor& input, Precision precision) const {
  (void)plan(input, precision);
  const std::lock_guard lock(impl_->mutex);
  return impl_->compile(input, precision).summary;
}

void Runner::set_calibration(std::optional<Calibration> calibration) {
  impl_->calibration = std::move(calibration);
  impl_->calibrated = stamps_of(impl_->weights);
  std::erase_if(impl_->compiled, [](const auto& entry) { return entry.first.first == Precision::kInt8; });
}

const Calibration* Runner::calibration() const {
  return impl_->calibration && impl_->calibrated == stamps_of(impl_->weights) ? &*impl_->calibration : nullptr;
}

}  // namespace graft::engine
