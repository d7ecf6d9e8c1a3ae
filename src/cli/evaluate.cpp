#include <algorithm>
#include <charconv>
#include <cmath>

#include "cli/common.h"
#include "cli/labelled.h"
#include "cli/report_options.h"

namespace graft::cli {

namespace {

struct Options {
  ModelFile model;
  Labelled labelled;
  Measuring measuring;
  std::int64_t top_losses = 0;
  std::string predictions;
  bool reduced_decoding = false;
  ReportOptions reports;
};

/// RFC 4180.
std::string quoted(const std::string& field) {
  if (field.find_first_of(",\"\r\n") == std::string::npos) return field;
  std::string text = "\"";
  for (const char c : field) text += c == '"' ? "\"\"" : std::string(1, c);
  return text + "\"";
}

std::string number(float value) {
  char text[32];
  const auto [end, error] = std::to_chars(text, text + sizeof text, value);
  return {text, end};
}

/// One row for each picture that could be read: file,true,predicted,probability and all probabilities.
std::string csv_of(const at::Tensor& probabilities, const Dataset& data) {
  const auto& classes = data.classes();
  std::string text = "file,true,predicted,probability";
  for (const auto& name : classes) text += "," + quoted("p_" + name);
  text += "\n";
  const std::span all(probabilities.const_data_ptr<float>(), static_cast<std::size_t>(probabilities.numel()));
  for (std::size_t i = 0; i < data.size(); ++i) {
    const auto row = all.subspan(i * classes.size(), classes.size());
    if (std::isnan(row.front())) continue;
    const auto best = static_cast<std::size_t>(std::ranges::max_element(row) - row.begin());
    text += quoted(data.name(i)) + "," + quoted(classes[static_cast<std::size_t>(data.label(i))]) + "," +
            quoted(classes[best]) + "," + number(row[best]);
    for (const float probability : row) text += "," + number(probability);
    text += "\n";
  }
  return text;
}

void run(const Options& o, const CLI::App& app, const Common& common) {
  RunReport report(o.reports, app, short_path(o.model.path) + " on " + short_path(o.labelled.data));
  if (!o.predictions.empty()) check_writable(o.predictions);
  Model model = load_model(o.model, common);
  auto data = open(o.labelled, model, common);
  set_decoding(*data, o.reduced_decoding, model);
  Progress progress(common);
  auto options = evaluate_options(o.labelled, o.measuring, common, progress, "evaluate");
  options.top_losses = std::max(o.top_losses, report.top_losses());
  auto result = Trainer(model, {.precision = parse_precision(o.labelled.precision), .on_warning = warnings(common)})
                    .evaluate(*data, options);
  report.finish(common, model, *data, result);
  result.top_losses.resize(std::min(result.top_losses.size(), static_cast<std::size_t>(o.top_losses)));
  if (!o.predictions.empty()) write_atomically(o.predictions, csv_of(result.probabilities, *data));
  print(common.json ? to_json(result) + "\n" : to_text(result));
}

}  // namespace

Command add_evaluate(CLI::App& app) {
  auto o = std::make_shared<Options>();
  add_model_options(app, o->model);
  add_labelled_options(app, o->labelled);
  add_measuring_options(app, o->measuring);
  app.add_option("--top-losses", o->top_losses, "list so many pictures with the highest loss")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1'000'000'000}))
      ->capture_default_str();
  app.add_option("--predictions", o->predictions, ".csv file to write: a row for each picture, with all probabilities");
  add_reduced_decoding(app, o->reduced_decoding);
  add_report_option(app, o->reports);
  return [o, &app](const Common& common) { run(*o, app, common); };
}

}  // namespace graft::cli
