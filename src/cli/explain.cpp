#include <cstdio>
#include <filesystem>
#include <set>
#include <string_view>
#include <utility>

#include "cli/common.h"
#include "cli/json.h"
#include "cli/numbers.h"
#include "cli/outputs.h"
#include "cli/pictures.h"

namespace graft::cli {

namespace {

namespace fs = std::filesystem;

struct Options {
  ModelFile model;
  std::vector<std::string> paths;
  std::string out, method = "grad-cam", layer, class_id, task, colormap{to_string(OverlayOptions{}.colormap)};
  double opacity = OverlayOptions{}.opacity;
  int longest_side_px = OverlayOptions{}.longest_side_px, patch_px = 0, stride_px = 0;
  std::int64_t batch = 32;
  std::string precision = "float32", on_bad_image = "fail";
};

/// A picture and the file its overlay is written to.
struct Job {
  fs::path picture, overlay;
};

/// Below `out` as below the folders that were named; two of one name are numbered.
std::vector<Job> jobs_of(const std::vector<std::string>& paths, const fs::path& out) {
  std::vector<Job> jobs;
  std::set<fs::path> taken;
  for (const auto& path : paths) {
    for (const auto& picture : list_images({path})) {
      const fs::path name = fs::is_directory(path) ? picture.lexically_relative(path) : picture.filename();
      fs::path overlay = out / name;
      overlay.replace_extension(".png");
      for (int i = 2; !taken.insert(overlay).second; ++i)
        overlay.replace_filename(name.stem().string() + "-" + std::to_string(i) + ".png");
      jobs.push_back({picture, overlay});
    }
  }
  if (jobs.empty()) throw Error(ErrorCode::kMismatch, "no pictures there: " + paths.front());
  std::set<fs::path> pictures;
  for (const auto& job : jobs) pictures.insert(fs::weakly_canonical(job.picture));
  for (const auto& job : jobs)
    if (pictures.contains(fs::weakly_canonical(job.overlay)))
      throw Error(ErrorCode::kConfig, "--out: would write over the picture " + job.overlay.string());
  return jobs;
}

HeatMap explain(const Model& model, const Image& picture, const Options& o) {
  if (o.method == "grad-cam")
    return grad_cam(model, picture, {.layer = o.layer, .class_id = o.class_id, .task = o.task});
  return occlusion(model, picture,
                   {.patch_px = o.patch_px,
                    .stride_px = o.stride_px,
                    .batch_size = o.batch,
                    .precision = parse_precision(o.precision),
                    .class_id = o.class_id,
                    .task = o.task});
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw Error(ErrorCode::kIo, folder.string() + ": cannot be created: " + error.message());
}

std::string line(const Job& job, const Prediction& explained) {
  char probability[32];
  std::snprintf(probability, sizeof probability, "%6.4f", static_cast<double>(explained.probability));
  return job.overlay.string() + ": " + explained.label + " " + probability + "\n";
}

void run(const Options& o, const Common& common) {
  const OverlayOptions drawn{
      .colormap = parse_colormap(o.colormap), .opacity = o.opacity, .longest_side_px = o.longest_side_px};
  check_folder_name(o.out);
  const auto jobs = jobs_of(o.paths, o.out);
  const Model model = load_model(o.model, common);
  const auto& preprocessing = model.preprocessing();  // no texts are explained
  make_folder(o.out);
  nlohmann::json explanations = nlohmann::json::array();
  std::vector<BadImage> bad;
  Progress progress(common);
  std::int64_t done = 0;
  for (const auto& job : jobs) {
    Image picture;
    try {
      picture = Image::read(job.picture);
    } catch (const Error& error) {
      if (parse_on_bad_image(o.on_bad_image) == OnBadImage::kFail) throw;
      note(common, std::string("left out: ") + error.what());
      bad.push_back({job.picture.string(), error.what()});
      continue;
    }
    const auto [heat, explained] = explain(model, picture, o);
    make_folder(job.overlay.parent_path());
    overlay(picture, heat, preprocessing, drawn).write_png(job.overlay);
    progress.update("explain", ++done, std::ssize(jobs), "");
    if (!common.json) print(line(job, explained));
    explanations.push_back({{"file", job.picture.string()},
                            {"out", job.overlay.string()},
                            {"id", explained.id},
                            {"label", explained.label},
                            {"index", explained.index},
                            {"probability", explained.probability}});
  }
  progress.finish("wrote " + std::to_string(done) + " overlays to " + o.out);
  if (common.json)
    print_json({{"out", o.out},
                {"method", o.method},
                {"explanations", std::move(explanations)},
                {"bad_images", bad_images_json(bad)}});
}

/// Throws Error kConfig for options that the method has no use for.
void check_method(const Options& o, const CLI::App& app) {
  const bool is_grad_cam = o.method == "grad-cam";
  for (const char* name : {"--patch", "--stride", "--batch", "--precision", "--layer"}) {
    const bool of_grad_cam = std::string_view(name) == "--layer";
    if (app.count(name) > 0 && of_grad_cam != is_grad_cam)
      throw Error(ErrorCode::kConfig, std::string(name) + ": is for --method " +
                                          (of_grad_cam ? "grad-cam" : "occlusion") + ", the method is " + o.method);
  }
}

}  // namespace

Command add_explain(CLI::App& app) {
  auto o = std::make_shared<Options>();
  add_model_options(app, o->model);
  add_pictures(app, o->paths);
  app.add_option("--out", o->out,
                 "folder for the overlays, .png files named as the pictures; what the network did not see is dimmed")
      ->required();
  app.add_option("--method", o->method, "grad-cam, or occlusion: slower, for any network")
      ->check(CLI::IsMember({"grad-cam", "occlusion"}))
      ->capture_default_str();
  app.add_option("--layer", o->layer, "whose feature map Grad-CAM weighs; without it the last one");
  app.add_option("--class", o->class_id, "id or name of the class; without it what the model predicts");
  app.add_option("--task", o->task, "whose class, where the model has several tasks");
  app.add_option("--patch", o->patch_px,
                 "side of the square that occlusion covers, in pixels of the network's input; 0: a seventh")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--stride", o->stride_px, "from one square to the next; 0: half of one")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--batch", o->batch, "covered pictures for one forward pass")
      ->check(at_least_one())
      ->capture_default_str();
  app.add_option("--colormap", o->colormap, "of the heat")
      ->check(CLI::IsMember({"viridis", "magma", "turbo"}))
      ->capture_default_str();
  app.add_option("--opacity", o->opacity, "of the colours, 0 to 1")
      ->check(number_that([](double value) { return value >= 0 && value <= 1; }, "0 to 1", "0 <= NUMBER <= 1"))
      ->capture_default_str();
  app.add_option("--longest-side", o->longest_side_px, "larger overlays are shrunk to this, in pixels")
      ->check(CLI::Range(1, 65'535))
      ->capture_default_str();
  add_precision(app, o->precision);
  auto* precision = app.get_option("--precision");
  precision->description("of occlusion: " + precision->get_description());
  add_on_bad_image(app, o->on_bad_image);
  return [o, &app](const Common& common) {
    check_method(*o, app);
    run(*o, common);
  };
}

}  // namespace graft::cli
