#include <graft/search_report.h>

#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace graft {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::size_t count(const std::string& page, const std::string& what) {
  std::size_t found = 0;
  for (auto at = page.find(what); at != page.npos; at = page.find(what, at + 1)) ++found;
  return found;
}

SweepRun run(const std::string& freeze, const std::string& head, std::optional<double> rate, double accuracy) {
  SweepRun made{.freeze = freeze, .head = head, .learning_rate = rate, .trainable = 2049};
  for (const double part : {0.5, 1.0})
    made.history.epochs.push_back(
        {.loss = 0.5, .accuracy = 0.6, .val_loss = 1 - part * accuracy, .val_accuracy = part * accuracy, .seconds = 1});
  made.history.best = 1;
  return made;
}

TEST(SearchReport, ASweepIsDrawnOverItsRates) {
  const auto page = to_html(std::vector{run("all", "linear", 1e-3, 0.75), run("all", "linear", 0.01, 0.85),
                                        run("all", "<mlp>", 1e-3, 0.65), run("all", "<mlp>", 0.01, 0.95)});
  EXPECT_THAT(page, HasSubstr("Sweep of 4 runs"));
  EXPECT_THAT(page, HasSubstr("data-name=\"learning rate\" data-labels=\"0.001|0.01\""));
  EXPECT_THAT(page, HasSubstr("data-values=\"75.00\xC2\xA0%|85.00\xC2\xA0%\""));
  EXPECT_THAT(page, HasSubstr("data-values=\"65.00\xC2\xA0%|95.00\xC2\xA0%\""));
  EXPECT_THAT(page, HasSubstr("0.01, &lt;mlp&gt;"));
  EXPECT_THAT(page, Not(HasSubstr("<mlp>")));
  EXPECT_THAT(page, HasSubstr("2049"));
}

TEST(SearchReport, ASweepIsDrawnOverWhatVaries) {
  const auto frozen = to_html(std::vector{run("all", "linear", {}, 0.75), run("none", "linear", {}, 0.5)});
  EXPECT_THAT(frozen, HasSubstr("data-name=\"frozen\" data-labels=\"all|none\""));
  EXPECT_THAT(frozen, HasSubstr("default"));
  const auto one = to_html(std::vector{run("all", "linear", {}, 0.75)});
  EXPECT_THAT(one, HasSubstr("Sweep of 1 run<"));
  EXPECT_THAT(one, Not(HasSubstr("What was varied")));
  EXPECT_GRAFT_ERROR(to_html(std::vector<SweepRun>()), kConfig, "none");
}

TEST(SearchReport, ARunOfASweepThatDivergedSaysSo) {
  SweepRun wild{.freeze = "all", .head = "linear", .learning_rate = 10, .error = "the loss is inf"};
  const auto page = to_html(std::vector{run("all", "linear", 1e-3, 0.75), run("all", "linear", 0.01, 0.85), wild});
  EXPECT_THAT(page, HasSubstr("data-labels=\"0.001|0.01|10\""));
  EXPECT_THAT(page, HasSubstr("the loss is inf"));
  const auto none = to_html(std::vector{run("all", "linear", 1e-3, 0.75)});
  EXPECT_THAT(none, Not(HasSubstr("diverged")));
  EXPECT_THAT(to_html(std::vector{wild}), HasSubstr("the loss is inf"));
}

TEST(SearchReport, ARateTestShowsItsSuggestion) {
  const LrCurve curve{
      .rates = {1e-4, 1e-3, 1e-2}, .losses = {0.9, 0.5, 2.25}, .smoothed = {0.9, 0.7, 1.5}, .suggestion = 1e-3};
  const auto page = to_html(curve);
  EXPECT_THAT(page, HasSubstr("Learning rate 0.001 suggested"));
  EXPECT_THAT(page, HasSubstr("data-labels=\"0.0001|0.001|0.01\""));
  EXPECT_THAT(page, HasSubstr("data-values=\"0.9000|0.7000|1.5000\""));
  EXPECT_EQ(count(page, "<line class=\"best\" x1=\"219.0\""), 1u);  // the middle
  EXPECT_GRAFT_ERROR(to_html(LrCurve{}), kConfig, "none");
}

}  // namespace
}  // namespace graft
