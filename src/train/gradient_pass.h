/// Forward pass, loss and gradients of a batch.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

#include "base/cuda_graph.h"
#include "train/objective.h"

namespace graft::train {

/// Leaves the gradients of a network's parameters in them. On CUDA, batches of a size that comes again are recorded as
/// a CUDA graph, which is launched at once, and nobody need wait for the scores.
class GradientPass {
 public:
  /// Of a batch. If the loss is not finite there are no gradients of it.
  struct Scores {
    double loss = 0;
    std::vector<Hits> hits = {};  ///< by task
  };
  /// Logits with gradients for what goes in.
  using Forward = std::function<at::Tensor(const at::Tensor&)>;

  /// The objective must outlive it. `parameters` are those that get gradients, `buffers` what a forward pass changes.
  /// `loss_scale`, [1] float32 on the device, if it is given: gradients are those of the loss times what it then holds.
  GradientPass(const Objective& objective, Forward forward, std::vector<at::Tensor> parameters,
               std::vector<at::Tensor> buffers, c10::Device device, at::Tensor loss_scale = {});
  ~GradientPass();

  /// Adds the gradients of the mean loss over a batch, and waits until few batches are under way. `alone`: no gradients
  /// wait there yet. `shares` are those of Objective::loss, on the CPU, given always or never.
  void start(const at::Tensor& input, const at::Tensor& targets, bool alone, const at::Tensor& shares = {});

  /// The scores of the batches that were started, oldest first, each handed out once: those that are there, or with
  /// `wait` all. After a loss that is not finite the buffers are as before that batch.
  std::vector<Scores> finished(bool wait);

  /// From now on nothing is recorded: hooks on the gradients have to be called.
  void do_not_record() { can_record_ = false; }

  /// [1] float32 on the device: 1 once a loss was not finite, else 0.
  const at::Tensor& failed() const { return failed_; }

 private:
  struct Recording;
  struct Waiting {
    at::Tensor scores;                ///< on the CPU, once `there`
    std::optional<c10::Event> there;  ///< nothing if it is
  };

  /// [1 + 2 * tasks] float64 on the device: the loss, and what can be right, task by task.
  at::Tensor compute(const at::Tensor& input, const at::Tensor& targets);
  /// The same by a recording; nothing where it is not worth one, or impossible.
  std::optional<at::Tensor> replay(const at::Tensor& input, const at::Tensor& targets);
  Recording* recording_for(const at::Tensor& input, const at::Tensor& targets);
  std::vector<const void*> places() const;
  void forget_gradients();
  void forget_recordings();

  const Objective& objective_;
  const Forward forward_;
  std::vector<at::Tensor> parameters_, buffers_;
  const c10::Device device_;
  const at::Tensor loss_scale_;
  std::vector<at::Tensor> saved_;  ///< the buffers before the step
  at::Tensor failed_;
  at::Tensor shares_;  ///< [tasks] float32 on the device, for recordings always the same tensor; undefined without
  std::deque<Waiting> waiting_;
  std::list<std::unique_ptr<Recording>> recordings_;
  std::list<std::pair<std::vector<std::int64_t>, std::int64_t>> seen_;  ///< sizes, and how often
  std::optional<base::CudaGraph::Pool> pool_;
  bool can_record_;
};

}  // namespace graft::train
