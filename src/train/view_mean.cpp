#include "train/view_mean.h"

#include <cstddef>
#include <cstdint>

#include <ATen/ATen.h>

namespace graft::train {

namespace {

at::Tensor log_sum(const at::Tensor& sum, const at::Tensor& log_probability) {
  return sum.defined() ? at::logaddexp(sum, log_probability) : log_probability;
}

}  // namespace

void ViewMean::add(const at::Tensor& logits) {
  yes_.resize(tasks_.size());
  no_.resize(tasks_.size());
  std::int64_t first = 0;
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    const auto part = logits.narrow(1, first, tasks_[i].outputs);
    switch (tasks_[i].kind) {
      case TaskKind::kSingleLabel:
        yes_[i] = log_sum(yes_[i], part.log_softmax(1));
        break;
      case TaskKind::kMultiLabel:
        yes_[i] = log_sum(yes_[i], at::log_sigmoid(part));
        no_[i] = log_sum(no_[i], at::log_sigmoid(part.neg()));
        break;
      case TaskKind::kRegression:
        yes_[i] = yes_[i].defined() ? yes_[i] + part : part;
        break;
    }
    first += tasks_[i].outputs;
  }
  ++views_;
}

at::Tensor ViewMean::logits() const {
  std::vector<at::Tensor> parts;
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    switch (tasks_[i].kind) {
      case TaskKind::kSingleLabel:
        parts.push_back(yes_[i]);  // a softmax does not see the number of views
        break;
      case TaskKind::kMultiLabel:
        parts.push_back(yes_[i] - no_[i]);
        break;
      case TaskKind::kRegression:
        parts.push_back(yes_[i] / views_);
        break;
    }
  }
  return at::cat(parts, 1);
}

}  // namespace graft::train
