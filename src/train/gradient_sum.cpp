#include "train/gradient_sum.h"

#include <algorithm>
#include <utility>

#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

namespace graft::train {

/// Says that a gradient is there.
class GradientSum::Hook final : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(GradientSum& sum, Bucket& bucket) : sum_(sum), bucket_(bucket) {}
  void operator()(const torch::autograd::Variable&) override { sum_.is_there(bucket_); }

 private:
  GradientSum& sum_;
  Bucket& bucket_;
};

GradientSum::GradientSum(Communicator& processes, std::vector<at::Tensor> parameters, std::size_t bucket_bytes)
    : processes_(processes) {
  std::size_t bytes = bucket_bytes;
  std::ranges::reverse(parameters);
  for (auto& parameter : parameters) {
    if (bytes >= bucket_bytes) {
      buckets_.emplace_back();
      bytes = 0;
    }
    bytes += parameter.nbytes();
    buckets_.back().parameters.push_back(std::move(parameter));
  }
  if (buckets_.empty()) return;
  const auto device = buckets_.front().parameters.front().device();
  overlaps_ = device.is_cpu() || (processes.sums_on(Device::cuda(device.index())) && buckets_.size() > 1);
  if (!overlaps_) return;
  for (auto& bucket : buckets_)
    for (const auto& parameter : bucket.parameters)
      torch::autograd::impl::set_post_acc_grad_hooks(parameter, std::make_unique<Hook>(*this, bucket));
}

GradientSum::~GradientSum() {
  if (!overlaps_) return;
  for (const auto& bucket : buckets_)
    for (const auto& parameter : bucket.parameters) torch::autograd::impl::set_post_acc_grad_hooks(parameter, nullptr);
}

void GradientSum::expect() {
  expects_ = true;
  for (auto& bucket : buckets_) bucket.missing = bucket.parameters.size();
}

void GradientSum::is_there(Bucket& bucket) {
  if (!expects_) return;
  --bucket.missing;
  while (begun_ < buckets_.size() && buckets_[begun_].missing == 0) begin(buckets_[begun_]);
  if (!pending_.empty()) pending_.front()->advance();
}

void GradientSum::begin(const Bucket& bucket) {
  std::vector<at::Tensor> gradients;
  for (auto parameter : bucket.parameters) {
    if (!parameter.grad().defined()) parameter.mutable_grad() = at::zeros_like(parameter);
    gradients.push_back(parameter.grad());
  }
  pending_.push_back(processes_.start_sum(gradients));
  ++begun_;
}

void GradientSum::begin_rest() {
  expects_ = false;
  while (begun_ < buckets_.size()) begin(buckets_[begun_]);
}

void GradientSum::finish() {
  begin_rest();
  for (; !pending_.empty(); pending_.pop_front()) pending_.front()->wait();
  begun_ = 0;
}

}  // namespace graft::train
