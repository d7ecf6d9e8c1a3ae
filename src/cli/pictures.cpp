#include "cli/pictures.h"

#include <ATen/ops/cat.h>

#include "cli/numbers.h"

namespace graft::cli {

namespace {

void add_paths(CLI::App& app, std::vector<std::string>& paths, const std::string& what) {
  app.add_option("PICTURE", paths, what)->required()->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

}  // namespace

void add_pictures(CLI::App& app, std::vector<std::string>& paths) {
  add_paths(app, paths, "picture files, or folders to walk");
}

void add_pictures_or_texts(CLI::App& app, std::vector<std::string>& paths) {
  add_paths(app, paths, "picture files, or folders to walk; of texts files with one on each line, CSV files, folders");
}

std::vector<Image> augmented_row(const Image& picture, const Preprocessing& preprocessing, const Augment& augment,
                                 std::uint64_t seed, std::uint64_t index, int columns) {
  std::vector<Image> row = {augmented(picture, preprocessing, {}, seed, 0, index)};
  for (int epoch = 0; epoch + 1 < columns; ++epoch)
    row.push_back(augmented(picture, preprocessing, augment, seed, static_cast<std::uint64_t>(epoch), index));
  return row;
}

void add_embed_options(CLI::App& app, EmbedOptions& options) {
  app.add_option("--layer", options.layer, "layer whose output is wanted; without it what the head is given");
  app.add_option("--batch", options.batch, "pictures for one forward pass")
      ->check(at_least_one())
      ->capture_default_str();
  add_reduced_decoding(app, options.reduced_decoding);
}

Embedded embed(const Model& model, Pictures& pictures, const EmbedOptions& options, const Common& common,
               Progress& progress) {
  pictures.set_decode_options(decode_options(options.reduced_decoding, model.preprocessing()));
  return embed(model, static_cast<const Dataset&>(pictures), options, common, progress);
}

Embedded embed(const Model& model, const Dataset& data, const EmbedOptions& options, const Common& common,
               Progress& progress) {
  DataLoader loader(data, model.input(), loader_options(model, options.batch, common));
  std::vector<at::Tensor> rows;
  Embedded embedded;
  while (const auto batch = loader.next()) {
    rows.push_back(model.embed(batch->images, options.layer));
    embedded.pictures.insert(embedded.pictures.end(), batch->indices.begin(), batch->indices.end());
    progress.update("embed", std::ssize(embedded.pictures), static_cast<std::int64_t>(data.size()), "");
  }
  embedded.bad_images = loader.bad_images();
  for (const auto& bad : embedded.bad_images) note(common, "left out: " + bad.message);
  embedded.features = at::cat(rows);
  return embedded;
}

}  // namespace graft::cli
