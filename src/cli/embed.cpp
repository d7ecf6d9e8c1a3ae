#include "cli/common.h"
#include "cli/json.h"
#include "cli/pictures.h"

namespace graft::cli {

namespace {

struct Options {
  ModelFile model;
  std::vector<std::string> paths;
  std::string out;
  EmbedOptions embed;
};

void run(const Options& o, const Common& common) {
  check_writable(o.out);
  Pictures pictures(o.paths, OnBadImage::kFail);  // rows must match the files
  const Model model = load_model(o.model, common);
  Progress progress(common);
  const auto all = embed(model, pictures, o.embed, common, progress).features;
  write_npy(o.out, all);
  const std::string shape = "[" + std::to_string(all.size(0)) + ", " + std::to_string(all.size(1)) + "]";
  progress.finish("wrote " + o.out + ": float32 " + shape);
  if (common.json) print_json({{"shape", {all.size(0), all.size(1)}}, {"dtype", "float32"}, {"file", o.out}});
}

}  // namespace

Command add_embed(CLI::App& app) {
  auto o = std::make_shared<Options>();
  add_model_options(app, o->model);
  add_pictures(app, o->paths);
  app.add_option("--out", o->out, ".npy file, one row for each picture")->required();
  add_embed_options(app, o->embed);
  return [o](const Common& common) { run(*o, common); };
}

}  // namespace graft::cli
