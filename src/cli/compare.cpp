#include "cli/common.h"
#include "cli/labelled.h"

namespace graft::cli {

namespace {

struct Options {
  ModelFile first, second;
  Labelled labelled;
  Measuring measuring;
};

void run(const Options& o, const Common& common) {
  const Model first = load_model(o.first, common), second = load_model(o.second, common);
  const auto data = open(o.labelled, first, common);
  Progress progress(common);
  const auto result = compare(first, second, *data,
                              {.evaluate = evaluate_options(o.labelled, o.measuring, common, progress, "compare"),
                               .precision = parse_precision(o.labelled.precision)});
  print(common.json ? to_json(result) + "\n" : to_text(result));
}

}  // namespace

Command add_compare(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("FIRST", o->first.path, "TorchScript file")->required();
  app.add_option("SECOND", o->second.path, "TorchScript file with the same labels")->required();
  add_labelled_options(app, o->labelled);
  add_measuring_options(app, o->measuring);
  return [o](const Common& common) { run(*o, common); };
}

}  // namespace graft::cli
