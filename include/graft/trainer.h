/// Fine-tuning, evaluation and prediction over data sets.
///
/// One Trainer per Model, one thread at a time. Deterministic: the same seed, data and options on the same device and
/// thread count give the same losses, whatever other trainers do meanwhile; on CUDA to rounding, as some kernels add in
/// any order. Dropout draws from LibTorch's default generator of the device, which has the trainer's own state during a
/// forward pass (on CUDA a step) and its old one afterwards: trainers of other threads wait for it, code that draws
/// from it meanwhile disturbs the trainer and is disturbed. Otherwise no global state is touched.
#pragma once

#include <cstdint>
#include <memory>

#include <ATen/core/Tensor.h>

#include <graft/dataset.h>
#include <graft/evaluation.h>
#include <graft/export.h>
#include <graft/history.h>
#include <graft/model.h>
#include <graft/trainer_options.h>

namespace graft {

/// Trains one Model and measures it.
class GRAFT_EXPORT Trainer {
 public:
  /// The model must outlive the trainer. Throws Error kConfig for options out of range.
  explicit Trainer(Model& model, const TrainerOptions& options = {});
  ~Trainer();
  Trainer(Trainer&&) noexcept;
  Trainer& operator=(Trainer&&) noexcept;

  /// Trains what is not frozen, by cross-entropy or what Model::tasks() asks for, through FitOptions::phases, each with
  /// its own frozen layers, and leaves the model in evaluation mode, frozen as the last phase had it, with the last
  /// epoch's weights (their moving average with TrainerOptions::ema_decay), its labels set to the data's classes, its
  /// calibration (graft/calibration.h) forgotten. A batch of one example is left out where batch norm trains. Throws
  /// Error kMismatch (classes of train, val and head differ, nothing to train, traced layers that should train),
  /// kNumeric naming the step at which the loss stopped being finite, with the weights as they were before that step;
  /// kOutOfMemory. One that throws before the first step of the optimiser leaves the model as it was, with what is
  /// frozen in it, its statistics and its calibrations, and the weights of the fit before to be restored.
  History fit(const Dataset& train, const FitOptions& options = {});
  History fit(const Dataset& train, const Dataset& val, const FitOptions& options = {});  ///< with validation

  /// Puts back the weights of the best or of the last epoch of the latest fit. Throws kConfig before any fit.
  void restore_best();
  void restore_last();  ///< the same for the last

  /// Throws Error kNumeric naming the picture for which the outputs are not finite; kMismatch if the classes differ;
  /// kConfig for options out of range and in training mode.
  Evaluation evaluate(const Dataset& data, const EvaluateOptions& options = {}) const;

  /// Probabilities (or a regression's numbers) [size, outputs], float32, CPU, in the data set's order; rows of
  /// unreadable pictures are NaN. Throws as evaluate does.
  at::Tensor predict(const Dataset& data, const EvaluateOptions& options = {}) const;

 private:
  struct Impl;
  Impl& impl() const;
  std::unique_ptr<Impl> impl_;
};

}  // namespace graft
