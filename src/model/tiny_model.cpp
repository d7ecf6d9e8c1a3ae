#include <string>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include <graft/testing.h>

#include "base/check.h"
#include "base/translate.h"
#include "model/head_recipe.h"
#include "model/impl.h"

namespace graft {

namespace {

constexpr int kStride = 4;

/// Turns the map [N, C, H, W] into what is wanted.
graph::Network shaper(std::size_t sizes, const graph::Network& beside) {
  graph::NetworkBuilder builder("Shape", beside);
  if (sizes == 3) return builder.build("return x");
  if (sizes == 2) return builder.build("return x.flatten(2).transpose(1, 2)");
  return builder.build("return x.mean([2, 3])");
}

}  // namespace

Model tiny_model(const std::vector<std::int64_t>& features, std::uint64_t seed) {
  return base::translated("tiny model", [&] {
    base::require(features.size() >= 1 && features.size() <= 3, "features", "1 to 3 sizes", features.size());
    for (const auto size : features) base::require(size >= 1, "features", "sizes above 0", size);
    const bool map = features.size() == 3, tokens = features.size() == 2;
    const auto channels = tokens ? features[1] : features[0];
    const auto height = map ? features[1] : tokens ? features[0] : 1, width = map ? features[2] : 1;

    const auto generator = at::detail::createCPUGenerator(seed);
    const auto stem =
        graph::NetworkBuilder("Stem")
            .parameter("weight", at::randn({channels, 3, kStride, kStride}, generator, at::kFloat).div_(4))
            .build("return torch.conv2d(x, self.weight, None, [4, 4])");
    const auto bn = graph::NetworkBuilder("BatchNorm2d", stem)
                        .parameter("weight", at::ones({channels}, at::kFloat))
                        .parameter("bias", at::zeros({channels}, at::kFloat))
                        .buffer("running_mean", at::zeros({channels}, at::kFloat))
                        .buffer("running_var", at::ones({channels}, at::kFloat))
                        .build(
                            "return torch.batch_norm(x, self.weight, self.bias, self.running_mean, self.running_var, "
                            "self.training, 0.1, 1e-5, True)");
    const auto shape = shaper(features.size(), stem);
    std::vector<std::int64_t> feature_shape{1};
    feature_shape.insert(feature_shape.end(), features.begin(), features.end());
    const auto fc = build_head(heads::linear({.classes = 2, .seed = seed}), feature_shape, stem);
    const auto network = graph::NetworkBuilder("Tiny", stem)
                             .child("stem", stem)
                             .child("bn", bn)
                             .child("shape", shape)
                             .child("fc", fc.network)
                             .build(
                                 "x = torch.relu(self.bn.forward(self.stem.forward(x)))\n"
                                 "return self.fc.forward(self.shape.forward(x))");
    model::Artefact artefact;
    auto preprocessing = Preprocessing::rescale_mode();
    preprocessing.crop_height_px = static_cast<int>(height) * kStride;
    preprocessing.crop_width_px = static_cast<int>(width) * kStride;
    artefact.input = preprocessing;
    return Model::Impl::assemble("tiny model", network, artefact, {.head = "fc"});
  });
}

}  // namespace graft
