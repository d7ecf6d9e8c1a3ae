#include <algorithm>
#include <cmath>
#include <tuple>

#include "report/sections.h"

namespace graft::report {

namespace {

/// Classes up to which the whole confusion matrix is shown.
constexpr std::size_t kMostInMatrix = 40;
/// Classes up to which it fits half of the page.
constexpr std::size_t kMostInHalf = 8;
constexpr std::size_t kMostConfusedPairs = 20;

std::vector<std::string> class_names(const Json& evaluation) {
  std::vector<std::string> names;
  for (const auto& one : list(evaluation, "per_class")) names.push_back(string(one, "id"));
  return names;
}

/// "95 % interval 93.10 % to 98.20 %"
std::string interval_text(const Json& evaluation, const char* key, Unit unit) {
  const Json& interval = list(evaluation, key);
  if (interval.size() != 2 || !interval[0].is_number() || !interval[1].is_number()) return "";
  return "95\xC2\xA0% interval " + in_unit(interval[0].get<double>(), unit) + " to " +
         in_unit(interval[1].get<double>(), unit);
}

bool is_plain(const Json& evaluation) { return !list(evaluation, "confusion").empty(); }

Html figures(const Json& evaluation) {
  std::vector<Tile> shown;
  const auto add = [&](const char* key, const std::string& name, Unit unit, const std::string& detail = "") {
    if (const auto value = number(evaluation, key)) shown.push_back({name, in_unit(*value, unit), detail});
  };
  if (is_plain(evaluation)) {
    add("accuracy", "accuracy", Unit::kPercent, interval_text(evaluation, "accuracy_interval", Unit::kPercent));
    if (list(evaluation, "confusion").size() > 5) add("top5_accuracy", "top-5 accuracy", Unit::kPercent);
    if (const Json* macro = object_of(evaluation, "macro"))
      shown.push_back({"macro F1", decimal(number_or_nan(*macro, "f1"), 4),
                       interval_text(evaluation, "macro_f1_interval", Unit::kNumber)});
    add("roc_auc", "ROC-AUC", Unit::kNumber, "mean over classes");
    add("ece", "calibration error", Unit::kNumber, "expected, over 15 bins");
  }
  add("loss", "loss", Unit::kNumber);
  if (const Json* rejection = object_of(evaluation, "rejection"))
    shown.push_back({"answered", percent(number_or_nan(*rejection, "coverage")),
                     "accuracy of the answers " + percent(number_or_nan(*rejection, "accuracy"))});
  if (const auto examples = number(evaluation, "examples")) shown.push_back({"examples", decimal(*examples, 0), ""});
  return tiles(shown);
}

/// 0 to 10.
int level(double count, double of) {
  if (count <= 0 || of <= 0) return 0;
  return std::clamp(static_cast<int>(std::ceil(count / of * 10)), 1, 10);
}

double sum(const Json& counts) {
  double total = 0;
  for (const auto& count : counts)
    if (count.is_number()) total += count.get<double>();
  return total;
}

double count_at(const Json& confusion, std::size_t row, std::size_t column) {
  const Json& counts = confusion[row];
  return counts.is_array() && column < counts.size() && counts[column].is_number() ? counts[column].get<double>() : 0;
}

Html matrix(const Json& confusion, const std::vector<std::string>& names) {
  Html head, body;
  for (const auto& name : names) head += "<th scope=\"col\">"_html + text(name) + "</th>"_html;
  for (std::size_t row = 0; row < names.size(); ++row) {
    body += "<tr><th scope=\"row\">"_html + text(names[row]) + "</th>"_html;
    const double total = sum(confusion[row]);
    for (std::size_t column = 0; column < names.size(); ++column) {
      const double count = count_at(confusion, row, column);
      const int depth = level(count, total);
      body += (depth == 0 ? "<td class=\"zero\">"_html
                          : "<td class=\""_html + (row == column ? "right"_html : "wrong"_html) + " l"_html +
                                text(depth) + "\">"_html) +
              text(decimal(count, 0)) + "</td>"_html;
    }
    body += "</tr>\n"_html;
  }
  const Html look = names.size() > kMostInHalf ? "confusion many"_html : "confusion"_html;
  return "<p class=\"note\">Rows: true class. Columns: predicted class. Shades: share of the row.</p>"
         "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"Confusion matrix\"><table class=\""_html +
         look +
         "\"><caption class=\"hidden\">Examples by true class (rows) and predicted class (columns)</caption>"
         "<thead><tr><td></td>"_html +
         head + "</tr></thead><tbody>\n"_html + body + "</tbody></table></div>"_html;
}

struct Confusion {
  std::size_t truth, guess;
  double count, share;
};

/// What is mistaken for what, most often first.
Html confused_pairs(const Json& confusion, const std::vector<std::string>& names) {
  std::vector<Confusion> pairs;
  for (std::size_t row = 0; row < names.size(); ++row)
    for (std::size_t column = 0; column < names.size(); ++column)
      if (const double count = count_at(confusion, row, column); row != column && count > 0)
        pairs.push_back({row, column, count, count / sum(confusion[row])});
  if (pairs.empty()) return {};
  std::ranges::stable_sort(pairs, [](const Confusion& a, const Confusion& b) { return a.count > b.count; });
  const std::size_t found = pairs.size();
  pairs.resize(std::min(found, kMostConfusedPairs));
  Table shown{.caption = found > pairs.size() ? "The " + std::to_string(pairs.size()) + " most frequent of " +
                                                    std::to_string(found) + " confusions"
                                              : "Confusions, the most frequent first",
              .columns = {{"true class"}, {"taken for"}, {"examples", true}, {"of the class", true}},
              .sortable = true};
  for (const auto& pair : pairs)
    shown.rows.push_back({{text_cell(names[pair.truth]), text_cell(names[pair.guess]), count_cell(pair.count),
                           number_cell(pair.share, Unit::kPercent)}});
  return table(shown);
}

Html confusion_part(const Json& evaluation) {
  const Json& confusion = list(evaluation, "confusion");
  const auto names = class_names(evaluation);
  if (confusion.empty() || confusion.size() != names.size()) return {};
  const Html content = names.size() <= kMostInMatrix ? matrix(confusion, names) : confused_pairs(confusion, names);
  return content.empty() ? Html() : "<div class=\"card\"><h3>Confusion matrix</h3>"_html + content + "</div>"_html;
}

Html class_table(const Json& per_class, const std::string& caption) {
  if (per_class.empty()) return {};
  Table classes{.caption = caption, .columns = {{"class"}, {"examples", true}}, .sortable = true};
  std::vector<std::vector<double>> figures;
  for (const auto& [key, title] :
       {std::pair{"precision", "precision"}, {"recall", "recall"}, {"f1", "F1"}, {"roc_auc", "ROC-AUC"}}) {
    auto values = column(per_class, key);
    if (std::ranges::none_of(values, [](double value) { return std::isfinite(value); })) continue;
    classes.columns.push_back({title, true});
    figures.push_back(std::move(values));
  }
  for (std::size_t i = 0; i < per_class.size(); ++i) {
    Row row{{text_cell(string(per_class[i], "id")), count_cell(number_or_nan(per_class[i], "support"))}};
    for (const auto& values : figures) row.cells.push_back(number_cell(values[i], Unit::kNumber));
    classes.rows.push_back(std::move(row));
  }
  return table(classes);
}

std::vector<ConfidenceBin> confidence_bins(const Json& evaluation) {
  std::vector<ConfidenceBin> bins;
  const Json& found = list(evaluation, "reliability");
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto part = [&](std::size_t number) {
      return static_cast<double>(number) / static_cast<double>(found.size());
    };
    bins.push_back({part(i), part(i + 1), number(found[i], "confidence").value_or(0),
                    number(found[i], "accuracy").value_or(0),
                    static_cast<long long>(number(found[i], "count").value_or(0))});
  }
  return bins;
}

/// How confidence and accuracy differ over all examples.
std::string calibration_note(const std::vector<ConfidenceBin>& bins) {
  double confidence = 0, accuracy = 0, count = 0;
  for (const auto& bin : bins) {
    const auto weight = static_cast<double>(bin.count);
    confidence += weight * bin.confidence;
    accuracy += weight * bin.accuracy;
    count += weight;
  }
  return "Bars: accuracy of the predictions made with this confidence; on the dashed line they would be calibrated, in "
         "orange they are too sure. "
         "Mean confidence " +
         percent(confidence / count) + ", accuracy " + percent(accuracy / count) + ".";
}

Html reliability_part(const Json& evaluation, const std::string& id) {
  const auto bins = confidence_bins(evaluation);
  const std::string name = id + "-reliability";
  const Html diagram = reliability_diagram(name, bins);
  if (diagram.empty()) return {};
  Table table_of_bins{
      .caption = "Bins of confidence",
      .columns = {{"confidence"}, {"predictions", true}, {"mean confidence", true}, {"accuracy", true}}};
  for (const auto& bin : bins) {
    const auto figure = [&](double value) {
      return bin.count > 0 ? number_cell(value, Unit::kPercent) : text_cell("-");
    };
    table_of_bins.rows.push_back(
        {{text_cell(percent(bin.from) + " to " + percent(bin.to)), count_cell(static_cast<double>(bin.count)),
          figure(bin.confidence), figure(bin.accuracy)}});
  }
  return "<figure class=\"chart\"><h3 id=\""_html + text(name) +
         "-title\">Calibration</h3><p class=\"note\" id=\""_html + text(name) + "-note\">"_html +
         text(calibration_note(bins)) + "</p>"_html + diagram + "<details><summary>As a table</summary>"_html +
         table(table_of_bins) + "</details></figure>"_html;
}

/// Tasks of a model with several, or of other kinds than one class for each picture.
Html tasks_part(const Json& evaluation) {
  Html cards;
  for (const auto& task : list(evaluation, "tasks")) {
    std::vector<Tile> shown;
    for (const auto& [key, name, unit] : {std::tuple{"loss", "loss", Unit::kNumber},
                                          {"accuracy", "accuracy", Unit::kPercent},
                                          {"mean_average_precision", "mean average precision", Unit::kNumber},
                                          {"roc_auc", "ROC-AUC", Unit::kNumber},
                                          {"mean_absolute_error", "mean absolute error", Unit::kNumber},
                                          {"root_mean_squared_error", "root mean squared error", Unit::kNumber},
                                          {"r2", "R\xC2\xB2", Unit::kNumber}})
      if (const auto value = number(task, key)) shown.push_back({name, in_unit(*value, unit), ""});
    const std::string name = string(task, "name");
    cards += "<div class=\"card\"><h3>"_html + text(name.empty() ? "Outputs" : name) + " <small>"_html +
             text(string(task, "kind")) + "</small></h3>"_html + tiles(shown) +
             class_table(list(task, "per_class"), "By class or label") + "</div>"_html;
  }
  return cards;
}

}  // namespace

Html evaluation(const Json& evaluation, const std::string& id) {
  const Json& tasks = list(evaluation, "tasks");
  if (tasks.size() > 1 || !is_plain(evaluation)) return figures(evaluation) + tasks_part(evaluation);
  const Html confusion = confusion_part(evaluation), reliability = reliability_part(evaluation, id);
  Html classes = class_table(list(evaluation, "per_class"), "Precision, recall and F1 of each class");
  if (!classes.empty()) classes = "<div class=\"card\"><h3>Classes</h3>"_html + classes + "</div>"_html;
  const bool small = list(evaluation, "confusion").size() <= kMostInHalf;
  return figures(evaluation) + (small ? Html() : confusion) + "<div class=\"pair\"><div>"_html +
         (small ? confusion : Html()) + classes + "</div>"_html + reliability + "</div>"_html;
}

}  // namespace graft::report
