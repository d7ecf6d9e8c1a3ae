/// Runs a network.
#pragma once

#include <memory>
#include <optional>

#include <ATen/core/Tensor.h>

#include "engine/plan.h"
#include "engine/probe.h"
#include "graph/network.h"

namespace graft::engine {

/// A network made ready to run. It shares the network's tensors and reads its training flags at every call.
/// run() may be called from many threads at once.
class Runner {
 public:
  explicit Runner(const graph::Network& network);
  ~Runner();
  Runner(Runner&&) noexcept;
  Runner& operator=(Runner&&) noexcept;

  /// forward(input), recorded for gradients as far as grad mode and requires_grad ask for it.
  /// Throws Error kMismatch (not one tensor comes out, or an operator refuses the shapes), kOutOfMemory.
  at::Tensor run(const at::Tensor& input) const;

  /// The network compiled for inference on inputs like this one ([N, C, H, W], one or several), with its weights as
  /// they are now, or nothing where run() has to do. Compiled when it is first asked for, and again when a weight has
  /// changed. Only in evaluation mode. For kInt8 throws Error kConfig without a calibration of these weights, kMismatch
  /// if it does not fit; nothing comes where the processor has no arithmetic for it.
  std::shared_ptr<const Plan> plan(const at::Tensor& input, Precision precision) const;

  /// How far a float32 plan's answer may be from what is expected, as a fraction of the largest value, or of 1.
  static constexpr double kTolerance = 1e-3;
  /// The same on CUDA, where cuDNN rounds what it multiplies to TensorFloat-32, as LibTorch's default is.
  static constexpr double kCudaTolerance = 1e-2;
  /// How far bfloat16 may be from float32 where it is chosen, in the same measure.
  static constexpr double kAutoTolerance = 0.02;

  /// What kAuto stands for with such inputs, [N, C, H, W]; any other precision as it is.
  Precision resolved(Precision precision, const at::Tensor& input) const;

  /// What plan() is made of, or why there is none; its errors too.
  PlanSummary summary(const at::Tensor& input, Precision precision) const;

  /// What was `seen` of one picture: plans for inputs of its size need not look again.
  void remember(const Probe& seen);

  /// True if a float32 plan answers `input` [1, ...] with `output`. Plans for inputs of this size then need no run of
  /// the interpreter to be checked by. False says nothing about run().
  bool answers(const at::Tensor& input, const at::Tensor& output);

  /// What kInt8 goes by; it holds for the weights as they are now. Nobody else may use the runner meanwhile.
  void set_calibration(std::optional<Calibration> calibration);
  /// Nothing if there is none, or a weight has changed since.
  const Calibration* calibration() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace graft::engine
