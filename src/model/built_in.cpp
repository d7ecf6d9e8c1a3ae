// VGG16: Simonyan and Zisserman 2014, configuration D. ResNet50: He et al. 2015, figure 5, with the stride on the 3 x 3
// convolution. Both as torchvision has them (models/networks.py is the same in Python).

#include "model/built_in.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include <graft/error.h>

namespace graft::model {

namespace {

using graph::Network;
using graph::NetworkBuilder;
using Shape = std::vector<std::int64_t>;
using Children = std::vector<std::pair<std::string, Network>>;

/// "a", "b", and how many more there are.
std::string listed(const std::vector<std::string>& items) {
  constexpr std::size_t kShown = 8;
  std::string text;
  for (std::size_t i = 0; i < std::min(items.size(), kShown); ++i) text += (i ? ", " : "") + items[i];
  return items.size() > kShown ? text + " and " + std::to_string(items.size() - kShown) + " more" : text;
}

class Maker {
 public:
  explicit Maker(const std::map<std::string, at::Tensor>& weights) : weights_(weights) {}

  Network vgg16() {
    Children features;
    std::int64_t channels = 3;
    const auto add = [&](Network layer) { features.emplace_back(std::to_string(features.size()), std::move(layer)); };
    for (const int width : {64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0}) {
      if (width == 0) {
        add(layer("MaxPool2d", "return torch.max_pool2d(x, [2, 2], [2, 2], [0, 0], [1, 1], False)"));
        continue;
      }
      add(convolution("features." + std::to_string(features.size()), channels, width, 3, 1, /*bias=*/true));
      add(relu());
      channels = width;
    }
    Children classifier{{"0", linear("classifier.0", 512 * 7 * 7, 4096)},
                        {"1", relu()},
                        {"2", dropout()},
                        {"3", linear("classifier.3", 4096, 4096)},
                        {"4", relu()},
                        {"5", dropout()},
                        {"6", linear("classifier.6", 4096, classes("classifier.6"))}};
    auto whole = make("VGG");
    whole.child("features", sequential(features))
        .child("avgpool", pooling(7))
        .child("classifier", sequential(classifier));
    return whole.build(
        "x = torch.flatten(self.avgpool.forward(self.features.forward(x)), 1)\n"
        "return self.classifier.forward(x)");
  }

  Network resnet50() {
    const auto conv1 = convolution("conv1", 3, 64, 7, 2, /*bias=*/false);
    const auto bn1 = batch_norm("bn1", 64);
    auto whole = make("ResNet");
    whole.child("conv1", conv1).child("bn1", bn1).child("relu", relu());
    whole.child("maxpool", layer("MaxPool2d", "return torch.max_pool2d(x, [3, 3], [2, 2], [1, 1], [1, 1], False)"));
    std::int64_t channels = 64;
    int stage = 1;
    for (const auto& [width, blocks] : {std::pair(64, 3), {128, 4}, {256, 6}, {512, 3}}) {
      const auto name = "layer" + std::to_string(stage);
      Children children;
      for (int block = 0; block < blocks; ++block) {
        const auto stride = block == 0 && stage > 1 ? 2 : 1;
        children.emplace_back(std::to_string(block),
                              bottleneck(name + "." + std::to_string(block), channels, width, stride));
        channels = 4 * width;
      }
      whole.child(name, sequential(children));
      ++stage;
    }
    whole.child("avgpool", pooling(1)).child("fc", linear("fc", channels, classes("fc")));
    return whole.build(
        "x = self.maxpool.forward(self.relu.forward(self.bn1.forward(self.conv1.forward(x))))\n"
        "x = self.layer2.forward(self.layer1.forward(x))\n"
        "x = self.layer4.forward(self.layer3.forward(x))\n"
        "return self.fc.forward(torch.flatten(self.avgpool.forward(x), 1))");
  }

  /// Throws unless every tensor was there, of the right shape, and every tensor that was there was wanted.
  void check(const char* network) const {
    std::vector<std::string> extra;
    for (const auto& [name, tensor] : weights_)
      if (!used_.contains(name)) extra.push_back(name);
    std::string found;
    for (const auto& [title, names] : {std::pair("missing: ", missing_),
                                       {"belonging to nothing: ", extra},
                                       {"of another shape or type: ", different_}})
      if (!names.empty()) found += (found.empty() ? "" : "; ") + (title + listed(names));
    if (!found.empty())
      throw Error(ErrorCode::kMismatch,
                  std::string("expected the weights of ") + network + " under torchvision's names, found " + found);
  }

 private:
  at::Tensor take(const std::string& name, const Shape& shape) {
    const auto it = weights_.find(name);
    if (it == weights_.end()) {
      missing_.push_back(name);
      return at::zeros(shape);
    }
    used_.insert(name);
    if (it->second.sizes() == shape && it->second.is_floating_point()) return it->second;
    different_.push_back(c10::str(name, " (expected ", at::IntArrayRef(shape), " of floating-point numbers, found ",
                                  it->second.sizes(), " of ", it->second.scalar_type(), ")"));
    return at::zeros(shape);
  }

  std::int64_t classes(const std::string& layer) const {
    const auto it = weights_.find(layer + ".weight");
    return it != weights_.end() && it->second.dim() == 2 ? it->second.size(0) : 1000;
  }

