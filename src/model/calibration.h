/// int8 of a Model: measuring it, and what of it travels in the file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/inspect.h>
#include <graft/model.h>

#include "engine/calibration.h"

namespace graft::model {

/// What a calibrated model knows of itself besides its weights.
struct Int8 {
  engine::Calibration ranges;
  Int8Info comparison;
  std::vector<float> logits;  ///< of the golden picture, in int8
};

/// Largest difference of a golden logit in int8, as a fraction of the largest: other processors round other sums, and
/// an activation that comes to lie one step higher changes all behind it. A real ResNet50 saved with our convolutions
/// on AMX stays within it with oneDNN's for AVX-VNNI.
inline constexpr double kInt8Tolerance = 0.05;

/// Looks at a model's activations and makes them its calibration.
class Calibrator {
 public:
  /// Throws Error kConfig in training mode, on CUDA and where the processor has no int8 arithmetic; kMismatch if the
  /// network cannot be compiled.
  explicit Calibrator(Model& model);
  ~Calibrator();
  Calibrator(const Calibrator&) = delete;
  Calibrator& operator=(const Calibrator&) = delete;

  /// Logits [N, outputs] of float32 for a batch [N, 3, H, W]. Throws kNumeric.
  at::Tensor observe(const at::Tensor& batch);

  struct Result {
    std::int64_t convolutions = 0, convolutions_in_int8 = 0, linear_in_int8 = 0;
    std::vector<std::string> in_float;
    double golden_difference = 0;
  };
  /// The model can be asked for int8 from here on. Throws kMismatch if it cannot run in int8 after all.
  Result finish();
  /// Goes into the model's file.
  void set_comparison(const Int8Info& comparison);
  /// The model can no longer be asked for int8.
  void undo();

 private:
  Model::Impl& impl_;
  engine::Calibrator activations_;
};

}  // namespace graft::model
