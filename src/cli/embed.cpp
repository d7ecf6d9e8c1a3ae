#include "cli/common.h"
#include "cli/domain.h"
#include "cli/json.h"
#include "cli/pictures.h"

namespace graft::cli {

namespace {

struct Options {
  ModelFile model;
  DomainFlags domain;
  std::vector<std::string> paths;
  std::string out;
  EmbedOptions embed;
};

void run(const Options& o, const Common& common) {
  check_writable(o.out);
  const Model model = load_model(o.model, common);
  const auto data = open_unlabelled(o.paths, o.domain, "fail", o.embed.reduced_decoding, model);  // a row for each
  Progress progress(common);
  const auto all = embed(model, *data, o.embed, common, progress).features;
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
  add_domain(app, o->domain);
  app.add_option("--out", o->out, ".npy file, one row for each picture or text")->required();
  add_embed_options(app, o->embed);
  return [o](const Common& common) { run(*o, common); };
}

}  // namespace graft::cli
