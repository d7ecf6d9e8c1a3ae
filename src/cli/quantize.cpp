#include <algorithm>
#include <filesystem>
#include <memory>
#include <system_error>

#include "cli/common.h"
#include "cli/numbers.h"
#include "cli/pictures.h"

namespace graft::cli {

namespace {

struct Options {
  ModelFile model;
  std::string calibration, out;
  std::string on_bad_image = "fail";
  std::int64_t batch = 32, limit = 512;
};

/// Whether every folder in there is named as a class.
bool has_folders_of(const std::vector<std::string>& classes, const std::filesystem::path& root) {
  std::size_t folders = 0;
  std::error_code none;  // what cannot be listed, the pictures' own reader complains of
  for (const auto& entry : std::filesystem::directory_iterator(root, none)) {
    if (!entry.is_directory() || entry.path().filename().string().starts_with('.')) continue;
    ++folders;
    if (std::find(classes.begin(), classes.end(), entry.path().filename().string()) == classes.end()) return false;
  }
  return folders > 0;
}

/// A folder for each class that is named as one of the model's, or pictures without labels.
std::unique_ptr<Dataset> pictures_of(const Options& o, const Model& model) {
  const auto on_bad = parse_on_bad_image(o.on_bad_image);
  const auto classes = classes_of(model);
  if (has_folders_of(classes, o.calibration))
    return std::make_unique<ImageFolder>(
        o.calibration, ImageFolderOptions{.on_bad_image = on_bad, .classes = classes, .allow_empty_class = true});
  return std::make_unique<Pictures>(std::vector{o.calibration}, on_bad);
}

void run(const Options& o, const Common& common) {
  check_writable(o.out);
  Model model = load_model(o.model, common);
  const auto pictures = pictures_of(o, model);
  Progress progress(common);
  const auto report = quantize(model, *pictures,
                               {.pictures = o.limit,
                                .batch_size = o.batch,
                                .loader_threads = loader_threads(common),
                                .on_step = [&](std::int64_t done, std::int64_t of) {
                                  progress.update(done <= of / 2 ? "calibrate" : "compare", done, of, "");
                                }});
  model.save(o.out);
  progress.finish("wrote " + o.out);
  print(common.json ? to_json(report) + "\n" : to_text(report));
}

}  // namespace

Command add_quantize(CLI::App& app) {
  auto o = std::make_shared<Options>();
  add_model_options(app, o->model);
  app.add_option("--calibration", o->calibration,
                 "folder of pictures like those the model will see; with a folder for each of the model's classes, "
                 "accuracy is compared, too")
      ->required();
  app.add_option("--out", o->out, "file to write: the model with its calibration")->required();
  app.add_option("--limit", o->limit, "most pictures that are used, evenly spaced")
      ->check(at_least_one())
      ->capture_default_str();
  app.add_option("--batch", o->batch, "pictures for one forward pass")->check(at_least_one())->capture_default_str();
  add_on_bad_image(app, o->on_bad_image);
  return [o](const Common& common) { run(*o, common); };
}

}  // namespace graft::cli
