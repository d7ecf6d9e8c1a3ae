// Text for people and programs: the same whatever locale the program has set, in columns whatever the names.
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <graft/doctor.h>
#include <graft/head.h>
#include <graft/html_report.h>
#include <graft/report.h>
#include <graft/trainer.h>

#include "support/drawn_dataset.h"
#include "support/expect_error.h"
#include "support/files.h"
#include "support/german.h"
#include "support/scratch.h"

namespace graft {
namespace {

using graft::testing::DrawnDataset;
using graft::testing::golden;
using graft::testing::Scratch;
using graft::testing::slurp;

/// By name.
using Texts = std::map<std::string, std::string>;

/// What only the clock says is left out.
History without_times(History history) {
  for (auto& epoch : history.epochs) epoch.seconds = 0;
  history.images_per_second = 0;
  return history;
}
Evaluation without_times(Evaluation evaluation) {
  evaluation.images_per_second = 0;
  return evaluation;
}

std::string message_of(const std::function<void()>& fails) {
  try {
    fails();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

/// A fine-tuning run and what is said of it.
Texts run(const std::filesystem::path& folder, bool saves = true) {
  const DrawnDataset train(120, 3), val(60, 3, 32, 9);
  Texts texts;
  auto model = Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
  model.replace_head(heads::mlp({.hidden = {8}, .classes = 3, .dropout = 0.25}));
  model.freeze();
  const FitOptions fit{.epochs = 2, .steps_per_epoch = 4, .batch_size = 4, .checkpoint = {.directory = folder / "run"}};
  Doctor doctor(model, {}, fit);
  for (const auto& finding : doctor.examine_data(train, val).findings)
    texts["findings"] += finding.where + finding.seen + finding.change + "\n";
  Trainer trainer(model, {});
  const auto history = without_times(trainer.fit(train, val, fit));
  const auto evaluation = without_times(trainer.evaluate(val, {.top_losses = 3}));
  if (saves) model.save(folder / "model.pt");
  const auto loaded = Model::load(saves ? folder / "model.pt" : golden("networks/resnet_scripted.pt"));
  const auto logits = model.forward(at::linspace(-1, 1, 3 * 32 * 32).view({1, 3, 32, 32}));
  texts["answers"] = std::string(static_cast<const char*>(logits.const_data_ptr()), logits.nbytes());
  if (saves) {
    const auto zeros = at::zeros({1, 3, 32, 32});
    EXPECT_TRUE(at::equal(loaded.forward(zeros), model.forward(zeros)));
  }

  texts["history"] = to_text(history) + to_json(history) + to_csv(history) + to_json_lines(history);
  texts["evaluation"] = to_text(evaluation) + to_json(evaluation);
  texts["network"] = to_text(loaded.inspect()) + to_json(loaded.inspect());
  const Report report{.title = "a run", .history = history, .evaluations = {{"validation", evaluation}}};
  texts["report"] = to_json(report) + to_html(report);
  texts["preprocessing"] = message_of([] { (void)Preprocessing::parse("torch,resize=0.5"); });
  texts["augmentation"] = message_of([] { (void)Augment::parse("zoom=1.5"); });
  texts["head"] = message_of([] { (void)heads::linear({.classes = 3, .dropout = 1.5}); });
  texts["rate"] = message_of([] { (void)parse_optimizer("sgd", -0.5); });
  texts["fraction"] = message_of([&] { Trainer(model, {.label_smoothing = 1.5}).fit(train, val); });
  return texts;
}

TEST(Locale, WhatIsWrittenAndReadIsTheSameInAnother) {
  const Scratch before, after;
  const auto expected = run(before.path());
  EXPECT_NE(expected.at("evaluation").find("0."), std::string::npos);
  const testing::German german(/*in_cpp=*/false);
  if (!german.works()) GTEST_SKIP() << "no German locale here, and no localedef with its sources";
  char comma[8];
  std::snprintf(comma, sizeof comma, "%.1f", 0.5);
  ASSERT_STREQ(comma, "0,5");
  const auto found = run(after.path());
  for (const auto& [name, text] : expected) EXPECT_EQ(found.at(name), text) << name;
  EXPECT_EQ(slurp(after / "model.pt"), slurp(before / "model.pt"));
}

TEST(Locale, InCppAsWellButForSaving) {
  const Scratch before, after;
  const auto expected = run(before.path(), /*saves=*/false);
  const auto model = Model::load(golden("networks/resnet_scripted.pt"));
  const testing::German german(/*in_cpp=*/true);
  if (!german.works()) GTEST_SKIP() << "no German locale here, and no localedef with its sources";
  const auto found = run(after.path(), /*saves=*/false);
  for (const auto& [name, text] : expected) EXPECT_EQ(found.at(name), text) << name;
  EXPECT_GRAFT_ERROR(model.save(after / "model.pt"), kConfig, "LibTorch writes numbers as 1.234.567 0,5");
  EXPECT_FALSE(std::filesystem::exists(after / "model.pt"));
}

TEST(Text, ColumnsAreOfCharactersNotBytes) {
  const std::string umlaut = "\xc3\xbc", lots = "a" + std::string(10, 'b');
  std::string many;
  for (int i = 0; i < 40; ++i) many += umlaut;
  Evaluation e;
  e.confusion = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
  for (const auto& name : {std::string("gr") + umlaut + "n", many, lots}) e.per_class.push_back({.name = name});
  const auto text = to_text(e);
  std::string both_ends = many.substr(0, 28) + ".." + many.substr(0, 28);
  EXPECT_THAT(text, ::testing::HasSubstr("\ngr" + umlaut + "n" + std::string(26, ' ') + "        0 "));
  EXPECT_THAT(text, ::testing::HasSubstr("\n" + both_ends + "        0 "));
  EXPECT_THAT(text, ::testing::HasSubstr("\n" + lots + std::string(19, ' ') + "        0 "));
}

}  // namespace
}  // namespace graft
