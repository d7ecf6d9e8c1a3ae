#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>

#include "report/sections.h"

namespace graft::report {

namespace {

bool any_finite(const std::vector<double>& values) {
  return std::ranges::any_of(values, [](double value) { return std::isfinite(value); });
}

/// Phases as parts of the x axis; none if there is only one.
std::vector<Stretch> phases(const Json& document, const Json& epochs) {
  std::vector<Stretch> found;
  const Json& names = list(document, "phases");
  double last = -1;
  for (std::size_t i = 0; i < epochs.size(); ++i) {
    const double phase = number(epochs[i], "phase").value_or(0);
    if (i == 0 || phase != last) {
      const auto index = static_cast<std::size_t>(phase);
      const bool named = index < names.size() && names[index].is_string();
      found.push_back({named ? names[index].get<std::string>() : "phase " + decimal(phase + 1, 0), i, i});
    }
    found.back().last = i;
    last = phase;
  }
  return found.size() > 1 ? found : std::vector<Stretch>();
}

/// "0.1900, epoch 7"
std::string extreme(const std::vector<double>& values, bool highest, Unit unit) {
  std::size_t at = values.size();
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) continue;
    if (at == values.size() || (highest ? values[i] > values[at] : values[i] < values[at])) at = i;
  }
  return in_unit(values[at], unit) + ", epoch " + std::to_string(at + 1);
}

LineChart pair_chart(const Json& epochs, const std::string& key, const std::string& title, Unit unit) {
  LineChart chart{.id = key, .title = title, .unit = unit};
  chart.series.push_back(epoch_series(epochs, key.c_str(), "training", 0));
  auto val = epoch_series(epochs, ("val_" + key).c_str(), "validation", 1);
  const bool highest = unit == Unit::kPercent;
  if (any_finite(val.values)) {
    chart.note = "Best in validation: " + extreme(val.values, highest, unit);
    chart.series.push_back(std::move(val));
  } else if (any_finite(chart.series[0].values)) {
    chart.note = "Best in training: " + extreme(chart.series[0].values, highest, unit);
  }
  return chart;
}

LineChart rate_chart(const Json& epochs) {
  return {.id = "learning-rate",
          .title = "Learning rate",
          .note = "At the last step of each epoch",
          .unit = Unit::kRate,
          .logarithmic_from = 20,
          .series = rate_series(epochs)};
}

struct Figure {
  std::string title;
  Unit unit;
  std::vector<double> values;
};

Html epoch_table(const Json& epochs, const std::vector<Stretch>& phases, std::optional<std::size_t> best) {
  std::vector<Figure> figures;
  for (const auto& [key, title, unit] : {std::tuple{"loss", "loss", Unit::kNumber},
                                         {"accuracy", "accuracy", Unit::kPercent},
                                         {"val_loss", "val. loss", Unit::kNumber},
                                         {"val_accuracy", "val. accuracy", Unit::kPercent},
                                         {"val_top5_accuracy", "val. top-5", Unit::kPercent}})
    figures.push_back({title, unit, column(epochs, key)});
  for (auto& series : rate_series(epochs))
    figures.push_back({series.name == "learning rate" ? series.name : "rate of " + series.name, Unit::kRate,
                       std::move(series.values)});
  figures.push_back({"seconds", Unit::kRate, column(epochs, "seconds")});
  std::erase_if(figures, [](const Figure& figure) { return !any_finite(figure.values); });

  Table all{.caption = "Every epoch", .columns = {{"epoch", true}}, .sortable = true};
  if (!phases.empty()) all.columns.push_back({"phase"});
  for (const auto& figure : figures) all.columns.push_back({figure.title, true});
  for (std::size_t i = 0; i < epochs.size(); ++i) {
    const bool is_best = best == i;
    Row row{{{text(i + 1) + (is_best ? " (best)"_html : Html()), static_cast<double>(i + 1)}}, is_best};
    for (const auto& phase : phases)
      if (phase.first <= i && i <= phase.last) row.cells.push_back(text_cell(phase.name));
    for (const auto& figure : figures) row.cells.push_back(number_cell(figure.values[i], figure.unit));
    all.rows.push_back(std::move(row));
  }
  return "<details class=\"card\"><summary>All epochs as a table</summary>"_html + table(all) + "</details>"_html;
}

}  // namespace

std::optional<std::size_t> best_epoch(const Json& history) {
  const Json& epochs = list(history, "epochs");
  const auto best = number(history, "best");
  if (!best || !(*best >= 0) || *best >= static_cast<double>(epochs.size())) return std::nullopt;
  if (!any_finite(column(epochs, "val_loss")) && !any_finite(column(epochs, "val_accuracy"))) return std::nullopt;
  return static_cast<std::size_t>(*best);
}

std::vector<Series> rate_series(const Json& epochs) {
  std::vector<Series> groups;
  for (std::size_t i = 0; i < epochs.size(); ++i)
    for (const auto& rate : list(epochs[i], "learning_rates")) {
      const std::string name = string(rate, "group");
      auto group = std::ranges::find(groups, name, &Series::name);
      if (group == groups.end())
        group = groups.insert(
            group, {name, std::vector<double>(epochs.size(), std::numeric_limits<double>::quiet_NaN()), groups.size()});
      group->values[i] = number_or_nan(rate, "rate");
    }
  if (groups.size() < 2) return {epoch_series(epochs, "learning_rate", "learning rate", 0)};
  return groups;
}

Html curves(const Json& document) {
  const Json* history = object_of(document, "history");
  if (!history || list(*history, "epochs").empty()) return {};
  const Json& epochs = list(*history, "epochs");
  const auto best = best_epoch(*history);
  const auto parts = phases(document, epochs);
  Html charts;
  for (auto chart : {pair_chart(epochs, "loss", "Loss", Unit::kNumber),
                     pair_chart(epochs, "accuracy", "Accuracy", Unit::kPercent), rate_chart(epochs)}) {
    chart.stretches = parts;
    chart.best = best;
    charts += line_chart(chart);
  }
  const Html note =
      best
          ? "<p class=\"note\">Dotted line: epoch "_html + text(*best + 1) +
                ", the best by validation. Point at a chart, or move through it with the arrow keys, to read it.</p>"_html
          : "<p class=\"note\">Point at a chart, or move through it with the arrow keys, to read it.</p>"_html;
  return note + "<div class=\"charts\">"_html + charts + "</div>"_html + epoch_table(epochs, parts, best);
}

}  // namespace graft::report
