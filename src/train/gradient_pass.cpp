#include "train/gradient_pass.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "base/side_stream.h"

namespace graft::train {

namespace {

/// Whole batches, the last of an epoch, and some room.
constexpr std::size_t kRecordings = 4;
/// Batches of a size before it is recorded: libraries have chosen their kernels by then.
constexpr std::int64_t kBefore = 2;
/// Batches that the device may be behind: enough for it to have work, and each keeps its memory.
constexpr std::size_t kBehind = 4;

/// All at once where the device has one kernel for that; by type, as those want it.
void copy_all(const std::vector<at::Tensor>& to, const std::vector<at::Tensor>& from) {
  std::map<at::ScalarType, std::pair<std::vector<at::Tensor>, std::vector<at::Tensor>>> by_type;
  for (std::size_t i = 0; i < to.size(); ++i) {
    auto& [targets, sources] = by_type[to[i].scalar_type()];
    targets.push_back(to[i]);
    sources.push_back(from[i]);
  }
  const at::NoGradGuard no_grad;
  for (const auto& [type, lists] : by_type) at::_foreach_copy_(lists.first, lists.second);
}

GradientPass::Scores scores_of(const at::Tensor& numbers) {
  const double loss = numbers[0].item<double>();
  if (!std::isfinite(loss)) return {loss, {}};
  return {loss, hits_of(numbers.narrow(0, 1, numbers.numel() - 1).to(at::kLong).view({-1, 2}))};
}

}  // namespace

/// A step on tensors of its own.
struct GradientPass::Recording {
  std::vector<std::int64_t> sizes;
  at::Tensor input, targets, scores;
  std::vector<at::Tensor> gradients;  ///< of the parameters; undefined for some
  std::vector<const void*> places;    ///< where parameters and buffers were
  std::unique_ptr<base::CudaGraph> graph;
};

GradientPass::GradientPass(const Objective& objective, Forward forward, std::vector<at::Tensor> parameters,
                           std::vector<at::Tensor> buffers, c10::Device device, at::Tensor loss_scale)
    : objective_(objective),
      forward_(std::move(forward)),
      parameters_(std::move(parameters)),
      buffers_(std::move(buffers)),
      device_(device),
      loss_scale_(std::move(loss_scale)),
      failed_(at::zeros({1}, at::TensorOptions(device).dtype(at::kFloat))),
      can_record_(device.is_cuda() && base::CudaGraph::available()) {
  for (const auto& buffer : buffers_) saved_.push_back(at::empty_like(buffer));
}
GradientPass::~GradientPass() = default;

at::Tensor GradientPass::compute(const at::Tensor& input, const at::Tensor& targets) {
  copy_all(saved_, buffers_);
  const at::AutoGradMode with_gradients(true);
  const auto logits = forward_(input);
  const auto loss = objective_.loss(logits, targets, shares_);
  (loss_scale_.defined() ? loss * loss_scale_ : loss).backward();
  const at::NoGradGuard no_grad;
  failed_.copy_(at::maximum(failed_, loss.isfinite().logical_not()));
  const auto counts = objective_.counts(logits.detach(), targets);
  return at::cat({loss.detach().to(at::kDouble).reshape({1}), counts.to(at::kDouble).flatten()});
}

std::vector<const void*> GradientPass::places() const {
  std::vector<const void*> all;
  for (const auto* tensors : {&parameters_, &buffers_})
    for (const auto& tensor : *tensors) all.push_back(tensor.const_data_ptr());
  return all;
}

void GradientPass::forget_gradients() {
  for (auto& parameter : parameters_) parameter.mutable_grad().reset();
}

/// And their memory's pool, which nobody can use again once all are gone.
void GradientPass::forget_recordings() {
  recordings_.clear();
  pool_.reset();
}

GradientPass::Recording* GradientPass::recording_for(const at::Tensor& input, const at::Tensor& targets) {
  auto sizes = input.sizes().vec();
  sizes.insert(sizes.end(), targets.sizes().begin(), targets.sizes().end());
  const auto found = std::ranges::find_if(recordings_, [&](const auto& each) { return each->sizes == sizes; });
  if (found != recordings_.end()) {
    if ((*found)->places == places()) return found->get();
    forget_recordings();  // somebody has put other tensors in their place
  }
  auto counted = std::ranges::find_if(seen_, [&](const auto& each) { return each.first == sizes; });
  if (counted == seen_.end()) counted = seen_.emplace(seen_.begin(), sizes, 0);
  if (counted->second++ < kBefore) return nullptr;

  if (!pool_) pool_ = base::CudaGraph::new_pool();
  auto made = std::make_unique<Recording>();
  made->sizes = std::move(sizes);
  made->input = input.to(device_, /*non_blocking=*/true, /*copy=*/true);
  made->targets = targets.to(device_, /*non_blocking=*/true, /*copy=*/true);
  made->places = places();
  made->graph = base::CudaGraph::record(device_, *pool_, [&] { made->scores = compute(made->input, made->targets); });
  for (const auto& parameter : parameters_) made->gradients.push_back(parameter.grad());
  forget_gradients();  // which are not computed yet
  // A forward pass that puts a new tensor in a buffer's place would do so once, when it is recorded.
  if (!made->graph || places() != made->places) {
    can_record_ = false;
    forget_recordings();
    return nullptr;
  }
  if (recordings_.size() == kRecordings) recordings_.pop_back();
  return recordings_.emplace_front(std::move(made)).get();
}

std::optional<at::Tensor> GradientPass::replay(const at::Tensor& input, const at::Tensor& targets) {
  auto* recording = recording_for(input, targets);
  if (!recording) return std::nullopt;
  recording->input.copy_(input, /*non_blocking=*/true);
  recording->targets.copy_(targets, /*non_blocking=*/true);
  recording->graph->launch();
  for (std::size_t i = 0; i < parameters_.size(); ++i) parameters_[i].mutable_grad() = recording->gradients[i];
  // Nobody has called the operators that count versions, by which plans know that a tensor has changed.
  for (const auto& buffer : buffers_) buffer.unsafeGetTensorImpl()->bump_version();
  return recording->scores;
}

void GradientPass::start(const at::Tensor& input, const at::Tensor& targets, bool alone, const at::Tensor& shares) {
  if (shares.defined()) {
    if (!shares_.defined()) shares_ = at::empty(shares.sizes(), at::TensorOptions(device_).dtype(at::kFloat));
    shares_.copy_(shares);
  }
  if (alone) forget_gradients();  // what a failure has left there
  std::optional<at::Tensor> scores;
  if (alone && can_record_) scores = replay(input, targets);
  if (!scores) scores = compute(input, targets.to(device_, /*non_blocking=*/true));
  if (!device_.is_cuda()) return waiting_.push_back({*scores, std::nullopt});
  const auto here = at::empty_like(*scores, at::TensorOptions(at::kCPU).pinned_memory(true));
  here.copy_(*scores, /*non_blocking=*/true);
  waiting_.push_back({here, c10::Event(device_.type())});
  waiting_.back().there->record(base::current_stream(device_));
  if (waiting_.size() > kBehind) waiting_[waiting_.size() - 1 - kBehind].there->synchronize();
}

std::vector<GradientPass::Scores> GradientPass::finished(bool wait) {
  std::vector<Scores> all;
  while (!waiting_.empty()) {
    const auto& [numbers, there] = waiting_.front();
    if (there && !wait && !there->query()) break;
    if (there) there->synchronize();
    all.push_back(scores_of(numbers));
    waiting_.pop_front();
    if (std::isfinite(all.back().loss)) continue;
    copy_all(buffers_, saved_);
    forget_gradients();
  }
  return all;
}

}  // namespace graft::train
