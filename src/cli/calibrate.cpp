#include "cli/common.h"
#include "cli/labelled.h"
#include "cli/numbers.h"

namespace graft::cli {

namespace {

struct Options {
  ModelFile model;
  Labelled labelled;
  std::string out;
  std::optional<double> reject_below, target_accuracy, target_coverage;
};

void run(const Options& o, const Common& common) {
  check_writable(o.out);
  Model model = load_model(o.model, common);
  Progress progress(common);
  const auto report =
      calibrate(model, *open(o.labelled, model, common),
                {.batch_size = o.labelled.batch,
                 .loader_threads = loader_threads(common),
                 .precision = parse_precision(o.labelled.precision),
                 .reject_below = o.reject_below,
                 .target_accuracy = o.target_accuracy,
                 .target_coverage = o.target_coverage,
                 .on_step = [&](std::int64_t done, std::int64_t of) { progress.update("calibrate", done, of, ""); }});
  model.save(o.out);
  progress.finish("wrote " + o.out);
  print(common.json ? to_json(report) + "\n" : to_text(report));
}

}  // namespace

Command add_calibrate(CLI::App& app) {
  auto o = std::make_shared<Options>();
  add_model_options(app, o->model);
  add_labelled_options(app, o->labelled);
  app.add_option("--out", o->out, "file to write: the model with its temperature and threshold")->required();
  auto* below = app.add_option("--reject-below", o->reject_below, "no answer where the best probability is lower")
                    ->check(probability());
  auto* accuracy = app.add_option("--target-accuracy", o->target_accuracy,
                                  "the lowest such threshold at which the answers are right this often")
                       ->check(probability());
  app.add_option("--target-coverage", o->target_coverage,
                 "the highest such threshold at which this share of the pictures is answered")
      ->check(probability())
      ->excludes(below)
      ->excludes(accuracy);
  accuracy->excludes(below);
  return [o](const Common& common) { run(*o, common); };
}

}  // namespace graft::cli
