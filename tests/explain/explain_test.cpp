#include <graft/explain.h>

#include <cmath>
#include <random>
#include <thread>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <graft/calibration.h>
#include <graft/embeddings.h>
#include <graft/script_head.h>
#include <graft/testing.h>
#include <graft/trainer.h>

#include "support/default_type.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/measured.h"

namespace graft {
namespace {

using graft::testing::close;
using graft::testing::golden;
using graft::testing::golden_tensor;
using graft::testing::measured;
using graft::testing::slurp;

Model load(const std::string& name) { return Model::load(golden("networks/" + name + ".pt")); }
at::Tensor input() { return golden_tensor("networks/input.f32", {2, 3, 32, 32}); }

at::Tensor stacked(const std::vector<HeatMap>& maps) {
  std::vector<at::Tensor> values;
  for (const auto& map : maps) values.push_back(map.values);
  return at::stack(values);
}

double difference(const at::Tensor& found, const at::Tensor& expected) {
  if (found.sizes() != expected.sizes()) return HUGE_VAL;
  return (found - expected).abs().max().item<double>();
}

// --- Grad-CAM

class GradCam : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Formats, GradCam, ::testing::Values("scripted", "traced"),
                         [](const auto& param) { return std::string(param.param); });

TEST_P(GradCam, EqualsPyTorchForAnyLayerAndClass) {
  const auto cases = nlohmann::json::parse(slurp(golden("explain/grad_cam.json")));
  const auto count = static_cast<std::int64_t>(cases.size());
  const auto expected = golden_tensor("explain/grad_cam.f32", {count, 2, 32, 32});
  double largest = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto& each = cases[static_cast<std::size_t>(i)];
    const auto model = load(each["network"].get<std::string>() + "_" + GetParam());
    GradCamOptions options{.layer = each["layer"]};
    if (!each["class"].is_null()) options.class_id = model.labels()[each["class"].get<std::size_t>()].id;
    const auto maps = grad_cam(model, input(), options);
    largest = std::max(largest, difference(stacked(maps), expected[i]));
    const auto probabilities = model.forward(input()).softmax(1);
    for (std::int64_t n = 0; n < 2; ++n) {
      const auto& [values, explained] = maps[static_cast<std::size_t>(n)];
      EXPECT_EQ(explained.index, each["class"].is_null() ? probabilities[n].argmax().item<std::int64_t>()
                                                         : each["class"].get<std::int64_t>());
      EXPECT_EQ(explained.id, std::to_string(explained.index));
      EXPECT_NEAR(explained.probability, probabilities[n][explained.index].item<float>(), 1e-5);
      EXPECT_LE(values.max().item<float>(), 1);
      EXPECT_GE(values.min().item<float>(), 0);
      EXPECT_EQ(values.scalar_type(), at::kFloat);
    }
  }
  EXPECT_TRUE(measured("Grad-CAM beside PyTorch", largest, 1e-5));
}

TEST_P(GradCam, TakesTheLastFeatureMapByDefault) {
  for (const auto& [network, layer] : {std::pair("resnet_", "layer2"), std::pair("vgg_", "features")}) {
    const auto model = load(std::string(network) + GetParam());
    EXPECT_TRUE(at::equal(stacked(grad_cam(model, input())), stacked(grad_cam(model, input(), {.layer = layer}))));
  }
}

TEST_P(GradCam, TellsWhichLayersAndClassesThereAre) {
  const auto model = load(std::string("resnet_") + GetParam());
  EXPECT_GRAFT_ERROR(grad_cam(model, input(), {.layer = "layer9"}), kConfig, "\"layer2\"");
  EXPECT_GRAFT_ERROR(grad_cam(model, input(), {.layer = "layer9"}), kConfig, "found \"layer9\"");
  EXPECT_GRAFT_ERROR(grad_cam(model, input(), {.layer = "fc"}), kConfig, "feature map");
  EXPECT_GRAFT_ERROR(grad_cam(model, input(), {.layer = "avgpool"}), kConfig, "feature map");  // a single place
  EXPECT_GRAFT_ERROR(grad_cam(model, input(), {.class_id = "dog"}), kConfig,
                     "\"0\", \"1\", \"2\", \"3\", \"4\", found \"dog\"");
  EXPECT_GRAFT_ERROR(grad_cam(model, input(), {.task = "age"}), kConfig, "age");
  EXPECT_GRAFT_ERROR(grad_cam(model, input().to(at::kDouble)), kMismatch, "float32");
}

