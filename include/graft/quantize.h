/// int8 inference on the CPU: a model's activations are measured on pictures, and it then runs in eight bits
/// (Precision::kInt8). The weights stay float32 in memory and in the file.
/// Thread-safety: quantize() needs the model for itself.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <graft/dataset.h>
#include <graft/device.h>
#include <graft/export.h>
#include <graft/inspect.h>
#include <graft/loader.h>
#include <graft/model.h>

namespace graft {

/// How a model is calibrated.
struct QuantizationOptions {
  std::int64_t pictures = 512;  ///< most that are used, evenly spaced over the data set; a few hundred suffice
  std::int64_t batch_size = 32;
  int loader_threads = 2;
  /// Told after each batch, first of the calibration, then of the comparison: pictures done and of how many.
  std::function<void(std::int64_t done, std::int64_t of)> on_step = {};
};

/// What came of it.
struct QuantizationReport {
  std::int64_t convolutions = 0;           ///< of the network
  std::int64_t convolutions_in_int8 = 0;   ///< of these
  std::int64_t linear_in_int8 = 0;         ///< linear layers
  std::vector<std::string> in_float = {};  ///< the other operators, which work in float32, in order
  Int8Info int8;                           ///< beside float32, on the calibration pictures
  double golden_difference =
      0;  ///< largest of a logit of the golden picture to float32's, as a part of the largest logit
  std::vector<BadImage> bad_images = {};
};

/// Measures the ranges of the model's activations on pictures like those it will see, and compares its answers in int8
/// with those in float32 on the same pictures. From then on, and from the file that Model::save writes, the model can
/// be asked for Precision::kInt8, until a weight, the head or the preprocessing changes: then that throws kConfig.
/// Labels are used where the data set's classes are the model's (the ids of Model::labels()). Throws Error kConfig
/// (training mode, a model on CUDA, no int8 arithmetic in this processor, options out of range), kMismatch (a network
/// that cannot be compiled, no pictures), kNumeric (activations that are not finite), and what a picture that cannot be
/// read throws under OnBadImage::kFail. The model stays as it was then.
GRAFT_EXPORT QuantizationReport quantize(Model& model, const Dataset& pictures,
                                         const QuantizationOptions& options = {});

}  // namespace graft
