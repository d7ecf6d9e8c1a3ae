/// A head written as TorchScript source: what tracing cannot express (control flow that depends on data) can be written
/// down.
/// Thread-safety: values; safe everywhere.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/export.h>
#include <graft/head.h>

namespace graft::heads {

/// Tensors under their names.
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;
/// Fresh float32 tensors on the CPU for features of this shape: [1, C, H, W], [1, T, C] or [1, C].
using MakeTensors = std::function<NamedTensors(const std::vector<std::int64_t>& feature_shape)>;

/// Of script().
struct ScriptOptions {
  /// Methods in TorchScript, among them "def forward(self, x: Tensor) -> Tensor:", x being the features.
  std::string source;
  /// Dotted names make sub-modules: "fc.weight" is self.fc.weight. Every (sub-)module has a flag, self.fc.training.
  MakeTensors parameters;
  MakeTensors buffers = {};
  std::string name = "script";  ///< what Head::describe() says
  TaskKind kind = TaskKind::kSingleLabel;
  RegressionLoss loss = RegressionLoss::kMeanSquared;  ///< for kRegression
};

/// Throws Error kConfig without source or parameters. Model::replace_head throws kConfig with the compiler's message
/// for source that does not compile, kMismatch for outputs that are not [N, outputs] float32.
GRAFT_EXPORT Head script(ScriptOptions options);

}  // namespace graft::heads