TEST(GradCamNetworks, WithoutLayersAreForOcclusion) {
  EXPECT_GRAFT_ERROR(grad_cam(load("resnet_frozen"), input()), kMismatch, "occlusion");
  EXPECT_EQ(occlusion(load("resnet_frozen"), input()).size(), 2u);
}

TEST(GradCamNetworks, LayersInAConditionAreRefused) {
  EXPECT_GRAFT_ERROR(grad_cam(load("conditional"), input(), {.layer = "extra"}), kConfig, "\"stem\"");
  EXPECT_EQ(grad_cam(load("conditional"), input()).size(), 2u);
}

TEST(GradCamNetworks, TrainingModeIsRefused) {
  auto model = load("resnet_scripted");
  model.train();
  EXPECT_GRAFT_ERROR(grad_cam(model, input()), kConfig, "training mode");
  EXPECT_GRAFT_ERROR(occlusion(model, input()), kConfig, "training mode");
  EXPECT_TRUE(model.is_training());
}

TEST(GradCamClasses, AreKnownByIdAndByNamesOfTheirOwn) {
  auto model = load("resnet_scripted");
  model.set_labels({{"n0", "crane"}, {"n1", "crane"}, {"n2", "snail"}, {"n3", "n2"}, {"n4", "lamp"}});
  const auto map = [&](const std::string& name) { return grad_cam(model, input(), {.class_id = name})[0]; };
  EXPECT_EQ(map("lamp").explained.index, 4);
  EXPECT_EQ(map("n2").explained.index, 2);  // an id before a name
  EXPECT_EQ(map("n1").explained.label, "crane");
  EXPECT_GRAFT_ERROR(map("crane"), kConfig, "several");
}

/// Everything about a model that could have changed.
struct State {
  explicit State(const Model& model)
      : hash(model.inspect().sha256), frozen(model.frozen_hash()), training(model.is_training()) {
    for (const auto& [name, tensor] : model.named_parameters()) {
      flags.push_back(tensor.requires_grad());
      gradients.push_back(tensor.grad().defined());
      versions.push_back(tensor._version());
    }
    for (const auto& [name, tensor] : model.named_buffers()) versions.push_back(tensor._version());
    if (!training)
      for (const auto& each : inspect_plan(model).operators)
        plan += each.name + " " + std::to_string(each.count) + "\n";
    grad_mode = at::GradMode::is_enabled();
  }
  bool operator==(const State&) const = default;

  std::string hash, frozen, plan;
  bool training, grad_mode = false;
  std::vector<bool> flags, gradients;
  std::vector<std::int64_t> versions;
};

TEST(Explaining, ChangesNothing) {
  auto model = load("resnet_scripted");
  model.freeze_until("layer2");
  const State before(model);
  const auto logits = model.forward(input());
  for (const char* layer : {"", "layer1", "layer2.1.conv1"}) (void)grad_cam(model, input(), {.layer = layer});
  (void)occlusion(model, input(), {.patch_px = 8});
  EXPECT_TRUE(State(model) == before);
  EXPECT_TRUE(at::equal(model.forward(input()), logits));
  {
    const at::NoGradGuard no_grad;
    const c10::InferenceMode inference;
    (void)grad_cam(model, input());
    EXPECT_TRUE(c10::InferenceMode::is_enabled());
    EXPECT_FALSE(at::GradMode::is_enabled());
  }
  model.train();  // what is frozen and what is not trains as ever
  model.forward(input()).sum().backward();
  EXPECT_FALSE(model.named_parameters().at("layer1.0.conv1.weight").grad().defined());
  EXPECT_TRUE(model.named_parameters().at("layer2.0.conv1.weight").grad().defined());
}

