#include <nlohmann/json.hpp>

#include <ATen/ops/cat.h>

#include "cli/common.h"
#include "cli/numbers.h"
#include "cli/pictures.h"

namespace graft::cli {

namespace {

struct Options {
  ModelFile model;
  std::vector<std::string> paths;
  std::string out;
  std::string layer;
  std::int64_t batch = 32;
  bool reduced_decoding = false;
};

void run(const Options& o, const Common& common) {
  check_writable(o.out);
  Pictures pictures(o.paths, OnBadImage::kFail);  // rows must match the files
  const Model model = load_model(o.model, common);
  pictures.set_decode_options(decode_options(o.reduced_decoding, model.preprocessing()));
  Progress progress(common);
  DataLoader loader(pictures, model.preprocessing(), {.batch_size = o.batch, .threads = loader_threads(common)});
  std::vector<at::Tensor> rows;
  std::int64_t done = 0;
  while (const auto batch = loader.next()) {
    rows.push_back(model.embed(batch->images, o.layer));
    done += batch->size();
    progress.update("embed", done, static_cast<std::int64_t>(pictures.size()), "");
  }
  const auto all = at::cat(rows);
  write_npy(o.out, all);
  const std::string shape = "[" + std::to_string(all.size(0)) + ", " + std::to_string(all.size(1)) + "]";
  progress.finish("wrote " + o.out + ": float32 " + shape);
  if (common.json)
    print(nlohmann::json{{"shape", {all.size(0), all.size(1)}}, {"dtype", "float32"}, {"file", o.out}}.dump(
              1, ' ', false, nlohmann::json::error_handler_t::replace) +
          "\n");
}

}  // namespace

Command add_embed(CLI::App& app) {
  auto o = std::make_shared<Options>();
  add_model_options(app, o->model);
  app.add_option("PICTURE", o->paths, "picture files, or folders to walk")
      ->required()
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--out", o->out, ".npy file, one row for each picture")->required();
  app.add_option("--layer", o->layer, "layer whose output is wanted; without it what the head is given");
  app.add_option("--batch", o->batch, "pictures for one forward pass")->check(at_least_one())->capture_default_str();
  add_reduced_decoding(app, o->reduced_decoding);
  return [o](const Common& common) { run(*o, common); };
}

}  // namespace graft::cli
