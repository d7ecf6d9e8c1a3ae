#include <filesystem>

#include "cli/common.h"
#include "cli/json.h"
#include "cli/numbers.h"

namespace graft::cli {

namespace {

struct Options {
  ModelFile model;
  std::string triton;
  TritonOptions options;
};

/// The file's name without its ending, unless another was given.
TritonOptions named(TritonOptions options, const std::string& model) {
  if (options.name.empty()) options.name = std::filesystem::path(model).stem().string();
  return options;
}

void run(const Options& o, const Common& common) {
  const auto options = named(o.options, o.model.path);
  const Model model = load_model(o.model, common);
  const auto files = export_triton(model, o.triton, options);
  note(common, "wrote " + files.config.string() + ", " + files.labels.string() + ", " + files.model.string());
  if (!common.json) return;
  const auto* p = std::get_if<Preprocessing>(&model.input());
  const auto input_shape = p ? std::vector{3, p->crop_height_px, p->crop_width_px} : std::vector{-1};
  const nlohmann::json document{{"name", options.name},
                                {"version", options.version},
                                {"config", files.config.string()},
                                {"labels", files.labels.string()},
                                {"model", files.model.string()},
                                {"input_shape", input_shape},
                                {"classes", model.num_classes()},
                                {"max_batch_size", options.max_batch_size}};
  print_json(document);
}

}  // namespace

Command add_export(CLI::App& app) {
  auto o = std::make_shared<Options>();
  add_model_options(app, o->model);
  app.add_option("--triton", o->triton, "model repository of an NVIDIA Triton server, made if it is not there")
      ->required();
  app.add_option("--name", o->options.name, "the model's name there; without it the file's, without its ending");
  app.add_option("--model-version", o->options.version, "the model's version there")
      ->check(at_least_one())
      ->capture_default_str();
  app.add_option("--max-batch", o->options.max_batch_size, "most pictures in one forward pass")
      ->check(at_least_one())
      ->capture_default_str();
  app.add_flag("--replace", o->options.replace, "write over a version, configuration or labels that are there already");
  return [o](const Common& common) { run(*o, common); };
}

}  // namespace graft::cli