TEST(Explaining, FollowsNewWeightsAndNewHeads) {
  auto model = load("resnet_scripted");
  const auto first = stacked(grad_cam(model, input()));
  {
    const at::NoGradGuard no_grad;
    model.named_parameters().at("fc.weight").mul_(-1);
  }
  EXPECT_FALSE(at::equal(stacked(grad_cam(model, input(), {.class_id = "0"})), first));
  model.replace_head(heads::linear({.classes = 3, .seed = 1}));
  EXPECT_LT(grad_cam(model, input())[0].explained.index, 3);
  model.replace_head(heads::linear({.classes = 7, .seed = 2}));
  EXPECT_EQ(grad_cam(model, input(), {.class_id = "6"})[0].explained.index, 6);
}

/// Behind a global average pooling and one dense layer Grad-CAM is CAM (Zhou et al. 2016): the map's channels weighed
/// by the layer's weights.
TEST(GradCamHeads, ALinearHeadGivesTheClassActivationMap) {
  for (const bool frozen : {false, true}) {
    auto model = load("resnet_traced");
    model.replace_head(heads::linear({.classes = 3, .seed = 5}));
    if (frozen) model.freeze();
    const auto features = model.forward_features(input());
    const auto weights = model.named_parameters().at("head.fc.weight").detach();
    const auto maps = grad_cam(model, input(), {.class_id = "1"});
    auto cam = (features * weights[1].view({1, -1, 1, 1})).sum(1, true).clamp_min(0);
    cam = at::upsample_bilinear2d(cam, {32, 32}, false).squeeze(1);
    cam = cam / cam.amax({1, 2}, true).clamp_min(1e-30);
    EXPECT_TRUE(close(stacked(maps), cam, 1e-5));
  }
}

TEST(GradCamHeads, AHeadInTorchScriptIsFollowed) {
  auto model = load("vgg_scripted");
  model.replace_head(heads::script(
      {.source =
           "def forward(self, x: Tensor) -> Tensor:\n    return torch.matmul((x * x).mean([2, 3]), self.weight)\n",
       .parameters = [](const auto& shape) {
         return heads::NamedTensors{{"weight", at::eye(shape.at(1)).narrow(1, 0, 4).contiguous()}};
       }}));
  // d logit_c / d x_k is 2 x_c / (h w) for k = c and 0 elsewhere: the map is x_c times its mean.
  const auto features = model.forward_features(input());
  auto cam = features.narrow(1, 2, 1) * features.narrow(1, 2, 1).mean({2, 3}, true);
  cam = at::upsample_bilinear2d(cam.clamp_min(0), {32, 32}, false).squeeze(1);
  cam = cam / cam.amax({1, 2}, true).clamp_min(1e-30);
  EXPECT_TRUE(close(stacked(grad_cam(model, input(), {.class_id = "2"})), cam, 1e-5));
}

TEST(Explaining, ProbabilitiesAreCalibrated) {
  auto model = load("resnet_scripted");
  set_calibration(model, {.temperature = 3});
  const auto expected = (model.forward(input()) / 3).softmax(1);
  const auto by_gradient = grad_cam(model, input()), by_covering = occlusion(model, input());
  for (std::int64_t n = 0; n < 2; ++n)
    for (const auto* maps : {&by_gradient, &by_covering}) {
      const auto& explained = (*maps)[static_cast<std::size_t>(n)].explained;
      EXPECT_NEAR(explained.probability, expected[n].max().item<float>(), 1e-5);
      EXPECT_NEAR(explained.probability, model.classify(input())[static_cast<std::size_t>(n)][0].probability, 1e-5);
    }
  // What covering takes away is a probability, too, which the temperature does not only scale.
  set_calibration(model, {});
  EXPECT_GT(difference(stacked(by_covering), stacked(occlusion(model, input()))), 1e-3);
}

