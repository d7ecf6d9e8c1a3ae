#include <graft/search_report.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include <graft/report.h>

#include "base/check.h"
#include "base/translate.h"
#include "report/page.h"

namespace graft::report {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

std::vector<std::string> briefs(const std::vector<double>& values) {
  std::vector<std::string> texts;
  for (const double value : values) texts.push_back(brief(value));
  return texts;
}

Html rates_table(const LrCurve& curve) {
  Table all{.caption = "Every step",
            .columns = {{"learning rate", true}, {"loss", true}, {"smoothed", true}},
            .sortable = true};
  for (std::size_t i = 0; i < curve.rates.size(); ++i)
    all.rows.push_back({{number_cell(curve.rates[i], Unit::kRate), number_cell(curve.losses[i], Unit::kNumber),
                         number_cell(curve.smoothed[i], Unit::kNumber)},
                        curve.rates[i] == curve.suggestion});
  return "<details class=\"card\"><summary>All steps as a table</summary>"_html + table(all) + "</details>"_html;
}

std::string rates_page(const LrCurve& curve) {
  const auto nearest = std::ranges::min_element(
      curve.rates, {}, [&](double rate) { return std::abs(std::log(rate / curve.suggestion)); });
  const Html chart = line_chart({.id = "loss",
                                 .title = "Loss",
                                 .note = "Dotted line: the suggestion, " + brief(curve.suggestion) +
                                         ". Point at the chart, or move through it with the arrow keys, to read it.",
                                 .unit = Unit::kNumber,
                                 .x_name = "learning rate",
                                 .x_labels = briefs(curve.rates),
                                 .series = {{"smoothed", curve.smoothed, 0}},
                                 .best = static_cast<std::size_t>(nearest - curve.rates.begin())});
  return page("Learning rate " + brief(curve.suggestion) + " suggested", "learning rate test",
              {{"rates", "Loss over the learning rate",
                "<div class=\"charts\">"_html + chart + "</div>"_html + rates_table(curve)}});
}

/// What a sweep varies.
struct Dimension {
  std::string name;
  std::vector<std::string> values = {};    ///< of each run
  std::vector<std::string> distinct = {};  ///< in order of appearance
};

std::vector<Dimension> dimensions(const std::vector<SweepRun>& runs) {
  std::array<Dimension, 3> all{{{"learning rate"}, {"frozen"}, {"head"}}};
  for (const auto& run : runs) {
    all[0].values.push_back(run.learning_rate ? brief(*run.learning_rate) : "default");
    all[1].values.push_back(run.freeze);
    all[2].values.push_back(run.head);
  }
  std::vector<Dimension> varied;
  for (auto& one : all) {
    for (const auto& value : one.values)
      if (std::ranges::find(one.distinct, value) == one.distinct.end()) one.distinct.push_back(value);
    if (one.distinct.size() > 1) varied.push_back(std::move(one));
  }
  return varied;
}

/// Of run `i`, the values of dimensions[from...]: "stages:3, linear".
std::string described(const std::vector<Dimension>& dimensions, std::size_t from, std::size_t i) {
  std::string text;
  for (std::size_t d = from; d < dimensions.size(); ++d) text += (text.empty() ? "" : ", ") + dimensions[d].values[i];
  return text;
}

/// The first dimension is the x axis; each combination of the others is a line.
Html accuracy_chart(const std::vector<SweepRun>& runs, const std::vector<Dimension>& varied) {
  if (varied.empty()) return {};
  const auto& x = varied.front();
  LineChart chart{.id = "accuracy",
                  .title = "Validation accuracy, best epoch",
                  .note = "Point at the chart, or move through it with the arrow keys, to read it.",
                  .unit = Unit::kPercent,
                  .x_name = x.name,
                  .x_labels = x.distinct};
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const auto name = varied.size() > 1 ? described(varied, 1, i) : "validation";
    auto series = std::ranges::find(chart.series, name, &Series::name);
    if (series == chart.series.end())
      series = chart.series.insert(series, {name, std::vector<double>(x.distinct.size(), kNone), chart.series.size()});
    const auto place = std::ranges::find(x.distinct, x.values[i]) - x.distinct.begin();
    series->values[static_cast<std::size_t>(place)] =
        runs[i].error.empty() ? runs[i].best().val_accuracy.value_or(kNone) : kNone;
  }
  const Html figure = line_chart(chart);
  return figure.empty() ? Html() : "<div class=\"charts\">"_html + figure + "</div>"_html;
}

std::string sweep_page(const std::vector<SweepRun>& runs) {
  const auto varied = dimensions(runs);
  const bool any_diverged = std::ranges::any_of(runs, [](const SweepRun& run) { return !run.error.empty(); });
  std::vector<NamedRun> named;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const auto& run = runs[i];
    const auto setting = [](const char* name, const std::string& value) {
      return Json{{"name", name}, {"value", value}};
    };
    Json settings{setting("frozen", run.freeze), setting("head", run.head),
                  setting("learning rate", run.learning_rate ? brief(*run.learning_rate) : "default"),
                  setting("trainable parameters", std::to_string(run.trainable))};
    if (any_diverged) settings.push_back(setting("diverged", run.error.empty() ? "no" : run.error));
    named.push_back({varied.empty() ? run.freeze + ", " + run.head : described(varied, 0, i),
                     {{"history", Json::parse(to_json(run.history))}, {"settings", std::move(settings)}}});
  }
  return comparison_page(named, "Sweep of " + std::to_string(runs.size()) + (runs.size() == 1 ? " run" : " runs"),
                         {"varied", "What was varied", accuracy_chart(runs, varied)});
}

}  // namespace

}  // namespace graft::report

namespace graft {

std::string to_html(const LrCurve& curve) {
  if (curve.rates.empty()) base::refuse("learning rate curve", "a step at least", "none");
  return base::translated("report", [&] { return report::rates_page(curve); });
}

std::string to_html(const std::vector<SweepRun>& runs) {
  if (runs.empty()) base::refuse("sweep", "a run at least", "none");
  return base::translated("report", [&] { return report::sweep_page(runs); });
}

}  // namespace graft
