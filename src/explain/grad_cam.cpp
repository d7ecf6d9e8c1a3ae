// Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
// arXiv:1610.02391, equations 1 and 2.

#include <algorithm>
#include <cmath>
#include <span>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

#include <graft/error.h>
#include <graft/explain.h>

#include "base/text.h"
#include "base/translate.h"
#include "explain/target.h"
#include "model/impl.h"

namespace graft {

namespace {

bool is_feature_map(const engine::ProbedCall& call) {
  const auto& shape = call.output_shape;
  return shape.size() == 4 && shape[2] * shape[3] > 1;
}

/// Whether a feature map is [N, H, W, C], as Swin Transformers have it: its sides are to each other as the picture's.
bool has_channels_last(at::IntArrayRef map, at::IntArrayRef picture) {
  const auto skew = [&](std::int64_t height, std::int64_t width) {
    return std::abs(std::log(static_cast<double>(height * picture[3]) / static_cast<double>(width * picture[2])));
  };
  return skew(map[1], map[2]) < skew(map[2], map[3]);
}

/// The layer of this name, or the last one, if it yields a feature map.
std::string feature_map_layer(const Model::Impl& model, const std::string& wanted) {
  const auto& calls = model.structure.calls;
  if (wanted.empty() && !model.structure.features_layer.empty()) return model.structure.features_layer;
  const auto last = std::find_if(calls.rbegin(), calls.rend(), [&](const auto& each) {
    return wanted.empty() ? is_feature_map(each) : each.call.path == wanted;
  });
  if (last != calls.rend() && is_feature_map(*last)) return last->call.path;

  std::vector<std::string> maps;
  for (const auto& each : calls)
    if (is_feature_map(each) && std::ranges::find(maps, each.call.path) == maps.end()) maps.push_back(each.call.path);
  if (maps.empty())
    throw Error(ErrorCode::kMismatch,
                "Grad-CAM: no layer of this network yields a feature map [N, C, H, W] or [N, H, W, C]; explain it by "
                "occlusion");
  // Outer layers first, and of these the last ones: they are what is mostly wanted.
  std::ranges::reverse(maps);
  std::ranges::stable_sort(maps, {}, [](const std::string& path) { return std::ranges::count(path, '.'); });
  throw Error(ErrorCode::kConfig, "layer: expected one that yields a feature map [N, C, H, W] or [N, H, W, C], " +
                                      base::list_names(maps, 16) + ", found \"" + wanted + "\"");
}

}  // namespace

std::vector<HeatMap> grad_cam(const Model& model, const at::Tensor& batch, const GradCamOptions& options) {
  const auto& impl = Model::Impl::of(model);
  impl.check_batch(batch, /*evaluation=*/true);
  const explain::Target target(impl, options.task, options.class_id);
  const auto layer = feature_map_layer(impl, options.layer);
  return base::translated("explaining", [&] {
    const c10::InferenceMode recording(false);
    // A leaf of its own: gradients end here, and nothing reaches the parameters, frozen or not.
    const auto maps = impl.infer(impl.output_of(layer), batch, Precision::kFloat32).detach().set_requires_grad(true);
    at::Tensor logits, columns;
    {
      const at::AutoGradMode with_gradients(true);
      logits = impl.behind(layer).run(impl.on_device(batch), maps.clone()).to(at::kFloat);
      columns = target.columns(logits.detach());
      logits.gather(1, columns).sum().backward({}, std::nullopt, /*create_graph=*/false, maps);
    }
    const at::NoGradGuard no_grad;
    if (!maps.grad().defined())
      throw Error(ErrorCode::kMismatch, "Grad-CAM: the answer does not depend on what \"" + layer + "\" yields");
    const bool channels_last = has_channels_last(maps.sizes(), batch.sizes());
    const auto places = [&](const at::Tensor& map) { return channels_last ? map.permute({0, 3, 1, 2}) : map; };
    const auto weights = places(maps.grad()).mean({2, 3}, /*keepdim=*/true);
    const auto cam = (weights * places(maps)).sum(1, /*keepdim=*/true).clamp_min(0);
    const auto heat = at::upsample_bilinear2d(cam, {batch.size(2), batch.size(3)}, /*align_corners=*/false);
    return explain::heat_maps(heat.squeeze(1), target.describe(columns, target.answers(logits, columns)));
  });
}

HeatMap grad_cam(const Model& model, const Image& image, const GradCamOptions& options) {
  return std::move(grad_cam(model, model.preprocess(std::span(&image, 1)), options).front());
}

}  // namespace graft