TEST(GradCamHeads, TasksAreExplainedApart) {
  auto model = load("resnet_scripted");
  model.replace_head(heads::ensemble({{"kind", heads::linear({.classes = 3, .seed = 1})},
                                      {"tags", heads::multi_label({.labels = 2, .seed = 2})},
                                      {"size", heads::regression({.outputs = 1, .seed = 3})},
                                      {"box", heads::regression({.outputs = 4, .seed = 4})}}));
  const auto predicted = model.predict(input());
  const auto explained = [&](const std::string& task, const std::string& id = "") {
    return grad_cam(model, input(), {.class_id = id, .task = task})[0].explained;
  };
  EXPECT_EQ(explained("kind").index, predicted.at("kind")[0].argmax().item<std::int64_t>());
  EXPECT_NEAR(explained("tags").probability, predicted.at("tags")[0].max().item<float>(), 1e-5);
  EXPECT_NEAR(explained("size").probability, predicted.at("size")[0][0].item<float>(), 1e-5);
  const auto third = model.labels().at(3 + 2 + 1 + 2).id;
  EXPECT_EQ(explained("box", third).index, 2);
  EXPECT_NEAR(occlusion(model, input(), {.class_id = third, .task = "box"})[0].explained.probability,
              predicted.at("box")[0][2].item<float>(), 1e-5);
  EXPECT_GRAFT_ERROR(explained("box"), kConfig, "4 outputs");
  EXPECT_GRAFT_ERROR(explained(""), kConfig, "kind");
}

// --- Occlusion

/// By one picture after the other, in double precision.
at::Tensor occlusion_by_loops(const Model& model, const at::Tensor& picture, std::int64_t index, int side, int stride,
                              const at::Tensor& fill) {
  const auto probability = [&](const at::Tensor& batch) {
    return model.forward(batch).to(at::kDouble).softmax(1)[0][index].item<double>();
  };
  const auto size = static_cast<int>(picture.size(2));
  std::vector<int> offsets;
  for (int at = 0; at + side < size; at += stride) offsets.push_back(at);
  offsets.push_back(size - side);
  const double whole = probability(picture.unsqueeze(0).narrow(1, 0, 3));
  auto lost = at::zeros({size, size}, at::kDouble), count = at::zeros_like(lost);
  for (const int row : offsets) {
    for (const int column : offsets) {
      auto covered = picture.clone();
      for (int c = 0; c < 3; ++c)
        for (int y = row; y < row + side; ++y)
          for (int x = column; x < column + side; ++x) covered[c][y][x] = fill[c];
      const double drop = whole - probability(covered.unsqueeze(0));
      for (int y = row; y < row + side; ++y) {
        for (int x = column; x < column + side; ++x) {
          lost[y][x] += drop;
          count[y][x] += 1;
        }
      }
    }
  }
  const auto heat = (lost / count).clamp_min(0);
  return (heat / heat.max()).to(at::kFloat);
}

TEST(Occlusion, EqualsPlainLoops) {
  auto model = load("resnet_scripted");
  model.set_preprocessing(Preprocessing::parse("torch,resize=none,crop=32"));
  const auto picture = input()[1];
  const std::array<double, 3> colour{200, 10, 90}, mean{0.485, 0.456, 0.406}, std{0.229, 0.224, 0.225};
  const auto fill = at::empty({3});
  for (int c = 0; c < 3; ++c)
    fill[c] = (colour[static_cast<std::size_t>(c)] / 255 - mean[static_cast<std::size_t>(c)]) /
              std[static_cast<std::size_t>(c)];
  const auto expected =
      occlusion_by_loops(model, picture, 3, 10, 7, fill);  // 32 = 10 + 3 * 7 + 1: one more at the edge
  double largest = 0;
  for (const std::int64_t batch_size : {1, 5, 64}) {
    const auto maps =
        occlusion(model, input(),
                  {.patch_px = 10, .stride_px = 7, .fill = {200, 10, 90}, .batch_size = batch_size, .class_id = "3"});
    largest = std::max(largest, difference(maps[1].values, expected));
  }
  EXPECT_TRUE(measured("occlusion beside plain loops", largest, 1e-3));
}

