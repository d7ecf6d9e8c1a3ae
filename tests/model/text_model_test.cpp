#include <algorithm>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <graft/deploy.h>
#include <graft/model.h>
#include <graft/quantize.h>

#include "support/expect_error.h"
#include "support/golden.h"
#include "support/measured.h"

namespace graft {
namespace {

Model tiny() { return Model::load(testing::golden("text/tiny.pt")); }

struct Embedded {
  std::string text;
  at::Tensor embedding;                      ///< [C]
  std::map<std::string, at::Tensor> layers;  ///< [C] each
};

std::vector<Embedded> of_pytorch() {
  const auto numbers = [](const nlohmann::json& j) { return at::tensor(j.get<std::vector<double>>()).to(at::kFloat); };
  std::vector<Embedded> all;
  for (const auto& entry : nlohmann::json::parse(testing::slurp(testing::golden("text/embeddings.json")))) {
    all.push_back({entry["text"], numbers(entry["embedding"]), {}});
    for (const auto& [layer, mean] : entry["layers"].items()) all.back().layers[layer] = numbers(mean);
  }
  return all;
}

std::vector<std::string> texts_of(const std::vector<Embedded>& all) {
  std::vector<std::string> texts;
  for (const auto& one : all) texts.push_back(one.text);
  return texts;
}

double difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().nan_to_num(/*nan=*/1).max().item<double>();
}

TEST(TextModel, EmbeddingsArePyTorchs) {
  const auto model = tiny();
  const auto expected = of_pytorch();
  const auto texts = texts_of(expected);
  ASSERT_GT(texts.size(), 20u);
  const auto found = model.embed(texts);
  double together = 0, alone = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    together = std::max(together, difference(found[row], expected[i].embedding));
    alone = std::max(alone, difference(model.embed(std::vector{texts[i]})[0], expected[i].embedding));
  }
  EXPECT_TRUE(testing::measured("embeddings of texts in a batch, with padding", together, 1e-5));
  EXPECT_TRUE(testing::measured("embeddings text by text", alone, 1e-5));
  EXPECT_TRUE(testing::close(found.norm(2, 1), at::ones({found.size(0)}), 1e-5));
}

TEST(TextModel, ALayersOutputIsAveragedOverWhatIsNoPadding) {
  const auto model = tiny();
  const auto expected = of_pytorch();
  for (const std::string layer : {"embeddings", "encoder.layer.0", "encoder.layer.1"}) {
    const auto found = model.embed(texts_of(expected), layer);
    double largest = 0;
    for (std::size_t i = 0; i < expected.size(); ++i)
      largest = std::max(largest, difference(found[static_cast<std::int64_t>(i)], expected[i].layers.at(layer)));
    EXPECT_TRUE(testing::measured("means of " + layer, largest, 1e-4));
  }
}

TEST(TextModel, AnEncoderHasNoHeadUntilItIsGivenOne) {
  auto model = tiny();
  const std::vector<std::string> texts{"a ship on the sea", "the sun"};
  EXPECT_TRUE(takes_text(model.input()));
  EXPECT_EQ(model.head_name(), "");
  EXPECT_EQ(model.inspect().features_layer, "pooling");
  EXPECT_EQ(model.inspect().input_shape, (std::vector<std::int64_t>{1, 16}));
  EXPECT_GRAFT_ERROR(model.classify(texts), kConfig, "has no head");
  EXPECT_GRAFT_ERROR(model.predict(model.tokenizer().encode(texts)), kConfig, "has no head");

  const auto before = model.embed(texts);
  for (const auto& cut : {Cut::features(), Cut::penultimate(), Cut::before("pooling")}) {
    model.replace_head(heads::linear({.classes = 3, .seed = 1}), cut);
    EXPECT_TRUE(model.head_name().starts_with("head"));
    EXPECT_EQ(model.classify(texts)[0].size(), 3u);
    if (cut.str() == "pooling") {
      EXPECT_EQ(model.embed(texts).sizes(), before.sizes());  // the mean of the tokens, not of length 1
    } else {
      EXPECT_TRUE(testing::close(model.embed(texts), before, 1e-6)) << cut.str();
    }
    model = tiny();
  }
}

TEST(TextModel, StagesAreTheLayersOfTheEncoder) {
  auto model = tiny();
  model.replace_head(heads::linear({.classes = 3}));
  EXPECT_EQ(model.stages(),
            (std::vector<std::vector<std::string>>{{"embeddings"}, {"encoder.layer.0"}, {"encoder.layer.1"}}));
  const auto trainable = [&] {
    std::set<std::string> layers;
    for (const auto& [name, tensor] : model.trainable_parameters()) layers.insert(name.substr(0, name.find('.', 15)));
    return layers;
  };
  model.freeze();
  EXPECT_EQ(model.trainable_parameters().size(), 2u);
  for (const char* spec : {"stages:2", "until:encoder.layer.1"}) {
    model.apply_freeze(spec);
    EXPECT_EQ(trainable(), (std::set<std::string>{"encoder.layer.1", "head.fc.bias", "head.fc.weight"})) << spec;
  }
}

