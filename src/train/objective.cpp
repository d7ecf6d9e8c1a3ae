#include "train/objective.h"

#include <limits>
#include <string>
#include <utility>

#include <ATen/ATen.h>
#include <c10/util/StringUtil.h>

#include <graft/error.h>

namespace graft::train {

namespace {

constexpr double kHuberDelta = 1;

/// Calls visit(task, its columns of a, its columns of b) for each task.
template <class Visit>
void for_each_task(const std::vector<Task>& tasks, const at::Tensor& a, const at::Tensor& b, const Visit& visit) {
  std::int64_t first = 0;
  for (const auto& task : tasks) {
    visit(task, a.narrow(1, first, task.outputs), b.narrow(1, first, task.outputs));
    first += task.outputs;
  }
}

/// Mean of the values whose target is known; 0 if none is.
at::Tensor mean_of_known(const at::Tensor& values, const at::Tensor& known) {
  return (values * known).sum() / known.sum().clamp_min(1);
}

std::string one_hot_error(const Task& task, const at::Tensor& indices) {
  return c10::str("expected class indices from 0 to ", task.outputs - 1,
                  task.name.empty() ? "" : " for the task \"" + task.name + "\"", ", found ",
                  indices.nan_to_num().min().item<double>(), " to ", indices.nan_to_num().max().item<double>());
}

at::Tensor one_hot(const Task& task, const at::Tensor& indices) {
  const auto unknown = indices.isnan();
  const auto known = indices.nan_to_num();
  if ((known.lt(0) | known.ge(task.outputs) | known.ne(known.floor())).any().item<bool>())
    throw Error(ErrorCode::kMismatch, one_hot_error(task, indices));
  const auto rows = at::one_hot(known.to(at::kLong).squeeze(1), task.outputs).to(at::kFloat);
  return rows.masked_fill(unknown, std::numeric_limits<float>::quiet_NaN());
}

std::string expectations(const std::vector<Task>& tasks) {
  std::string text;
  for (const auto& task : tasks)
    text += (text.empty() ? "" : ", ") + std::to_string(task.targets()) +
            (task.kind == TaskKind::kSingleLabel  ? " class index"
             : task.kind == TaskKind::kMultiLabel ? " labels of 0 or 1"
                                                  : " numbers") +
            (task.name.empty() ? "" : " for \"" + task.name + "\"");
  return text;
}

}  // namespace

Objective::Objective(std::vector<Task> tasks, double label_smoothing, at::Tensor class_weights, Numerics numerics)
    : tasks_(std::move(tasks)),
      label_smoothing_(label_smoothing),
      class_weights_(std::move(class_weights)),
      numerics_(numerics) {}

/// torch.nn.CrossEntropyLoss(weight): over the weights of the targets (class indices), or over the examples
/// (probabilities); 0 where all of these are 0, of which PyTorch makes 0 / 0. Keras' class_weight: each example's loss
/// times the weight of its likeliest class.
at::Tensor Objective::weighted(const at::Tensor& logits, const at::Tensor& targets) const {
  const auto weights = class_weights_.to(logits.device(), logits.scalar_type());
  if (numerics_ == Numerics::kTorch && targets.dim() == 1) {
    const auto sum = at::cross_entropy_loss(logits, targets, weights, at::Reduction::Sum, -100, label_smoothing_);
    const auto of = weights.index_select(0, targets).sum(), counts = of.gt(0);
    return sum * counts / at::where(counts, of, at::ones_like(of));
  }
  if (numerics_ == Numerics::kTorch)
    return at::cross_entropy_loss(logits, targets, weights, at::Reduction::Mean, -100, label_smoothing_);
  const auto each = at::cross_entropy_loss(logits, targets, {}, at::Reduction::None, -100, label_smoothing_);
  return (each * weights.index_select(0, targets.dim() == 1 ? targets : targets.argmax(1))).mean();
}

const at::Tensor& Objective::checked(const at::Tensor& labels) const {
  const auto label = labels.accessor<std::int64_t, 1>();
  for (std::int64_t i = 0; i < labels.size(0); ++i)
    if (label[i] < 0 || label[i] >= tasks_[0].outputs)
      throw Error(ErrorCode::kMismatch, c10::str("labels: expected class indices from 0 to ", tasks_[0].outputs - 1,
                                                 ", found ", label[i], " (Dataset::label)"));
  return labels;
}

at::Tensor Objective::dense(const at::Tensor& targets) const {
  std::int64_t expected = 0;
  for (const auto& task : tasks_) expected += task.targets();
  if (targets.size(1) != expected)
    throw Error(ErrorCode::kMismatch, "the data gives " + std::to_string(targets.size(1)) +
                                          " targets for each example, the model learns " + std::to_string(expected) +
                                          " (" + expectations(tasks_) + "): override Dataset::targets accordingly");
  std::vector<at::Tensor> parts;
  std::int64_t first = 0;
  for (const auto& task : tasks_) {
    const auto part = targets.narrow(1, first, task.targets());
    parts.push_back(task.kind == TaskKind::kSingleLabel ? one_hot(task, part) : part);
    first += task.targets();
  }
  return at::cat(parts, 1);
}

at::Tensor Objective::loss(const at::Tensor& logits, const at::Tensor& targets, const at::Tensor& shares) const {
  if (logits.size(0) != targets.size(0))
    throw Error(ErrorCode::kMismatch, c10::str("the network yields ", logits.size(0), " rows for ", targets.size(0),
                                               " examples: is a batch size fixed in it, by tracing or as a number?"));
  const auto shared = [&](const at::Tensor& mean, std::int64_t term) {
    return shares.defined() ? mean * shares[term] : mean;
  };
  if (class_weights_.defined()) return shared(weighted(logits, targets), 0);
  if (targets.dim() == 1)
    return shared(at::cross_entropy_loss(logits, targets, /*weight=*/{}, at::Reduction::Mean, /*ignore_index=*/-100,
                                         label_smoothing_),
                  0);
  at::Tensor sum;
  std::int64_t term = 0;
  for_each_task(tasks_, logits, targets, [&](const Task& task, const at::Tensor& outputs, const at::Tensor& wanted) {
    const auto part = shared(loss(task, outputs, wanted) * task.weight, term++);
    sum = sum.defined() ? sum + part : part;
  });
  return sum;
}

at::Tensor Objective::denominators(const at::Tensor& targets) const {
  if (class_weights_.defined() && numerics_ == Numerics::kTorch && targets.dim() == 1)
    return class_weights_.index_select(0, targets.to(class_weights_.device())).sum().to(at::kCPU, at::kDouble).view(1);
  std::vector<double> all;
  if (class_weights_.defined() || targets.dim() == 1) {
    all.push_back(static_cast<double>(targets.size(0)));
  } else {
    for_each_task(tasks_, targets, targets, [&](const Task& task, const at::Tensor& wanted, const at::Tensor&) {
      const auto known = wanted.isnan().logical_not();
      const auto counted = task.kind == TaskKind::kSingleLabel ? known.select(1, 0) : known;
      all.push_back(counted.sum().item<double>());
    });
  }
  return at::tensor(all, at::kDouble);
}

at::Tensor Objective::loss(const Task& task, const at::Tensor& logits, const at::Tensor& targets) const {
  const auto known = targets.isnan().logical_not().to(at::kFloat);
  auto wanted = targets.nan_to_num();
  const auto none = at::Reduction::None;
  switch (task.kind) {
    case TaskKind::kSingleLabel:
      return mean_of_known(at::cross_entropy_loss(logits, wanted, {}, none, -100, label_smoothing_),
                           known.select(1, 0));
    case TaskKind::kMultiLabel:
      // Smoothing as keras.losses.BinaryCrossentropy has it: towards 1/2.
      if (label_smoothing_ > 0) wanted = wanted * (1 - label_smoothing_) + label_smoothing_ / 2;
      return mean_of_known(at::binary_cross_entropy_with_logits(logits, wanted, {}, {}, none), known);
    case TaskKind::kRegression:
      switch (task.loss) {
        case RegressionLoss::kMeanSquared:
          return mean_of_known(at::mse_loss(logits, wanted, none), known);
        case RegressionLoss::kMeanAbsolute:
          return mean_of_known(at::l1_loss(logits, wanted, none), known);
        case RegressionLoss::kHuber:
          return mean_of_known(at::huber_loss(logits, wanted, none, kHuberDelta), known);
      }
  }
  throw Error(ErrorCode::kInternal, "unknown kind of task");
}

std::vector<Hits> Objective::hits(const at::Tensor& logits, const at::Tensor& targets) const {
  return hits_of(counts(logits, targets));
}

Hits Objective::hits(const Task& task, const at::Tensor& logits, const at::Tensor& targets) const {
  return hits_of(counts(task, logits, targets).unsqueeze(0)).front();
}

at::Tensor Objective::counts(const at::Tensor& logits, const at::Tensor& targets) const {
  if (targets.dim() == 1) {
    const auto right = logits.argmax(1).eq(targets).sum();
    return at::stack({right, at::full_like(right, targets.size(0))}).unsqueeze(0);
  }
  std::vector<at::Tensor> all;
  for_each_task(tasks_, logits, targets, [&](const Task& task, const at::Tensor& outputs, const at::Tensor& wanted) {
    all.push_back(counts(task, outputs, wanted));
  });
  return at::stack(all);
}

at::Tensor Objective::counts(const Task& task, const at::Tensor& logits, const at::Tensor& targets) const {
  const auto known = targets.isnan().logical_not();
  at::Tensor right, of;
  switch (task.kind) {
    case TaskKind::kSingleLabel:
      of = known.select(1, 0);
      right = logits.argmax(1).eq(targets.nan_to_num().argmax(1)) & of;
      break;
    case TaskKind::kMultiLabel:
      of = known;
      right = logits.gt(0).eq(targets.gt(0.5)) & of;
      break;
    case TaskKind::kRegression:
      return at::zeros({2}, logits.options().dtype(at::kLong));
  }
  return at::stack({right.sum(), of.sum()});
}

std::vector<Hits> hits_of(const at::Tensor& counts) {
  std::vector<Hits> all;
  const auto here = counts.to(at::kCPU);
  const auto count = here.accessor<std::int64_t, 2>();
  for (std::int64_t i = 0; i < counts.size(0); ++i) all.push_back({count[i][0], count[i][1]});
  return all;
}

}  // namespace graft::train