TEST(Occlusion, BytesAreCoveredAsWhatIsNormalised) {
  auto model = load("resnet_scripted");
  model.set_preprocessing(Preprocessing::parse("torch,resize=none,crop=32"));
  const auto bytes = at::randint(256, {1, 3, 32, 32}, at::kByte);
  const auto& p = std::get<Preprocessing>(model.input());
  const auto mean = at::tensor(at::ArrayRef<double>(p.mean), at::kFloat).view({1, 3, 1, 1});
  const auto std = at::tensor(at::ArrayRef<double>(p.std), at::kFloat).view({1, 3, 1, 1});
  const auto normalised = (bytes.to(at::kFloat) / 255 - mean) / std;
  EXPECT_LT(difference(occlusion(model, bytes)[0].values, occlusion(model, normalised)[0].values), 1e-3);
}

TEST(Occlusion, DefaultsAreASeventhAndHalfOfIt) {
  const auto model = load("vgg_traced");
  EXPECT_TRUE(at::equal(occlusion(model, input())[0].values,
                        occlusion(model, input(), {.patch_px = 4, .stride_px = 2})[0].values));
}

TEST(Explaining, IsFloat32WhateverTheDefaultTypeIs) {
  const auto model = load("resnet_scripted");
  const auto expected = occlusion(model, input());
  const graft::testing::DoubleByDefault as_in_some_programs;
  EXPECT_TRUE(at::equal(stacked(occlusion(model, input())), stacked(expected)));
  EXPECT_EQ(grad_cam(model, input())[0].values.scalar_type(), at::kFloat);
  const auto rows = at::randn({20, 5}, at::kFloat);
  EXPECT_EQ(tsne(rows).coordinates.scalar_type(), at::kFloat);
  EXPECT_EQ(tsne(rows, {.seed = 1}).coordinates.scalar_type(), at::kFloat);
}

TEST(Occlusion, RefusesWhatCannotBe) {
  const auto model = load("resnet_scripted");
  EXPECT_GRAFT_ERROR(occlusion(model, input(), {.patch_px = 33}), kConfig, "1 to 32, found 33");
  EXPECT_GRAFT_ERROR(occlusion(model, input(), {.patch_px = -1}), kConfig, "patch_px");
  EXPECT_GRAFT_ERROR(occlusion(model, input(), {.patch_px = 8, .stride_px = 9}), kConfig, "stride_px");
  EXPECT_GRAFT_ERROR(occlusion(model, input(), {.batch_size = 0}), kConfig, "batch_size");
  EXPECT_GRAFT_ERROR(occlusion(model, input(), {.class_id = "x"}), kConfig, "found \"x\"");
  EXPECT_GRAFT_ERROR(occlusion(model, input(), {.precision = Precision::kInt8}), kConfig, "calibrate");
}

TEST(Occlusion, AnAnswerThatNothingChangesHasNoHeat) {
  auto model = load("resnet_scripted");
  model.replace_head(heads::linear({.classes = 2}));
  const at::NoGradGuard no_grad;
  model.named_parameters().at("head.fc.weight").zero_();
  for (const auto& maps : {occlusion(model, input()), grad_cam(model, input())})
    EXPECT_EQ(maps[0].values.abs().max().item<float>(), 0);
}

// --- Both

TEST(Explaining, ManyThreadsSeeWhatOneSees) {
  const auto model = load("resnet_scripted"), fresh = load("resnet_scripted");
  const auto work = [](const Model& which) {
    return at::cat({stacked(grad_cam(which, input())), stacked(grad_cam(which, input(), {.layer = "layer1"})),
                    stacked(occlusion(which, input(), {.patch_px = 16}))});
  };
  const auto expected = work(model);
  std::vector<double> differences(8, HUGE_VAL);
  std::vector<std::thread> threads;
  for (auto& each : differences)
    threads.emplace_back([&] {
      each = 0;
      for (int i = 0; i < 3; ++i) each = std::max(each, difference(work(fresh), expected));
    });
  for (auto& thread : threads) thread.join();
  for (const double each : differences) EXPECT_LE(each, 1e-5);
}

/// A red or a green square somewhere on grey noise.
class Squares : public Dataset {
 public:
  static constexpr int kSide = 64, kSquare = 16;
  std::size_t size() const override { return 120; }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::int64_t label(std::size_t i) const override { return static_cast<std::int64_t>(i % 2); }
  std::string name(std::size_t i) const override { return std::to_string(i); }

