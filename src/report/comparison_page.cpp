#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>

#include "report/sections.h"

namespace graft::report {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

const Json& none() {
  static const Json empty = Json::object();
  return empty;
}

const Json& history_of(const NamedRun& run) {
  const Json* found = object_of(run.document, "history");
  return found ? *found : none();
}

const Json& evaluation_of(const NamedRun& run) {
  const Json& all = list(run.document, "evaluations");
  const Json* found = all.empty() ? nullptr : object_of(all.front(), "evaluation");
  return found ? *found : none();
}

/// `key` of the best epoch.
double at_best(const NamedRun& run, const char* key) {
  const auto best = best_epoch(history_of(run));
  return best ? number_or_nan(list(history_of(run), "epochs")[*best], key) : kNone;
}

double at_last(const NamedRun& run, const char* key) {
  const Json& epochs = list(history_of(run), "epochs");
  return epochs.empty() ? kNone : number_or_nan(epochs.back(), key);
}

double macro_f1(const NamedRun& run) {
  const Json* macro = object_of(evaluation_of(run), "macro");
  return macro ? number_or_nan(*macro, "f1") : kNone;
}

double seconds_of(const NamedRun& run) {
  const auto seconds = column(list(history_of(run), "epochs"), "seconds");
  return seconds.empty() ? kNone : std::accumulate(seconds.begin(), seconds.end(), 0.0);
}

enum class Better { kHigher, kLower, kNeither };

/// A column of the table of results.
struct Result {
  std::string title;
  Unit unit;
  Better better;
  std::vector<double> values = {};  ///< of each run
};

std::vector<Result> results(const std::vector<NamedRun>& runs) {
  std::vector<Result> all;
  const auto add = [&](const std::string& title, Unit unit, Better better, const auto& value) {
    Result result{title, unit, better};
    for (const auto& run : runs) result.values.push_back(value(run));
    if (std::ranges::any_of(result.values, [](double found) { return std::isfinite(found); }))
      all.push_back(std::move(result));
  };
  add("epochs", Unit::kRate, Better::kNeither, [](const NamedRun& run) {
    const auto count = list(history_of(run), "epochs").size();
    return count == 0 ? kNone : static_cast<double>(count);
  });
  add("best epoch", Unit::kRate, Better::kNeither, [](const NamedRun& run) {
    const auto best = best_epoch(history_of(run));
    return best ? static_cast<double>(*best + 1) : kNone;
  });
  add("val. accuracy, best epoch", Unit::kPercent, Better::kHigher,
      [](const NamedRun& run) { return at_best(run, "val_accuracy"); });
  add("val. loss, best epoch", Unit::kNumber, Better::kLower,
      [](const NamedRun& run) { return at_best(run, "val_loss"); });
  add("val. accuracy, last epoch", Unit::kPercent, Better::kHigher,
      [](const NamedRun& run) { return at_last(run, "val_accuracy"); });
  add("val. loss, last epoch", Unit::kNumber, Better::kLower,
      [](const NamedRun& run) { return at_last(run, "val_loss"); });
  add("training loss, last epoch", Unit::kNumber, Better::kNeither,
      [](const NamedRun& run) { return at_last(run, "loss"); });
  add("accuracy, evaluated", Unit::kPercent, Better::kHigher,
      [](const NamedRun& run) { return number_or_nan(evaluation_of(run), "accuracy"); });
  add("macro F1", Unit::kNumber, Better::kHigher, macro_f1);
  add("ROC-AUC", Unit::kNumber, Better::kHigher,
      [](const NamedRun& run) { return number_or_nan(evaluation_of(run), "roc_auc"); });
  add("calibration error", Unit::kNumber, Better::kLower,
      [](const NamedRun& run) { return number_or_nan(evaluation_of(run), "ece"); });
  add("seconds", Unit::kRate, Better::kLower, seconds_of);
  add("examples/s in training", Unit::kRate, Better::kHigher,
      [](const NamedRun& run) { return number_or_nan(history_of(run), "images_per_second"); });
  return all;
}

/// The best finite value; nothing if it makes no difference.
double winner(const Result& result) {
  std::vector<double> finite;
  std::ranges::copy_if(result.values, std::back_inserter(finite), [](double value) { return std::isfinite(value); });
  if (result.better == Better::kNeither || finite.size() < 2) return kNone;
  const auto [low, high] = std::ranges::minmax(finite);
  if (low == high) return kNone;
  return result.better == Better::kHigher ? high : low;
}

Html results_table(const std::vector<NamedRun>& runs) {
  const auto all = results(runs);
  if (all.empty()) return {};
  Table shown{.caption = "The best of each column is bold and has a star", .columns = {{"run"}}, .sortable = true};
  for (const auto& result : all) shown.columns.push_back({result.title, true});
  for (std::size_t i = 0; i < runs.size(); ++i) {
    Row row{{{legend_swatch(i) + " "_html + text(runs[i].name)}}};
    for (const auto& result : all) {
      Cell cell = number_cell(result.values[i], result.unit);
      if (result.values[i] == winner(result)) {
        cell.content =
            "<span aria-hidden=\"true\">\xE2\x98\x85</span><span class=\"hidden\">best: </span> "_html + cell.content;
        cell.look = "winner";
      }
      row.cells.push_back(std::move(cell));
    }
    shown.rows.push_back(std::move(row));
  }
  return "<div class=\"card\">"_html + table(shown) + "</div>"_html;
}

Html overlaid_curves(const std::vector<NamedRun>& runs) {
  struct Curve {
    const char *key, *title;
    Unit unit;
  };
  Html charts;
  for (const auto& [key, title, unit] : {Curve{"val_accuracy", "Validation accuracy", Unit::kPercent},
                                         {"val_loss", "Validation loss", Unit::kNumber},
                                         {"accuracy", "Training accuracy", Unit::kPercent},
                                         {"loss", "Training loss", Unit::kNumber},
                                         {"learning_rate", "Learning rate", Unit::kRate}}) {
    LineChart chart{.id = std::string("curve-") + key,
                    .title = title,
                    .unit = unit,
                    .logarithmic_from = unit == Unit::kRate ? 20.0 : 100.0};
    for (std::size_t i = 0; i < runs.size(); ++i)
      chart.series.push_back(epoch_series(list(history_of(runs[i]), "epochs"), key, runs[i].name, i));
    charts += line_chart(chart);
  }
  return charts.empty()
             ? Html()
             : "<p class=\"note\">Point at a chart, or move through it with the arrow keys, to read it.</p><div class=\"charts\">"_html +
                   charts + "</div>"_html;
}

/// Lines of "settings" or "hashes" by name, in order of appearance, with each run's value.
struct Line {
  std::string name;
  std::vector<std::string> values;
  bool differs() const { return std::ranges::adjacent_find(values, std::ranges::not_equal_to()) != values.end(); }
};

std::vector<Line> lines(const std::vector<NamedRun>& runs, const char* key) {
  std::vector<Line> all;
  for (std::size_t i = 0; i < runs.size(); ++i)
    for (const auto& one : list(runs[i].document, key)) {
      const std::string name = string(one, "name");
      auto line = std::ranges::find(all, name, &Line::name);
      if (line == all.end()) line = all.insert(line, {name, std::vector<std::string>(runs.size())});
      line->values[i] = string(one, "value");
    }
  return all;
}

Html lines_table(const std::vector<NamedRun>& runs, const std::vector<Line>& all, bool differing,
                 const std::string& caption) {
  Table shown{.caption = caption, .columns = {{"name"}}};
  for (std::size_t i = 0; i < (differing ? runs.size() : 1); ++i)
    shown.columns.push_back({differing ? runs[i].name : "value in all runs"});
  for (const auto& line : all) {
    if (line.differs() != differing) continue;
    Row row{{text_cell(line.name)}};
    for (std::size_t i = 0; i + 1 < shown.columns.size(); ++i)
      row.cells.push_back(text_cell(line.values[i].empty() ? "-" : line.values[i]));
    shown.rows.push_back(std::move(row));
  }
  return shown.rows.empty() ? Html() : table(shown);
}

Html settings(const std::vector<NamedRun>& runs, const char* key, const std::string& what) {
  const auto all = lines(runs, key);
  if (all.empty()) return {};
  const Html differing = lines_table(runs, all, true, what + " that differ");
  const Html common = lines_table(runs, all, false, what + " that do not differ");
  return "<div class=\"card\">"_html + (differing.empty() ? "<p class=\"note\">None differ.</p>"_html : differing) +
         (common.empty() ? Html() : "<details><summary>In common</summary>"_html + common + "</details>"_html) +
         "</div>"_html;
}

/// F1 of each class in each run, where all runs were evaluated on the same classes.
Html classes(const std::vector<NamedRun>& runs) {
  Table shown{.caption = "F1 by class", .columns = {{"class"}}, .sortable = true};
  const Json& first = list(evaluation_of(runs.front()), "per_class");
  for (const auto& one : first) shown.rows.push_back({{text_cell(string(one, "id"))}});
  for (const auto& run : runs) {
    const Json& per_class = list(evaluation_of(run), "per_class");
    const bool same = std::ranges::equal(
        first, per_class, [](const Json& a, const Json& b) { return string(a, "id") == string(b, "id"); });
    if (first.empty() || !same) return {};
    shown.columns.push_back({run.name, true});
    for (std::size_t i = 0; i < per_class.size(); ++i)
      shown.rows[i].cells.push_back(number_cell(number_or_nan(per_class[i], "f1"), Unit::kNumber));
  }
  return "<div class=\"card\">"_html + table(shown) + "</div>"_html;
}

}  // namespace

std::string comparison_page(const std::vector<NamedRun>& runs, const std::string& title, const Section& first) {
  return page(title.empty() ? "Comparison of " + std::to_string(runs.size()) + " runs" : title, "comparison",
              {first,
               {"results", "Results", results_table(runs)},
               {"curves", "Curves", overlaid_curves(runs)},
               {"classes", "Classes", classes(runs)},
               {"settings", "Settings", settings(runs, "settings", "Settings")},
               {"hashes", "Hashes", settings(runs, "hashes", "SHA-256")}});
}

}  // namespace graft::report
