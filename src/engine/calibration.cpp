#include "engine/calibration.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include <graft/error.h>

#include "base/parallel.h"
#include "engine/execute.h"
#include "engine/quantize.h"
#include "engine/runner.h"

namespace graft::engine {

namespace {

/// Pictures that are looked at together: all activations are in memory at the same time.
constexpr std::int64_t kPicturesAtATime = 4;
/// The narrowest interval that is tried, as a part of the whole, and how many are.
constexpr double kNarrowest = 0.2;
constexpr int kTries = 160;

}  // namespace

void Histogram::reach(float largest) {
  if (reach_ == 0 && largest > 0) reach_ = std::exp2(std::ceil(std::log2(static_cast<double>(largest))));
  while (largest >= reach_ && largest > 0) {  // two bins become one, around the middle
    std::vector<std::int64_t> wider(kBins);
    for (std::int64_t i = 0; i < kBins; ++i)
      wider[static_cast<std::size_t>(kBins / 4 + i / 2)] += bins_[static_cast<std::size_t>(i)];
    bins_ = std::move(wider);
    reach_ *= 2;
  }
}

void Histogram::add(const float* values, std::int64_t count) {
  if (count == 0) return;
  float low = values[0], high = values[0];
  bool is_finite = true;
  for (std::int64_t i = 0; i < count; ++i) {
    low = std::min(low, values[i]);
    high = std::max(high, values[i]);
    is_finite &= std::abs(values[i]) <= std::numeric_limits<float>::max();
  }
  if (!is_finite)
    throw Error(ErrorCode::kNumeric, "an activation is not a finite number; int8 needs a network in which all are");
  reach(std::max(-low, high));
  low_ = std::min(low_, low);
  high_ = std::max(high_, high);
  const float scale = reach_ > 0 ? static_cast<float>(kBins / 2 / reach_) : 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto bin = static_cast<std::size_t>(values[i] * scale + kBins / 2);  // values lie in [-reach_, reach_)
    ++bins_[std::min<std::size_t>(bin, kBins - 1)];
  }
}

double Histogram::error(double low, double high) const {
  const double step = (high - low) / 255, width = 2 * reach_ / kBins;
  double sum = 0;
  for (std::int64_t i = 0; i < kBins; ++i) {
    const auto count = bins_[static_cast<std::size_t>(i)];
    if (count == 0) continue;
    const double value = (static_cast<double>(i - kBins / 2) + 0.5) * width;
    const double outside = value < low ? low - value : value > high ? value - high : 0;
    sum += static_cast<double>(count) * (outside > 0 ? outside * outside : step * step / 12);
  }
  return sum;
}

Range Histogram::best_range() const {
  Range best{low_, high_};
  if (!(high_ > low_)) return best;
  double smallest = error(low_, high_);
  for (int i = 1; i <= kTries; ++i) {
    const auto part = static_cast<float>(1 - (1 - kNarrowest) * i / kTries);
    const double found = error(low_ * part, high_ * part);
    if (found >= smallest) continue;
    smallest = found;
    best = {low_ * part, high_ * part};
  }
  return best;
}

struct Calibrator::Impl {
  graph::Network network;
  torch::jit::Code code;
  std::vector<std::optional<Histogram>> histograms;
  bool checked = false;

  /// In eight bits numbers say nothing about the graph, so it is compared here, once, in float32.
  void check(const at::Tensor& one) {
    const auto found = one_tensor(execute(code, {one}).toTupleRef().elements().at(0));
    if (difference(found.to(at::kFloat), Runner(network).run(one).to(at::kFloat)) > Runner::kTolerance)
      throw Error(ErrorCode::kMismatch,
                  "int8: this network's convolutions cannot be compiled: their answer to a picture was not the "
                  "interpreter's");
    checked = true;
  }
};

Calibrator::Calibrator(const graph::Network& network) {
  PlanSummary summary;
  const auto graph = quantizable_graph(network, {}, summary).graph;
  if (!graph)
    throw Error(ErrorCode::kMismatch, "expected a network with convolutions that can be compiled for the CPU");
  const auto values = activations(*graph);
  std::vector<torch::jit::Value*> outputs{graph->outputs().at(0)};
  outputs.insert(outputs.end(), values.begin(), values.end());
  torch::jit::Node* tuple = graph->createTuple(outputs);
  graph->appendNode(tuple);
  graph->eraseOutput(0);
  graph->registerOutput(tuple->output());
  impl_.reset(
      new Impl{network, torch::jit::Code(graph, "calibration"), std::vector<std::optional<Histogram>>(values.size())});
}

Calibrator::~Calibrator() = default;

at::Tensor Calibrator::observe(const at::Tensor& input) {
  const at::NoGradGuard no_grad;
  if (!impl_->checked && input.size(0) > 0) impl_->check(input.narrow(0, 0, 1));
  std::vector<at::Tensor> logits;
  for (const auto& some : input.split(kPicturesAtATime)) {
    const auto values = execute(impl_->code, {some}).toTupleRef().elements().vec();
    logits.push_back(one_tensor(values.at(0)).to(at::kFloat));
    auto& histograms = impl_->histograms;
    base::parallel_for(0, std::ssize(histograms), 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
        if (!values[i + 1].isTensor() || values[i + 1].toTensor().scalar_type() != at::kFloat) continue;
        auto value = values[i + 1].toTensor();
        if (!value.is_non_overlapping_and_dense()) value = value.contiguous();
        if (!histograms[i]) histograms[i].emplace();
        histograms[i]->add(value.const_data_ptr<float>(), value.numel());
      }
    });
  }
  return at::cat(logits);
}

Calibration Calibrator::calibration() const {
  Calibration result;
  for (const auto& histogram : impl_->histograms)
    result.push_back(histogram ? std::optional(histogram->best_range()) : std::nullopt);
  return result;
}

}  // namespace graft::engine