  static std::pair<int, int> corner(std::size_t i) {
    std::mt19937_64 engine(i);
    const auto draw = [&] { return static_cast<int>(engine() % (kSide - kSquare + 1)); };
    const int left = draw();
    return {left, draw()};
  }
  Image image(std::size_t i) const override {
    std::mt19937_64 engine(i + 1000);
    std::vector<std::uint8_t> rgb(static_cast<std::size_t>(kSide * kSide * 3));
    const auto [left, top] = corner(i);
    for (int at = 0; at < kSide * kSide * 3; ++at) {
      const int c = at % 3, x = at / 3 % kSide, y = at / 3 / kSide;
      const bool inside = x >= left && x < left + kSquare && y >= top && y < top + kSquare;
      rgb[static_cast<std::size_t>(at)] =
          static_cast<std::uint8_t>((inside ? (c == label(i) ? 220 : 20) : 100) + engine() % 30);
    }
    return Image(kSide, kSide, std::move(rgb));
  }

 private:
  std::vector<std::string> classes_{"red", "green"};
};

TEST(Explaining, TheHeatIsWhereTheObjectIs) {
  const Squares data;
  auto model = tiny_model({16, 16, 16});
  model.unfreeze();
  Trainer(model, {.optimizer = Adam{.learning_rate = 0.02}}).fit(data, {.epochs = 8, .batch_size = 20});
  ASSERT_EQ(Trainer(model).evaluate(data).accuracy, 1);
  for (std::size_t i = 0; i < 12; ++i) {
    const auto picture = data.image(i);
    const auto [left, top] = Squares::corner(i);
    for (const auto& [map, what] :
         {std::pair(grad_cam(model, picture), "Grad-CAM"),
          std::pair(occlusion(model, picture, {.patch_px = 8, .stride_px = 4}), "occlusion")}) {
      EXPECT_EQ(map.explained.label, data.classes()[i % 2]);
      const auto peak = map.values.argmax().item<std::int64_t>();
      const auto x = peak % Squares::kSide, y = peak / Squares::kSide;
      EXPECT_TRUE(x >= left - 2 && x < left + Squares::kSquare + 2 && y >= top - 2 && y < top + Squares::kSquare + 2)
          << what << " of picture " << i << ": hottest at " << x << ", " << y << ", the square is at " << left << ", "
          << top;
      const auto inside = map.values.narrow(0, top, Squares::kSquare).narrow(1, left, Squares::kSquare).sum();
      const double share = (inside / map.values.sum()).item<double>();
      EXPECT_GT(share, 0.4) << what << " of picture " << i;  // its share of the picture is 0.06
    }
  }
}

// --- Overlays

Image plain(int width, int height, std::uint8_t grey) {
  return Image(width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(width * height * 3), grey));
}

std::array<int, 3> pixel(const Image& image, int x, int y) {
  const auto* at = image.rgb().data() + (static_cast<std::ptrdiff_t>(y) * image.width_px() + x) * 3;
  return {at[0], at[1], at[2]};
}

TEST(Overlay, ColoursAreMatplotlibs) {
  const auto reference = nlohmann::json::parse(slurp(golden("explain/colormaps.json")));
  double largest = 0;
  for (const auto& [name, colours] : reference.items()) {
    const auto heat = at::linspace(0, 1, 16).unsqueeze(0).contiguous();
    const auto drawn = overlay(plain(16, 1, 255), heat, Preprocessing::parse("torch,resize=none,crop=16x1"),
                               {.colormap = parse_colormap(name), .opacity = 1});
    for (int i = 0; i < 16; ++i) {
      for (std::size_t c = 0; c < 3; ++c) {
        const double colour = colours[static_cast<std::size_t>(i)][c], share = i / 15.0;
        largest = std::max(largest, std::abs(pixel(drawn, i, 0)[c] - (255 * (1 - share) + colour * share)));
      }
    }
    EXPECT_EQ(to_string(parse_colormap(name)), name);
  }
  EXPECT_TRUE(measured("colours beside matplotlib's", largest, 3));
  EXPECT_GRAFT_ERROR(parse_colormap("jet"), kConfig, "viridis, magma or turbo, found \"jet\"");
}

