// Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", arXiv:1311.2901, section 4.2.

#include <algorithm>
#include <span>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <graft/explain.h>

#include "base/check.h"
#include "base/translate.h"
#include "explain/target.h"
#include "model/impl.h"

namespace graft {

namespace {

/// The squares' geometry, with defaults filled in.
struct Squares {
  std::int64_t side, height, width;
  std::vector<std::pair<std::int64_t, std::int64_t>> corners;  ///< upper left ones: row, column
};

/// Every stride, and once more flush with the end.
std::vector<std::int64_t> offsets(std::int64_t length, std::int64_t side, std::int64_t stride) {
  std::vector<std::int64_t> found;
  for (std::int64_t at = 0; at + side < length; at += stride) found.push_back(at);
  found.push_back(length - side);
  return found;
}

Squares squares_over(const at::Tensor& batch, const OcclusionOptions& options) {
  const auto height = batch.size(2), width = batch.size(3), shorter = std::min(height, width);
  const auto side = options.patch_px != 0 ? options.patch_px : std::max<std::int64_t>(1, shorter / 7);
  base::require(side >= 1 && side <= shorter, "patch_px", "1 to " + std::to_string(shorter), side);
  const auto stride = options.stride_px != 0 ? options.stride_px : std::max<std::int64_t>(1, side / 2);
  base::require(stride >= 1 && stride <= side, "stride_px", "1 to patch_px = " + std::to_string(side), stride);
  Squares squares{side, height, width, {}};
  for (const auto row : offsets(height, side, stride))
    for (const auto column : offsets(width, side, stride)) squares.corners.emplace_back(row, column);
  return squares;
}

/// The fill as the network sees it, [3, 1, 1].
at::Tensor fill_of(const Model& model, const OcclusionOptions& options) {
  const Image pixel(1, 1, {options.fill.begin(), options.fill.end()});
  return model.preprocess(std::span(&pixel, 1))[0].narrow(1, 0, 1).narrow(2, 0, 1);
}

class Occlusion {
 public:
  Occlusion(const Model& model, const at::Tensor& batch, const OcclusionOptions& options)
      : model_(model),
        options_(options),
        target_(Model::Impl::of(model), options.task, options.class_id),
        squares_(squares_over(batch, options)),
        fill_(fill_of(model, options)) {
    base::require(options.batch_size >= 1, "batch_size", "1 or more", options.batch_size);
  }

  /// For one picture [1, 3, H, W].
  HeatMap map(const at::Tensor& picture) const {
    const auto logits = all_logits(picture);
    const auto column = target_.columns(logits.narrow(0, 0, 1));
    const auto answers = target_.answers(logits, column.expand({logits.size(0), 1})).to(at::kCPU);
    const auto whole = answers.narrow(0, 0, 1);
    auto lost = whole - answers;
    lost = at::where(lost.abs() > kRounding * whole.abs().clamp_min(1), lost, 0);
    const auto heat = at::zeros({squares_.height, squares_.width}, at::kFloat), covered = at::zeros_like(heat);
    for (std::size_t i = 0; i < squares_.corners.size(); ++i) {
      square(heat, i).add_(lost[static_cast<std::int64_t>(i) + 1]);
      square(covered, i).add_(1);
    }
    return explain::heat_maps((heat / covered).unsqueeze(0), target_.describe(column, whole)).front();
  }

 private:
  /// Batches of other sizes do not give the same last digits: a map of these alone would be one of noise.
  static constexpr double kRounding = 1e-6;

  at::Tensor square(const at::Tensor& planes, std::size_t i) const {
    const auto [row, column] = squares_.corners[i];
    return planes.narrow(-2, row, squares_.side).narrow(-1, column, squares_.side);
  }

  /// Of the picture itself, then with each square over it.
  at::Tensor all_logits(const at::Tensor& picture) const {
    const auto count = std::ssize(squares_.corners) + 1;
    std::vector<at::Tensor> logits;
    for (std::int64_t begin = 0; begin < count; begin += options_.batch_size) {
      const auto size = std::min(options_.batch_size, count - begin);
      const auto pictures = picture.repeat({size, 1, 1, 1}).contiguous(at::MemoryFormat::ChannelsLast);
      for (std::int64_t i = 0; i < size; ++i)
        if (begin + i > 0) square(pictures[i], static_cast<std::size_t>(begin + i - 1)).copy_(fill_);
      logits.push_back(model_.forward(pictures, options_.precision));
    }
    return at::cat(logits);
  }

  const Model& model_;
  const OcclusionOptions& options_;
  explain::Target target_;
  Squares squares_;
  at::Tensor fill_;
};

}  // namespace

std::vector<HeatMap> occlusion(const Model& model, const at::Tensor& batch, const OcclusionOptions& options) {
  Model::Impl::of(model).check_batch(batch, /*evaluation=*/true);
  return base::translated("explaining", [&] {
    const at::NoGradGuard no_grad;
    const auto normalised =
        Model::Impl::of(model).on_device(batch);  // bytes cannot hold the fill as the network sees it
    const Occlusion occlusion(model, normalised, options);
    std::vector<HeatMap> maps;
    for (const auto& picture : normalised.split(1)) maps.push_back(occlusion.map(picture));
    return maps;
  });
}

HeatMap occlusion(const Model& model, const Image& image, const OcclusionOptions& options) {
  return std::move(occlusion(model, model.preprocess(std::span(&image, 1)), options).front());
}

}  // namespace graft
