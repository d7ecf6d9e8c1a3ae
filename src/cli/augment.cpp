#include <algorithm>
#include <utility>
#include <vector>

#include "cli/common.h"
#include "cli/json.h"
#include "cli/numbers.h"
#include "cli/outputs.h"
#include "cli/pictures.h"

namespace graft::cli {

namespace {

struct Options {
  std::vector<std::string> paths;
  std::string out, augment, preprocessing = "torch", on_bad_image = "fail";
  ModelFile model;
  int pictures = 5, columns = 8;
  std::uint64_t seed = 0;
};

void run(const Options& o, const Common& common) {
  const auto augment = Augment::parse(o.augment);
  const auto preprocessing =
      o.model.path.empty() ? Preprocessing::parse(o.preprocessing) : load_model(o.model, common).preprocessing();
  check_writable(o.out);
  auto files = list_images({o.paths.begin(), o.paths.end()});
  if (files.empty()) throw Error(ErrorCode::kMismatch, "no pictures there: " + o.paths.front());
  // Spread over all of them, so that a folder for each class shows several.
  const auto rows = std::min<std::size_t>(files.size(), static_cast<std::size_t>(o.pictures));
  std::vector<Image> sheet;
  nlohmann::json shown = nlohmann::json::array();
  std::vector<BadImage> bad;
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t index = row * files.size() / rows;
    Image image;
    try {
      image = Image::read(files[index]);
    } catch (const Error& error) {
      if (parse_on_bad_image(o.on_bad_image) == OnBadImage::kFail) throw;
      note(common, std::string("left out: ") + error.what());
      bad.push_back({files[index].string(), error.what()});
      continue;
    }
    for (auto& picture : augmented_row(image, preprocessing, augment, o.seed, index, o.columns))
      sheet.push_back(std::move(picture));
    shown.push_back(files[index].string());
  }
  if (sheet.empty())
    throw Error(ErrorCode::kMismatch, "none of the pictures can be read; the first: " + bad[0].message);
  contact_sheet(sheet, o.columns).write_png(o.out);
  if (common.json) {
    print_json(
        {{"out", o.out}, {"pictures", std::move(shown)}, {"columns", o.columns}, {"bad_images", bad_images_json(bad)}});
  } else {
    print("wrote " + o.out + ": " + std::to_string(shown.size()) +
          " pictures; the first column as evaluation sees them, the others as " + "the first epochs of training do\n");
  }
}

}  // namespace

Command add_augment(CLI::App& app) {
  auto o = std::make_shared<Options>();
  add_pictures(app, o->paths);
  app.add_option("--out", o->out, ".png file")->required()->check(png_name());
  app.add_option("--augment", o->augment, "as for finetune")->required();
  app.add_option("--model", o->model.path, "take the preprocessing of this model");
  app.add_option("--preprocessing", o->preprocessing, kPreprocessingHelp)->excludes("--model")->capture_default_str();
  app.add_option("--pictures", o->pictures, "how many, spread over all")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_option("--columns", o->columns, "how many of each")->check(CLI::Range(2, 50))->capture_default_str();
  app.add_option("--seed", o->seed, "of the draws")->capture_default_str();
  add_on_bad_image(app, o->on_bad_image);
  return [o](const Common& common) { run(*o, common); };
}

}  // namespace graft::cli
