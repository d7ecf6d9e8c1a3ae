/// A run's curves for TensorBoard, written while it runs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>

#include <graft/export.h>
#include <graft/history.h>

namespace graft {

/// Event files of one run, laid out as Keras' TensorBoard callback does: what training yields in DIRECTORY/train, what
/// validation yields in DIRECTORY/validation, under the same tags, so that the curves share a chart. What was added is
/// in the file when the call returns. A run that is continued writes further files beside the first.
/// Thread-safety: one thread at a time.
class GRAFT_EXPORT TensorBoard {
 public:
  /// Makes the directory. Throws Error kIo.
  explicit TensorBoard(const std::filesystem::path& directory);
  ~TensorBoard();
  TensorBoard(TensorBoard&&) noexcept;
  TensorBoard& operator=(TensorBoard&&) noexcept;

  /// For FitOptions::on_step: batch_loss, batch_accuracy and batch_images_per_second over the run's steps, counted from
  /// 0. Steps of validation are left out. Throws Error kIo.
  void add(const StepInfo& step);
  /// For FitOptions::on_epoch: epoch_loss, epoch_accuracy, epoch_learning_rate (for each group as
  /// epoch_learning_rate/GROUP) over the epochs, counted from 0: the one that the latest step was of. Throws Error kIo.
  void add(const EpochInfo& epoch);
  /// Anything else, in DIRECTORY/train. Throws Error kIo.
  void add_scalar(std::string_view tag, double value, std::int64_t step);

 private:
  struct Impl;
  Impl& impl() const;
  std::unique_ptr<Impl> impl_;
};

}  // namespace graft
