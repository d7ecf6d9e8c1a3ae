#include <cstdio>
#include <filesystem>
#include <set>

#include "cli/common.h"
#include "cli/json.h"
#include "cli/numbers.h"
#include "cli/pictures.h"

namespace graft::cli {

namespace {

struct Options {
  ModelFile model;
  std::vector<std::string> paths, among;
  std::int64_t top_k = 5;
  EmbedOptions embed;
  std::string on_bad_image = "fail";
};

/// The nearest pictures, without the file itself; one that is there twice counts once.
std::vector<Neighbor> neighbors_of(const at::Tensor& query, const std::filesystem::path& file, const Embedded& index,
                                   const Pictures& among, std::int64_t k) {
  for (auto asked = k + 1;; asked *= 2) {  // some may be the file itself, under several names
    std::vector<Neighbor> found;
    std::set<std::filesystem::path> known;
    for (const auto& [row, similarity] : nearest(query, index.features, asked)) {
      const auto picture = index.pictures[static_cast<std::size_t>(row)];
      const auto& path = among.path(picture);
      if (std::filesystem::equivalent(file, path) || std::ssize(found) == k || !known.insert(path).second) continue;
      found.push_back({static_cast<std::int64_t>(picture), similarity});
    }
    if (std::ssize(found) == k || asked >= index.features.size(0)) return found;
  }
}

void run(const Options& o, const Common& common) {
  const auto on_bad = parse_on_bad_image(o.on_bad_image);
  Pictures queries(o.paths, on_bad), among(o.among, on_bad);
  const Model model = load_model(o.model, common);
  Progress progress(common);
  const auto asked = embed(model, queries, o.embed, common, progress);
  const auto index = embed(model, among, o.embed, common, progress);
  progress.finish("compared with " + std::to_string(index.pictures.size()) + " pictures");

  nlohmann::json results = nlohmann::json::array();
  for (std::size_t row = 0; row < asked.pictures.size(); ++row) {
    const auto i = asked.pictures[row];
    std::string text = queries.name(i) + "\n";
    nlohmann::json list = nlohmann::json::array();
    for (const auto& [picture, similarity] :
         neighbors_of(asked.features[static_cast<std::int64_t>(row)], queries.path(i), index, among, o.top_k)) {
      const auto name = among.name(static_cast<std::size_t>(picture));
      char figure[32];
      std::snprintf(figure, sizeof figure, "  %6.4f  ", static_cast<double>(similarity));
      text += figure + name + "\n";
      list.push_back({{"file", name}, {"similarity", similarity}});
    }
    if (!common.json) print(text);
    results.push_back({{"file", queries.name(i)}, {"neighbors", std::move(list)}});
  }
  if (!common.json) return;
  auto bad = asked.bad_images;
  bad.insert(bad.end(), index.bad_images.begin(), index.bad_images.end());
  print_json({{"queries", std::move(results)}, {"bad_images", bad_images_json(bad)}});
}

}  // namespace

Command add_neighbors(CLI::App& app) {
  auto o = std::make_shared<Options>();
  add_model_options(app, o->model);
  add_pictures(app, o->paths);
  app.add_option("--among", o->among, "picture files, or folders to walk: where the neighbours are looked for")
      ->required()
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--top-k", o->top_k, "how many for each picture, the picture itself left out")
      ->check(at_least_one())
      ->capture_default_str();
  add_embed_options(app, o->embed);
  add_on_bad_image(app, o->on_bad_image);
  return [o](const Common& common) { run(*o, common); };
}

}  // namespace graft::cli
