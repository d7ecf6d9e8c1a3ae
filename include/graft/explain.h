/// Which parts of a picture speak for an answer: heat maps by Grad-CAM and by occlusion, and how they are drawn over
/// the picture (docs/explanations.md). Thread-safety: functions that change nothing, neither the model nor a setting;
/// many threads may explain with one Model.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/device.h>
#include <graft/export.h>
#include <graft/image.h>
#include <graft/model.h>
#include <graft/preprocess.h>

namespace graft {

/// Where the network looked.
struct HeatMap {
  /// [H, W] at the resolution of the network's input, float32, CPU, 0..1: 1 where most speaks for the answer, all 0
  /// where nothing does.
  at::Tensor values;
  /// The class that is explained, and its probability; of a regression the output, and its number.
  Prediction explained;
};

/// Of grad_cam.
struct GradCamOptions {
  /// A layer that yields a feature map [N, C, H, W] ("layer3", "features.22"; Model::inspect lists them); without a
  /// name the last one. Earlier ones are finer and less about the class.
  std::string layer = {};
  /// The class's id, or its name where no other class has it; without one the class that the model predicts.
  std::string class_id = {};
  std::string task = {};  ///< whose class it is, where the model has several tasks
};

/// Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391): the channels of a feature map, each weighed by the mean gradient
/// of the class's logit, summed; what is negative is cut off; resized (bilinear) and divided by the largest value.
/// Exact in float32, gradients through the part of the network behind the layer alone. `batch`: [N, 3, H, W]; one map
/// each. Throws Error kConfig (training mode; no such class or task; a layer that is not called or yields no feature
/// map: the message lists those that do; a regression of several outputs without `class_id`), kMismatch (a network
/// without feature maps or whose layers are gone; an answer that does not depend on the layer), kNumeric (gradients not
/// finite), kOutOfMemory.
GRAFT_EXPORT std::vector<HeatMap> grad_cam(const Model& model, const at::Tensor& batch,
                                           const GradCamOptions& options = {});
/// The same for one picture.
GRAFT_EXPORT HeatMap grad_cam(const Model& model, const Image& image, const GradCamOptions& options = {});

/// Of occlusion.
struct OcclusionOptions {
  int patch_px = 0;   ///< side of the square that is covered, in pixels of the input; 0: a seventh of the shorter side
  int stride_px = 0;  ///< from one place to the next, at most patch_px; 0: half of it
  std::array<std::uint8_t, 3> fill = {124, 116, 104};  ///< its colour, RGB: ImageNet's mean
  std::int64_t batch_size = 32;                        ///< covered pictures for one forward pass
  Precision precision = Precision::kFloat32;           ///< of the forward passes
  std::string class_id = {};                           ///< as in GradCamOptions
  std::string task = {};                               ///< as in GradCamOptions
};

/// Occlusion (Zeiler and Fergus 2014, arXiv:1311.2901, section 4.2): a square is moved over the picture, also flush
/// with the right and the lower edge; a pixel's heat is how much of the class's probability (of a regression's number)
/// is lost, on average over the squares that cover it; what is negative is cut off, the rest divided by the largest
/// value. Works with any network; about 170 forward passes for each picture by default. `batch`: [N, 3, H, W]; one map
/// each. Throws Error kConfig (training mode, no such class or task, options out of range), kNumeric, kOutOfMemory.
GRAFT_EXPORT std::vector<HeatMap> occlusion(const Model& model, const at::Tensor& batch,
                                            const OcclusionOptions& options = {});
/// The same for one picture.
GRAFT_EXPORT HeatMap occlusion(const Model& model, const Image& image, const OcclusionOptions& options = {});

/// How heat becomes colour. The first two are perceptually uniform (matplotlib); turbo shows more steps (Mikhailov
/// 2019).
enum class Colormap { kViridis, kMagma, kTurbo };

/// "viridis", "magma" or "turbo".
GRAFT_EXPORT std::string_view to_string(Colormap colormap) noexcept;
/// The reverse of to_string. Throws Error kConfig for any other text.
GRAFT_EXPORT Colormap parse_colormap(std::string_view text);

/// Of overlay.
struct OverlayOptions {
  Colormap colormap = Colormap::kViridis;
  double opacity = 0.8;        ///< 0..1, of the colours where it is hottest; what is cold shows the picture alone
  double outside = 0.4;        ///< 0..1: brightness of what the network did not see
  int longest_side_px = 1024;  ///< larger pictures are shrunk to this
};

/// The whole picture with the heat over the part of it that the network saw, in the picture's own geometry: resize and
/// crop undone. What the preprocessing crops away is dimmed. `heat`: HeatMap::values, [H, W], or any other map of
/// values 0..1. Image::encode_jpeg makes a file in memory of it. Throws Error kConfig for an empty picture, options out
/// of range, or a heat map of another rank or type.
GRAFT_EXPORT Image overlay(const Image& picture, const at::Tensor& heat, const Preprocessing& preprocessing,
                           const OverlayOptions& options = {});

}  // namespace graft
