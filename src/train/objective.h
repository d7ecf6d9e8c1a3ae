/// What training minimises, for the tasks of a model.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/loader.h>
#include <graft/optimizer.h>
#include <graft/task.h>

namespace graft::train {

/// Right answers of one task among those that can be right or wrong; a regression has none.
struct Hits {
  std::int64_t right = 0;
  std::int64_t of = 0;
};

/// From a row for each, [N, 2] of int64.
std::vector<Hits> hits_of(const at::Tensor& counts);

class Objective {
 public:
  /// `class_weights` for one task of single labels, or undefined; the numerics say what their mean is.
  Objective(std::vector<Task> tasks, double label_smoothing, at::Tensor class_weights = {},
            Numerics numerics = Numerics::kTorch);

  /// One task of single labels, whose targets may be class indices.
  bool is_plain() const { return tasks_.size() == 1 && tasks_[0].kind == TaskKind::kSingleLabel; }

  /// Class indices [N] as they are, if is_plain(). Throws Error kMismatch for one that no class has.
  const at::Tensor& checked(const at::Tensor& labels) const;

  /// Targets beside the outputs, [N, outputs]: probabilities of single labels (one-hot), the others as they are; NaN
  /// where not known. Throws Error kMismatch for another number of targets than the tasks have, and indices out of
  /// range.
  at::Tensor dense(const at::Tensor& targets) const;

  /// `targets` as dense() gives them, or class indices [N] if is_plain(). The mean over the known targets of each task,
  /// times its weight, summed. `shares`, where it is given, is [tasks]: factors for the tasks' means.
  at::Tensor loss(const at::Tensor& logits, const at::Tensor& targets, const at::Tensor& shares = {}) const;
  at::Tensor loss(const Task& task, const at::Tensor& logits, const at::Tensor& targets) const;

  /// What the means of loss() are over, [tasks] of float64 on the CPU: examples, targets or their weights. With these
  /// of a part over these of all as shares, the losses of all parts add up to that of all.
  at::Tensor denominators(const at::Tensor& targets) const;

  /// Task by task.
  std::vector<Hits> hits(const at::Tensor& logits, const at::Tensor& targets) const;
  Hits hits(const Task& task, const at::Tensor& logits, const at::Tensor& targets) const;
  /// The same as [tasks, 2], int64, on the device of the logits, which is not waited for.
  at::Tensor counts(const at::Tensor& logits, const at::Tensor& targets) const;

  const std::vector<Task>& tasks() const { return tasks_; }

 private:
  at::Tensor counts(const Task& task, const at::Tensor& logits, const at::Tensor& targets) const;
  at::Tensor weighted(const at::Tensor& logits, const at::Tensor& targets) const;

  std::vector<Task> tasks_;
  double label_smoothing_;
  at::Tensor class_weights_;
  Numerics numerics_;
};

}  // namespace graft::train