  /// All in one compilation unit.
  NetworkBuilder make(std::string_view type) { return first_ ? NetworkBuilder(type, *first_) : NetworkBuilder(type); }
  Network finish(NetworkBuilder& builder, std::string_view body) {
    auto network = builder.build(body);
    if (!first_) first_ = network;
    return network;
  }
  Network layer(std::string_view type, std::string_view body) {
    auto builder = make(type);
    return finish(builder, body);
  }

  Network relu() { return layer("ReLU", "return torch.relu_(x)"); }
  Network dropout() { return layer("Dropout", "return torch.dropout(x, 0.5, self.training)"); }
  Network pooling(int side) {
    const auto text = std::to_string(side);
    return layer("AdaptiveAvgPool2d", "return torch.adaptive_avg_pool2d(x, [" + text + ", " + text + "])");
  }

  Network convolution(const std::string& name, std::int64_t in, std::int64_t out, int side, int stride, bool bias) {
    auto builder = make("Conv2d");
    builder.parameter("weight", take(name + ".weight", {out, in, side, side}));
    if (bias) builder.parameter("bias", take(name + ".bias", {out}));
    const auto twice = [](int number) { return "[" + std::to_string(number) + ", " + std::to_string(number) + "]"; };
    return finish(builder, "return torch.conv2d(x, self.weight, " + std::string(bias ? "self.bias" : "None") + ", " +
                               twice(stride) + ", " + twice(side / 2) + ", [1, 1], 1)");
  }

  Network linear(const std::string& name, std::int64_t in, std::int64_t out) {
    auto builder = make("Linear");
    builder.parameter("weight", take(name + ".weight", {out, in})).parameter("bias", take(name + ".bias", {out}));
    return finish(builder, "return torch.linear(x, self.weight, self.bias)");
  }

  Network batch_norm(const std::string& name, std::int64_t channels) {
    auto builder = make("BatchNorm2d");
    for (const char* parameter : {"weight", "bias"})
      builder.parameter(parameter, take(name + "." + parameter, {channels}));
    for (const char* statistic : {"running_mean", "running_var"})
      builder.buffer(statistic, take(name + "." + statistic, {channels}));
    const auto count = weights_.find(name + ".num_batches_tracked");
    const bool counted = count != weights_.end() && count->second.numel() == 1 && !count->second.is_floating_point();
    if (counted) used_.insert(count->first);
    builder.buffer("num_batches_tracked", counted ? count->second.reshape({}).to(at::kLong)
                                                  : at::zeros({}, at::TensorOptions().dtype(at::kLong)));
    return finish(builder,
                  "if self.training:\n"
                  "    self.num_batches_tracked.add_(1)\n"
                  "return torch.batch_norm(x, self.weight, self.bias, self.running_mean, self.running_var, "
                  "self.training, 0.1, 1e-05, True)");
  }

  Network sequential(const Children& children) {
    auto builder = make("Sequential");
    std::string body;
    for (const auto& [name, child] : children) {
      builder.child(name, child);
      body += "x = getattr(self, \"" + name + "\").forward(x)\n";
    }
    return finish(builder, body + "return x");
  }

  Network bottleneck(const std::string& name, std::int64_t in, std::int64_t width, int stride) {
    const auto out = 4 * width;
    const auto normalised = [&](NetworkBuilder& to, const std::string& number, std::int64_t from, std::int64_t channels,
                                int side, int step) {
      to.child("conv" + number, convolution(name + ".conv" + number, from, channels, side, step, /*bias=*/false));
      to.child("bn" + number, batch_norm(name + ".bn" + number, channels));
    };
    auto builder = make("Bottleneck");
    normalised(builder, "1", in, width, 1, 1);
    normalised(builder, "2", width, width, 3, stride);
    normalised(builder, "3", width, out, 1, 1);
    builder.child("relu", relu());
    const bool changes = stride != 1 || in != out;
    if (changes) {
      const auto path = name + ".downsample.";
      builder.child("downsample", sequential({{"0", convolution(path + "0", in, out, 1, stride, /*bias=*/false)},
                                              {"1", batch_norm(path + "1", out)}}));
    }
    return finish(builder, std::string(changes ? "identity = self.downsample.forward(x)\n" : "identity = x\n") +
                               "y = self.relu.forward(self.bn1.forward(self.conv1.forward(x)))\n"
                               "y = self.relu.forward(self.bn2.forward(self.conv2.forward(y)))\n"
                               "y = self.bn3.forward(self.conv3.forward(y))\n"
                               "return self.relu.forward(y + identity)");
  }

  const std::map<std::string, at::Tensor>& weights_;
  std::set<std::string> used_;
  std::vector<std::string> missing_, different_;
  std::optional<Network> first_;
};

}  // namespace

Network built_in(const std::map<std::string, at::Tensor>& weights) {
  const bool is_vgg = weights.contains("features.0.weight"), is_resnet = weights.contains("conv1.weight");
  if (is_vgg == is_resnet)
    throw Error(ErrorCode::kMismatch,
                "expected the weights of VGG16 or ResNet50 under torchvision's names, found neither features.0.weight "
                "nor conv1.weight, or both");
  Maker maker(weights);
  auto network = is_vgg ? maker.vgg16() : maker.resnet50();
  maker.check(is_vgg ? "VGG16" : "ResNet50");
  return network;
}

}  // namespace graft::model
