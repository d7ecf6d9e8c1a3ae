#include <graft/html_report.h>

#include <functional>
#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <graft/dataset.h>
#include <graft/image.h>
#include <graft/report.h>

#include "report/markup.h"
#include "support/drawn_dataset.h"
#include "support/expect_error.h"
#include "support/files.h"
#include "support/scratch.h"

namespace graft {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::byte> bytes_of(const std::filesystem::path& path) {
  const std::string file = testing::slurp(path);
  const auto bytes = std::as_bytes(std::span(file));
  return {bytes.begin(), bytes.end()};
}

ReportPicture picture(const std::string& caption) {
  return {bytes_of(testing::golden("images/photo.jpg")), caption, ""};
}

/// Two classes, one of which is never confused.
Evaluation evaluation(const std::vector<std::string>& names) {
  Evaluation result;
  result.examples = 10;
  result.loss = 0.25;
  result.accuracy = 0.8;
  result.per_class = {{names[0], 4, 0.6667, 1, 0.8}, {names[1], 6, 1, 0.6667, 0.8}};
  result.confusion = {{4, 0}, {2, 4}};
  result.tasks.resize(1);
  result.bad_images = {{"broken.jpg", "broken.jpg: truncated"}};
  return result;
}

History history() {
  History result;
  result.frozen_unchanged = true;
  result.images_per_second = 12;
  for (int i = 0; i < 4; ++i)
    result.epochs.push_back({.loss = 1.0 / (i + 1),
                             .accuracy = 0.5 + 0.1 * i,
                             .val_loss = 0.9 - 0.1 * i,
                             .val_accuracy = 0.6 + 0.05 * i,
                             .learning_rate = 1e-3,
                             .seconds = 2});
  result.best = 3;
  return result;
}

/// Everything that a report can have.
Report whole() {
  Report report{.title = "ants and bees"};
  report.settings = {{"lr", "0.001"}, {"head", "linear"}};
  report.history = history();
  report.evaluations = {{"validation", evaluation({"ants", "bees"})}};
  report.top_losses = {{.name = "bees/1.jpg",
                        .label = "bees",
                        .guess = "ants",
                        .probability = 0.9,
                        .loss = 2.3,
                        .picture = picture("a bee"),
                        .heat_map = picture("heat map")}};
  report.augmentation_sheet = picture("sheet");
  report.pictures = {picture("map of features")};
  report.findings = {{{FindingCode::kOverfitting, Severity::kWarning, "epoch 3", "99 % and 60 %", "Augment more."}}};
  report.hashes = {{"model", std::string(64, 'a')}};
  return report;
}

/// The ids of the headings of sections.
std::set<std::string> sections(const std::string& page) {
  std::set<std::string> found;
  const std::string before = "<section aria-labelledby=\"";
  for (auto at = page.find(before); at != std::string::npos; at = page.find(before, at + 1)) {
    const auto from = at + before.size();
    found.insert(page.substr(from, page.find('"', from) - from));
  }
  return found;
}

TEST(HtmlReport, HasASectionExactlyWhereThereIsData) {
  const std::set<std::string> all = {"overview",     "findings", "curves",     "evaluation-1", "top-losses",
                                     "augmentation", "pictures", "unreadable", "settings",     "hashes"};
  EXPECT_EQ(sections(to_html(whole())), all);
  EXPECT_EQ(sections(to_html(Report{.title = "nothing"})), std::set<std::string>());

  const std::vector<std::pair<std::set<std::string>, std::function<void(Report&)>>> parts = {
      {{"overview", "curves"}, [](Report& r) { r.history.reset(); }},
      {{"findings"}, [](Report& r) { r.findings.reset(); }},
      {{"evaluation-1", "unreadable"}, [](Report& r) { r.evaluations.clear(); }},
      {{"top-losses"}, [](Report& r) { r.top_losses.clear(); }},
      {{"augmentation"}, [](Report& r) { r.augmentation_sheet.reset(); }},
      {{"pictures"}, [](Report& r) { r.pictures.clear(); }},
      {{"settings"}, [](Report& r) { r.settings.clear(); }},
      {{"hashes"}, [](Report& r) { r.hashes.clear(); }}};
  for (const auto& [gone, remove] : parts) {
    Report report = whole();
    remove(report);
    std::set<std::string> expected = all;
    for (const auto& id : gone) expected.erase(id);
    const auto page = to_html(report);
    EXPECT_EQ(sections(page), expected);
    for (const auto& id : all)
      EXPECT_EQ(page.find("href=\"#" + id + "\"") != std::string::npos, expected.contains(id)) << id;
  }
}

TEST(HtmlReport, ShowsItsFigures) {
  const auto page = to_html(whole());
  for (const char* shown : {"75.00\xC2\xA0%", "epoch 4 of 4", "overfitting", "Augment more.", "bees taken for ants",
                            "0.6667", "broken.jpg: truncated", "aria-labelledby=\"loss-title\"", "12.0 examples/s"})
    EXPECT_THAT(page, HasSubstr(shown));
  EXPECT_THAT(page, Not(HasSubstr("interrupted")));
  Report fine = whole();
  fine.history->interrupted = true;
  fine.history->resumed_at = 2;
  fine.findings->clear();
  EXPECT_THAT(to_html(fine), AllOf(HasSubstr("Nothing was found that should be changed."), HasSubstr("interrupted"),
                                   HasSubstr(">epoch 3<")));
}

TEST(HtmlReport, ShowsCalibrationAndIntervals) {
  Report report{.title = "t", .evaluations = {{"", evaluation({"ants", "bees"})}}};
  EXPECT_THAT(to_html(report), Not(HasSubstr("Calibration")));
  auto& scores = report.evaluations[0].evaluation;
  scores.reliability.resize(15);
  scores.reliability[14] = {.count = 8, .confidence = 0.99, .accuracy = 1};
  scores.reliability[9] = {.count = 2, .confidence = 0.63, .accuracy = 0};
  scores.accuracy_interval = {.low = 0.5, .high = 0.95};
  scores.roc_auc = 0.875;
  scores.per_class[0].roc_auc = 0.75;
  scores.rejection = {.reject_below = 0.9, .coverage = 0.8, .accuracy = 1.0};
  const auto page = to_html(report);
  // Mean confidence (8 * 0.99 + 2 * 0.63) / 10.
  for (const char* shown :
       {"<h2 id=\"evaluation-1\">Evaluation</h2>", "95\xC2\xA0% interval 50.00\xC2\xA0% to 95.00\xC2\xA0%", "0.8750",
        "0.7500", "Mean confidence 91.80\xC2\xA0%, accuracy 80.00\xC2\xA0%",
        "60.00\xC2\xA0% to 66.67\xC2\xA0%</th><td class=\"number\"", "accuracy of the answers 100.00\xC2\xA0%"})
    EXPECT_THAT(page, HasSubstr(shown));
  // One bar that is too sure by all of its confidence, one that is not.
  EXPECT_THAT(page, HasSubstr("class=\"gap over\""));
  EXPECT_THAT(page, HasSubstr("class=\"gap under\""));
}

TEST(HtmlReport, TextIsNeverMarkup) {
  const std::string hostile = "<script>alert('1')</script>\"><img src=x onerror=\"alert(2)\">&amp;\x01";
  const std::string shown =
      "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&gt;&lt;img src=x "
      "onerror=&quot;alert(2)&quot;&gt;&amp;amp;\xEF\xBF\xBD";
  Report report = whole();
  report.title = hostile;
  report.settings = {{hostile, hostile}};
  report.phases = {hostile, hostile};
  report.evaluations = {{hostile, evaluation({hostile, "x" + hostile})}};
  report.evaluations[0].evaluation.bad_images = {{hostile, hostile}};
  report.top_losses[0].name = report.top_losses[0].label = report.top_losses[0].guess = hostile;
  report.augmentation_sheet->caption = report.augmentation_sheet->description = hostile;
  report.pictures[0].caption = hostile;
  report.findings = {{{.where = hostile, .seen = hostile, .change = hostile}}};
  report.hashes = {{hostile, hostile}};
  const auto page = to_html(report);
  const std::vector<ReportDocument> two = {{hostile, to_json(report)}, {"b" + hostile, to_json(whole())}};
  for (const auto& one : {page, to_html(two)}) {
    EXPECT_THAT(one, Not(HasSubstr("<script>alert")));
    EXPECT_THAT(one, Not(HasSubstr("<img src=x")));
    EXPECT_THAT(one, Not(HasSubstr("onerror=\"")));
  }
  std::size_t times = 0;
  for (auto at = page.find(shown); at != std::string::npos; at = page.find(shown, at + 1)) ++times;
  EXPECT_GE(times, 20u);
}

TEST(HtmlReport, TheSameInputGivesTheSameBytesAlsoByWayOfItsJson) {
  const auto page = to_html(whole());
  EXPECT_EQ(page, to_html(whole()));
  const std::vector<ReportDocument> document = {{"run", to_json(whole())}};
  EXPECT_EQ(page, to_html(document));
  const testing::Scratch scratch;
  write_html(scratch / "report.html", whole());
  EXPECT_EQ(testing::slurp(scratch / "report.html"), page);
}

TEST(HtmlReport, FetchesNothing) {
  const auto page = to_html(whole());
  EXPECT_THAT(page, HasSubstr("default-src &#39;none&#39;"));
  EXPECT_THAT(page, Not(HasSubstr("http:")));
  EXPECT_THAT(page, Not(HasSubstr("https:")));
  EXPECT_THAT(page, Not(HasSubstr("url(")));
}

TEST(HtmlReport, ReplacesWhatIsNotUtf8) {
  Report report{.title =
                    "a\xFF"
                    "b"};
  EXPECT_THAT(to_html(report), HasSubstr("<h1>a\xEF\xBF\xBD"
                                         "b</h1>"));
}

TEST(HtmlReport, RefusesOtherFilesThanPngAndJpeg) {
  Report report{.title = "t"};
  report.pictures = {{{std::byte{'<'}, std::byte{'s'}}, "drawing.svg", ""}};
  EXPECT_GRAFT_ERROR(to_html(report), kFormat, "drawing.svg");
  const testing::Scratch scratch;
  EXPECT_GRAFT_ERROR(write_html(scratch / "r.html", report), kFormat, "expected a PNG or JPEG");
  EXPECT_FALSE(std::filesystem::exists(scratch / "r.html"));
  report.pictures = {{bytes_of(testing::golden("images/grey.png")), "", ""}};
  EXPECT_THAT(to_html(report), HasSubstr("src=\"data:image/png;base64,iVBOR"));
}

TEST(HtmlReport, HandlesHistoriesWithoutValidationAndNumbersThatAreNone) {
  Report report{.title = "t", .history = history()};
  for (auto& epoch : report.history->epochs) {
    epoch.val_loss.reset();
    epoch.val_accuracy.reset();
  }
  report.history->epochs[1].loss = std::numeric_limits<double>::quiet_NaN();
  const auto page = to_html(report);
  EXPECT_THAT(page, Not(HasSubstr(">validation<")));
  EXPECT_THAT(page, Not(HasSubstr("nan")));
  EXPECT_THAT(page, Not(HasSubstr("class=\"best\"")));
  report.history->epochs.resize(1);
  EXPECT_THAT(to_html(report), HasSubstr("<circle"));  // a single point is a marker
  report.history->epochs.clear();
  EXPECT_EQ(sections(to_html(report)), std::set<std::string>());
}

TEST(HtmlReport, ShowsPhasesAndTheRatesOfGroups) {
  Report report{.title = "t", .history = history(), .phases = {"the head alone"}};
  auto& epochs = report.history->epochs;
  epochs[2].phase = epochs[3].phase = 1;
  for (auto& epoch : epochs) epoch.learning_rates = {{"head", 1e-3}};
  epochs[3].learning_rates.push_back({"stage 4", 2.5e-4});
  const auto page = to_html(report);
  EXPECT_THAT(page, HasSubstr("the head alone</td>"));
  EXPECT_THAT(page, HasSubstr("phase 2</td>"));  // not named
  EXPECT_THAT(page, HasSubstr("<li data-values=\"0.001|0.001|0.001|0.001\">"));
  EXPECT_THAT(page, HasSubstr("<li data-values=\"-|-|-|0.00025\">"));
  EXPECT_THAT(page, HasSubstr("rate of stage 4"));
  EXPECT_THAT(to_html(whole()), Not(HasSubstr("class=\"stretch\"")));
}

TEST(HtmlReport, ListsConfusionsWhereAMatrixWouldBeTooLarge) {
  constexpr std::size_t kClasses = 50;
  Evaluation large;
  large.confusion.assign(kClasses, std::vector<std::int64_t>(kClasses, 0));
  for (std::size_t i = 0; i < kClasses; ++i) {
    large.per_class.push_back({"class " + std::to_string(i), 2, 1, 1, 1});
    large.confusion[i][i] = 2;
  }
  large.confusion[7][8] = 1;
  Report report{.title = "t", .evaluations = {{"val", large}}};
  const auto page = to_html(report);
  EXPECT_THAT(page, Not(HasSubstr("<table class=\"confusion")));
  EXPECT_THAT(page, HasSubstr("class 7</th><td class=\"name\">class 8</td>"));
  EXPECT_THAT(page, HasSubstr("33.33\xC2\xA0%"));
}

TEST(HtmlReport, ShowsTasksOfOtherKinds) {
  Evaluation several;
  several.tasks = {{.name = "age", .kind = TaskKind::kRegression, .loss = 0.5, .mean_absolute_error = 1.25, .r2 = 0.5},
                   {.name = "tags",
                    .kind = TaskKind::kMultiLabel,
                    .loss = 0.5,
                    .mean_average_precision = 0.75,
                    .per_class = {{"red", 3, 1, 1, 1}}}};
  const auto page = to_html(Report{.title = "t", .evaluations = {{"val", several}}});
  for (const char* shown : {"age", "regression", "1.2500", "tags", "multi_label", "0.7500", ">red<"})
    EXPECT_THAT(page, HasSubstr(shown));
  EXPECT_THAT(page, Not(HasSubstr("top-5")));
}

TEST(Comparison, ShowsWhatDiffersAndWhatIsBest) {
  Report other = whole();
  other.settings = {{"lr", "0.01"}, {"head", "linear"}};
  other.history->epochs.back().val_accuracy = 0.5;
  other.history->best = 2;
  const std::vector<ReportDocument> runs = {{"slow", to_json(whole())}, {"fast", to_json(other)}};
  const auto page = to_html(runs);
  EXPECT_EQ(sections(page), (std::set<std::string>{"results", "curves", "classes", "settings", "hashes"}));
  const auto differing = page.substr(page.find("Settings that differ"),
                                     page.find("Settings that do not differ") - page.find("Settings that differ"));
  EXPECT_THAT(
      differing,
      HasSubstr("<th scope=\"row\" class=\"name\">lr</th><td class=\"name\">0.001</td><td class=\"name\">0.01</td>"));
  EXPECT_THAT(differing, Not(HasSubstr("linear")));
  EXPECT_THAT(page, HasSubstr("best: </span> 75.00\xC2\xA0%"));
  EXPECT_THAT(page, Not(HasSubstr("best: </span> 70.00\xC2\xA0%")));
  EXPECT_THAT(page, HasSubstr("None differ."));  // of the hashes
}

TEST(Comparison, RefusesWhatIsNoReport) {
  const auto of = [](const std::string& json) { return std::vector<ReportDocument>{{"runs/a", json}}; };
  EXPECT_GRAFT_ERROR(to_html(std::vector<ReportDocument>{}), kConfig, "at least one");
  EXPECT_GRAFT_ERROR(to_html(of("{\"graft")), kFormat, "runs/a: expected a report's JSON");
  EXPECT_GRAFT_ERROR(to_html(of("[]")), kFormat, "runs/a");
  EXPECT_GRAFT_ERROR(to_html(of("{\"graft_report\": 2}")), kFormat, "found 2");
  EXPECT_GRAFT_ERROR(to_html(of("{\"graft_report\": 1, \"settings\": 5}")), kFormat,
                     "runs/a: report: \"settings\": expected a list, found a number");
  EXPECT_GRAFT_ERROR(to_html(of("{\"graft_report\": 1, \"history\": {\"epochs\": [{\"loss\": \"low\"}]}}")), kFormat,
                     "\"loss\": expected a number");
  EXPECT_GRAFT_ERROR(to_html(of("{\"graft_report\": 1, \"pictures\": [{\"file\": \"PHN2Zz4=\"}]}")), kFormat,
                     "PNG or JPEG");
  EXPECT_EQ(sections(to_html(of("{\"graft_report\": 1}"))), std::set<std::string>());
}

TEST(EpochLog, WritesEachEpochOnALine) {
  History run = history();
  run.epochs.resize(2);
  run.epochs[1].val_loss.reset();
  run.epochs[1].loss = std::numeric_limits<double>::infinity();
  EXPECT_EQ(to_csv(run),
            "epoch,phase,loss,accuracy,val_loss,val_accuracy,val_top5_accuracy,learning_rate,seconds\n"
            "1,0,1.0,0.5,0.9,0.6,,0.001,2.0\n"
            "2,0,,0.6,,0.65,,0.001,2.0\n");
  const auto lines = to_json_lines(run);
  const auto end = lines.find('\n');
  const auto first = nlohmann::json::parse(lines.substr(0, end)), second = nlohmann::json::parse(lines.substr(end + 1));
  EXPECT_EQ(first["epoch"], 1);
  EXPECT_EQ(first["val_accuracy"], 0.6);
  EXPECT_TRUE(second["loss"].is_null());
  EXPECT_EQ(lines.back(), '\n');
}

TEST(ContentHash, TellsDataApart) {
  struct Named : testing::DrawnDataset {
    using DrawnDataset::DrawnDataset;
    std::string content_id(std::size_t i) const override { return i < known ? std::to_string(i) + suffix : ""; }
    std::size_t known = 100;
    std::string suffix;
  };
  Named data(6, 2), same(6, 2), longer(7, 2), classes(6, 3), content(6, 2), unknown(6, 2);
  content.suffix = "!";
  unknown.known = 5;
  EXPECT_EQ(content_hash(data).size(), 64u);
  EXPECT_EQ(content_hash(data), content_hash(same));
  for (const auto* other : {&longer, &classes, &content}) EXPECT_NE(content_hash(data), content_hash(*other));
  EXPECT_EQ(content_hash(unknown), "");
}

TEST(Markup, WritesNumbersWithoutALocale) {
  using report::brief, report::decimal, report::percent;
  EXPECT_EQ(decimal(1234.5678, 2), "1234.57");
  EXPECT_EQ(decimal(-0.001, 2), "0.00");
  EXPECT_EQ(decimal(std::numeric_limits<double>::quiet_NaN(), 2), "-");
  EXPECT_EQ(brief(0.0001), "0.0001");
  EXPECT_EQ(brief(0.00001), "1e-5");
  EXPECT_EQ(brief(1.25e-10), "1.25e-10");
  EXPECT_EQ(brief(1234.5), "1234");
  EXPECT_EQ(brief(2e20), "2e20");
  EXPECT_EQ(brief(0), "0");
  EXPECT_EQ(percent(0.98765), "98.77\xC2\xA0%");
}

}  // namespace
}  // namespace graft