TEST(TextModel, SavedAndLoadedItIsTheSame) {
  const testing::Scratch scratch;
  const std::vector<std::string> texts{"a ship on the sea", "Caf\xc3\xa9 \xe4\xb8\xad\xe6\x96\x87"};
  auto model = tiny();
  model.replace_head(heads::mlp({.hidden = {5}, .classes = 2, .seed = 3}));
  model.set_labels({{"sea", "the sea"}, {"town", "a town"}});
  model.freeze();
  model.save(scratch / "saved.pt");
  const auto loaded = Model::load(scratch / "saved.pt");
  EXPECT_EQ(loaded.tokenizer(), model.tokenizer());
  EXPECT_EQ(loaded.labels(), model.labels());
  EXPECT_EQ(loaded.trainable_parameters().size(), model.trainable_parameters().size());
  const auto batch = model.tokenizer().encode(texts);
  EXPECT_TRUE(at::equal(loaded.forward(batch), model.forward(batch)));
  EXPECT_EQ(loaded.classify(texts)[1][0].label, model.classify(texts)[1][0].label);

  // The answer to its golden text is looked at: another tokenizer gives another.
  auto options = model.tokenizer().options();
  options.max_length = 3;
  const auto other =
      Model::load(scratch / "saved.pt", {.tokenizer = Tokenizer(model.tokenizer().vocabulary(), options)});
  EXPECT_EQ(other.tokenizer().options().max_length, 3);
  EXPECT_GRAFT_ERROR(Model::load(scratch / "saved.pt", {.preprocessing = Preprocessing()}), kConfig,
                     "expected a network for pictures, found one that takes texts");
}

TEST(TextModel, TritonIsToldOfTokens) {
  const testing::Scratch scratch;
  auto model = tiny();
  model.replace_head(heads::linear({.classes = 2}));
  const auto config = testing::slurp(export_triton(model, scratch.path(), {.name = "topics"}).config);
  EXPECT_NE(config.find("data_type: TYPE_INT64\n    dims: [ -1 ]"), std::string::npos) << config;
  EXPECT_NE(config.find("key: \"graft_tokenizer\""), std::string::npos);
}

TEST(TextModel, WhatIsForPicturesIsRefused) {
  auto model = tiny();
  model.replace_head(heads::linear({.classes = 2}));
  const std::vector<Image> pictures{Image(4, 4, std::vector<std::uint8_t>(48))};
  EXPECT_GRAFT_ERROR(model.classify(pictures), kMismatch, "this network takes texts");
  EXPECT_GRAFT_ERROR(model.embed(pictures), kMismatch, "this network takes texts");
  EXPECT_GRAFT_ERROR(model.preprocessing(), kMismatch, "this network takes texts");
  EXPECT_GRAFT_ERROR(model.set_preprocessing(Preprocessing()), kMismatch, "this network takes texts");
  EXPECT_GRAFT_ERROR(model.forward(at::zeros({1, 3, 8, 8})), kMismatch,
                     "of tokens [N, T] of int64, found [1, 3, 8, 8]");
  EXPECT_GRAFT_ERROR(model.forward(at::zeros({2, 8})), kMismatch, "found [2, 8] of Float");
  EXPECT_GRAFT_ERROR(model.forward(at::full({1, 4}, 99999, at::kLong)), kMismatch,
                     "expected tokens from 0 to 2511, found 99999");
  EXPECT_GRAFT_ERROR(model.forward(at::full({1, 4}, -1, at::kLong)), kMismatch, "found -1");
  EXPECT_GRAFT_ERROR(model.forward(at::full({1, 100}, 5, at::kLong)), kMismatch, "");  // longer than it has places for
  EXPECT_EQ(inspect_plan(model).obstacle, "it takes texts");

  const auto for_pictures = Model::load(testing::golden("networks/resnet_scripted.pt"));
  EXPECT_FALSE(takes_text(for_pictures.input()));
  EXPECT_GRAFT_ERROR(for_pictures.embed(std::vector<std::string>{"a"}), kMismatch, "this network takes pictures");
  EXPECT_GRAFT_ERROR(for_pictures.tokenizer(), kMismatch, "this network takes pictures");
}

}  // namespace
}  // namespace graft
