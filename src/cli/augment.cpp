#include <algorithm>

#include <nlohmann/json.hpp>

#include "cli/common.h"
#include "cli/numbers.h"

namespace graft::cli {

namespace {

struct Options {
  std::vector<std::string> paths;
  std::string out, augment, preprocessing = "torch";
  ModelFile model;
  int pictures = 5, columns = 8;
  std::uint64_t seed = 0;
};

constexpr int kGapPx = 4;

/// A white sheet of equal cells.
class Sheet {
 public:
  Sheet(int columns, int rows, int cell_width_px, int cell_height_px)
      : cell_width_(cell_width_px + kGapPx),
        cell_height_(cell_height_px + kGapPx),
        width_(columns * cell_width_ + kGapPx),
        height_(rows * cell_height_ + kGapPx),
        rgb_(static_cast<std::size_t>(width_) * static_cast<std::size_t>(height_) * 3, 255) {}

  void put(int column, int row, const Image& image) {
    const auto row_bytes = static_cast<std::ptrdiff_t>(image.width_px()) * 3;
    for (int y = 0; y < image.height_px(); ++y) {
      const auto at =
          static_cast<std::ptrdiff_t>(row * cell_height_ + kGapPx + y) * width_ + column * cell_width_ + kGapPx;
      std::copy_n(image.rgb().begin() + y * row_bytes, row_bytes, rgb_.begin() + at * 3);
    }
  }
  Image image() && { return Image(width_, height_, std::move(rgb_)); }

 private:
  int cell_width_, cell_height_, width_, height_;
  std::vector<std::uint8_t> rgb_;
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
  Sheet sheet(o.columns, static_cast<int>(rows), preprocessing.crop_width_px, preprocessing.crop_height_px);
  nlohmann::json shown = nlohmann::json::array();
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t index = row * files.size() / rows;
    const Image image = Image::read(files[index]);
    sheet.put(0, static_cast<int>(row), augmented(image, preprocessing, {}, o.seed, 0, index));
    for (int column = 1; column < o.columns; ++column)
      sheet.put(column, static_cast<int>(row),
                augmented(image, preprocessing, augment, o.seed, static_cast<std::uint64_t>(column - 1), index));
    shown.push_back(files[index].string());
  }
  std::move(sheet).image().write_png(o.out);
  if (common.json) {
    print(nlohmann::json{{"file", o.out}, {"pictures", std::move(shown)}, {"columns", o.columns}}.dump(
              1, ' ', false, nlohmann::json::error_handler_t::replace) +
          "\n");
  } else {
    print("wrote " + o.out + ": " + std::to_string(rows) +
          " pictures; the first column as evaluation sees them, the others as " + "the first epochs of training do\n");
  }
}

}  // namespace

Command add_augment(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("PICTURE", o->paths, "picture files, or folders to walk")
      ->required()
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--out", o->out, ".png file")->required();
  app.add_option("--augment", o->augment, "as for finetune")->required();
  app.add_option("--model", o->model.path, "take the preprocessing of this model");
  app.add_option("--preprocessing", o->preprocessing, kPreprocessingHelp)->excludes("--model")->capture_default_str();
  app.add_option("--pictures", o->pictures, "how many, spread over all")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_option("--columns", o->columns, "how many of each")->check(CLI::Range(2, 50))->capture_default_str();
  app.add_option("--seed", o->seed, "of the draws")->capture_default_str();
  return [o](const Common& common) { run(*o, common); };
}

}  // namespace graft::cli
