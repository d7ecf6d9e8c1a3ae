#include <charconv>
#include <filesystem>
#include <utility>

#include "cli/common.h"
#include "cli/json.h"
#include "cli/numbers.h"
#include "cli/pictures.h"

namespace graft::cli {

namespace {

struct Options {
  ModelFile model;
  std::vector<std::string> paths;
  std::string out, method = "tsne";
  std::optional<double> perplexity;
  std::optional<std::uint64_t> seed;
  MapOptions map;
  EmbedOptions embed;
  std::string on_bad_image = "fail";
};

/// The folder that a picture lies in: its class in a folder for each.
std::string group_of(const std::filesystem::path& file) { return file.parent_path().filename().string(); }

std::string number(float value) {
  char text[32];
  const auto [end, error] = std::to_chars(text, text + sizeof text, value);
  return error == std::errc() ? std::string(text, end) : "";
}

/// RFC 4180: in quotes where it has to be.
std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

struct Projected {
  at::Tensor coordinates;
  std::optional<double> kl_divergence;
};

Projected project(const at::Tensor& features, const Options& o) {
  if (o.method == "pca") return {pca(features), {}};
  auto [coordinates, divergence] = tsne(features, {.perplexity = o.perplexity, .seed = o.seed});
  return {std::move(coordinates), divergence};
}

std::string csv(const Pictures& pictures, const Embedded& embedded, const at::Tensor& coordinates) {
  std::string text = "file,group,x,y\r\n";
  const auto at = coordinates.accessor<float, 2>();
  for (std::size_t i = 0; i < embedded.pictures.size(); ++i) {
    const auto& file = pictures.path(embedded.pictures[i]);
    const auto row = static_cast<std::int64_t>(i);
    text += csv_field(file.string()) + "," + csv_field(group_of(file)) + "," + number(at[row][0]) + "," +
            number(at[row][1]) + "\r\n";
  }
  return text;
}

/// The pictures once more, as small as they are shown.
std::vector<MapPicture> thumbnails(const Pictures& pictures, const Embedded& embedded, int side_px) {
  std::vector<MapPicture> shown;
  for (const auto picture : embedded.pictures) {
    const auto& file = pictures.path(picture);
    const auto image = Image::read(file, {.reduced = ReducedSize{side_px, side_px}});
    shown.push_back(
        {image.resize_shorter(side_px).center_crop(side_px, side_px), file.filename().string(), group_of(file)});
  }
  return shown;
}

void write(const Options& o, const Pictures& pictures, const Embedded& embedded, const at::Tensor& coordinates) {
  if (o.out.ends_with(".csv")) {
    write_atomically(o.out, std::string_view(csv(pictures, embedded, coordinates)));
    return;
  }
  const auto shown = thumbnails(pictures, embedded, o.map.thumbnail_px);
  if (o.out.ends_with(".png")) {
    draw_map(coordinates, shown, o.map).write_png(o.out);
  } else {
    write_atomically(o.out, std::string_view(draw_map_svg(coordinates, shown, o.map)));
  }
}

void run(const Options& o, const Common& common) {
  if (!o.out.ends_with(".svg") && !o.out.ends_with(".png") && !o.out.ends_with(".csv"))
    throw Error(ErrorCode::kConfig, "--out: expected a name that ends in .svg, .png or .csv, found \"" + o.out + "\"");
  if (o.method == "pca" && (o.perplexity || o.seed))
    throw Error(ErrorCode::kConfig, "--perplexity and --seed: are for --method tsne, the method is pca");
  check_writable(o.out);
  Pictures pictures(o.paths, parse_on_bad_image(o.on_bad_image));
  const Model model = load_model(o.model, common);
  Progress progress(common);
  const auto embedded = embed(model, pictures, o.embed, common, progress);
  const auto [coordinates, divergence] = project(embedded.features, o);
  write(o, pictures, embedded, coordinates);
  progress.finish("wrote " + o.out + ": " + std::to_string(embedded.pictures.size()) + " pictures");
  if (!common.json) return;
  nlohmann::json points = nlohmann::json::array();
  const auto at = coordinates.accessor<float, 2>();
  for (std::size_t i = 0; i < embedded.pictures.size(); ++i) {
    const auto& file = pictures.path(embedded.pictures[i]);
    const auto row = static_cast<std::int64_t>(i);
    points.push_back({{"file", file.string()}, {"group", group_of(file)}, {"x", at[row][0]}, {"y", at[row][1]}});
  }
  print_json({{"out", o.out},
              {"method", o.method},
              {"kl_divergence", divergence ? nlohmann::json(*divergence) : nlohmann::json()},
              {"points", std::move(points)},
              {"bad_images", bad_images_json(embedded.bad_images)}});
}

}  // namespace

Command add_project(CLI::App& app) {
  auto o = std::make_shared<Options>();
  add_model_options(app, o->model);
  add_pictures(app, o->paths);
  app.add_option("--out", o->out, ".svg or .png: a map with thumbnails; .csv: coordinates")->required();
  app.add_option("--method", o->method, "tsne keeps neighbours together, pca large distances")
      ->check(CLI::IsMember({"tsne", "pca"}))
      ->capture_default_str();
  app.add_option("--perplexity", o->perplexity,
                 "of t-SNE: about how many neighbours count; without it 30, or a third of few")
      ->check(positive_number());
  app.add_option("--seed", o->seed, "random start for t-SNE; without it PCA's result");
  const auto size = [&](const char* name, int& value, const char* what) {
    app.add_option(name, value, what)->check(CLI::Range(4, 16'384))->capture_default_str();
  };
  size("--width", o->map.width_px, "of the map, in pixels");
  size("--height", o->map.height_px, "of the map, in pixels");
  size("--thumbnail", o->map.thumbnail_px, "side of a picture on the map, in pixels");
  add_embed_options(app, o->embed);
  add_on_bad_image(app, o->on_bad_image);
  return [o](const Common& common) { run(*o, common); };
}

}  // namespace graft::cli
