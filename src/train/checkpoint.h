/// A run's state in files, so that it can go on from there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <ATen/core/Tensor.h>

#include <graft/trainer_options.h>

#include "base/files.h"

namespace graft::train {

/// What a checkpoint holds, by names: tensors and texts. Numbers are written so that they are read the same.
class RunState {
 public:
  std::map<std::string, at::Tensor> tensors;
  std::map<std::string, std::string> values;

  void set(const std::string& name, double value);
  void set(const std::string& name, std::int64_t value) { values[name] = std::to_string(value); }
  /// Throws Error kFormat if there is none, or no number.
  double number(const std::string& name) const;
  std::int64_t integer(const std::string& name) const;
  const std::string& text(const std::string& name) const;
  const at::Tensor& tensor(const std::string& name) const;

  /// Under "PREFIX/NAME".
  void add(const std::string& prefix, const std::map<std::string, at::Tensor>& named);
  std::map<std::string, at::Tensor> under(const std::string& prefix) const;
};

/// The two files of a run in their directory. One process at a time.
class CheckpointFiles {
 public:
  /// Throws Error kIo: the directory cannot be used, or another process trains in it; kConfig if there is a checkpoint
  /// and `resume` was not asked for.
  explicit CheckpointFiles(const CheckpointOptions& options, WarningCallback on_warning);

  /// The newest whole one; nothing if there is none, or if none is to be gone on from. A damaged one is a warning.
  /// `settings`: of this run, by name. Throws Error kMismatch naming those that the checkpoint's run had otherwise.
  std::optional<RunState> newest(const std::map<std::string, std::string>& settings);

  /// A setting of the run whose newest whole checkpoint is in `directory`; nothing if there is none, or no such
  /// setting. A damaged one is as none.
  static std::optional<std::string> setting_of_newest(const std::filesystem::path& directory, const std::string& name);

  /// Over the older one. Throws Error kIo; what was there stays whole.
  void write(const RunState& state, const std::map<std::string, std::string>& settings);

  /// Where a run whose checkpoints are in `directory` keeps features.
  static std::filesystem::path features_directory(const std::filesystem::path& directory) {
    return directory / "features";
  }

 private:
  std::filesystem::path file(std::int64_t number) const { return file(directory_, number); }
  static std::filesystem::path file(const std::filesystem::path& directory, std::int64_t number);
  static std::optional<RunState> newest(const std::filesystem::path& directory, const WarningCallback& on_warning);

  std::filesystem::path directory_;
  bool resume_;
  WarningCallback on_warning_;
  base::Descriptor lock_;
  std::int64_t number_ = 0;  ///< of the newest one
};

}  // namespace graft::train