TEST(Overlay, LiesWhereTheNetworkLooked) {
  // 300 x 200 becomes 60 x 40, of which the middle 32 x 32 is seen: columns 70 to 230, rows 20 to 180 of the picture.
  const auto preprocessing = Preprocessing::parse("torch,resize=40,crop=32");
  auto heat = at::zeros({32, 32});
  heat[4][27] = 1;  // its middle at column 70 + 27.5 * 5, row 20 + 4.5 * 5
  const auto drawn = overlay(plain(300, 200, 200), heat, preprocessing, {.opacity = 0.5, .outside = 0.25});
  ASSERT_EQ(drawn.width_px(), 300);
  ASSERT_EQ(drawn.height_px(), 200);
  const std::array<int, 3> dimmed{50, 50, 50}, cold{200, 200, 200}, hot{227, 216, 119};  // (200 + viridis) / 2
  for (int y = 0; y < 200; y += 3) {
    for (int x = 0; x < 300; x += 3) {
      const bool seen = x >= 70 && x < 230 && y >= 20 && y < 180;
      const bool near = std::abs(x - 207) < 6 && std::abs(y - 42) < 6;
      if (!seen) {
        EXPECT_EQ(pixel(drawn, x, y), dimmed) << x << ", " << y;
      } else if (!near) {
        EXPECT_EQ(pixel(drawn, x, y), cold) << x << ", " << y;
      }
    }
  }
  for (std::size_t c = 0; c < 3; ++c) EXPECT_NEAR(pixel(drawn, 207, 42)[c], hot[c], 1);
}

TEST(Overlay, OfAStretchedPictureCoversAllOfIt) {
  const auto drawn = overlay(plain(50, 80, 10), at::ones({32, 32}), Preprocessing::caffe_mode(32), {.opacity = 1});
  for (const auto& [x, y] : {std::pair(0, 0), std::pair(49, 79)})
    EXPECT_EQ(pixel(drawn, x, y), (std::array{253, 231, 37}));
}

TEST(Overlay, LargePicturesAreShrunk) {
  const auto preprocessing = Preprocessing::parse("torch,resize=40,crop=32");
  const auto drawn =
      overlay(plain(600, 300, 100), at::ones({32, 32}), preprocessing, {.outside = 0, .longest_side_px = 100});
  EXPECT_EQ(drawn.width_px(), 100);
  EXPECT_EQ(drawn.height_px(), 50);
  EXPECT_EQ(pixel(drawn, 29, 25), (std::array{0, 0, 0}));  // columns 30 to 70 are seen
  EXPECT_NE(pixel(drawn, 30, 25), (std::array{0, 0, 0}));
  EXPECT_NE(pixel(drawn, 69, 5), (std::array{0, 0, 0}));
  EXPECT_EQ(pixel(drawn, 70, 25), (std::array{0, 0, 0}));
  EXPECT_GT(drawn.encode_jpeg().size(), 100u);
}

TEST(Overlay, RefusesWhatIsNoHeatMap) {
  const auto picture = plain(8, 8, 0);
  const auto p = Preprocessing::caffe_mode(32);
  EXPECT_GRAFT_ERROR(overlay(Image(), at::ones({2, 2}), p), kConfig, "empty");
  EXPECT_GRAFT_ERROR(overlay(picture, at::ones({1, 2, 2}), p), kConfig, "[1, 2, 2]");
  EXPECT_GRAFT_ERROR(overlay(picture, at::ones({2, 2}, at::kDouble), p), kConfig, "Double");
  EXPECT_GRAFT_ERROR(overlay(picture, at::Tensor(), p), kConfig, "undefined");
  EXPECT_GRAFT_ERROR(overlay(picture, at::ones({2, 2}), p, {.opacity = 1.5}), kConfig, "opacity");
  EXPECT_GRAFT_ERROR(overlay(picture, at::ones({2, 2}), p, {.outside = -1}), kConfig, "outside");
  EXPECT_GRAFT_ERROR(overlay(picture, at::ones({2, 2}), p, {.longest_side_px = 0}), kConfig, "longest_side_px");
}

}  // namespace
}  // namespace graft
