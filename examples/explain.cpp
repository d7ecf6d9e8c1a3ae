// Shows what a network looks at: draws a heat map over a picture for each of its best guesses, and finds the pictures
// of a folder that it thinks are most alike.
//
//   explain resnet50.pt elephant.jpg heat [photos]        writes heat/0_African_elephant.png, ...
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <ATen/ops/cat.h>

#include <graft/graft.h>

namespace {

void draw_guesses(const graft::Model& model, const graft::Image& picture, const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  for (const auto& guess : model.classify(picture, {.top_k = 3})) {
    const auto map = graft::grad_cam(model, picture, {.class_id = guess.id});
    const auto path = folder / (std::to_string(guess.index) + "_" + guess.label + ".png");
    graft::overlay(picture, map.values, model.preprocessing()).write_png(path);
    std::printf("%6.2f %%  %s: %s\n", 100.0 * guess.probability, guess.label.c_str(), path.c_str());
  }
}

void find_alike(const graft::Model& model, const graft::Image& picture, const std::filesystem::path& folder) {
  const auto files = graft::list_images({folder});
  std::vector<at::Tensor> rows;
  for (const auto& file : files) {
    const auto other = graft::Image::read(file);
    rows.push_back(model.embed(std::span(&other, 1)));
  }
  const auto query = model.embed(std::span(&picture, 1))[0];
  for (const auto& neighbor : graft::nearest(query, at::cat(rows), 5))
    std::printf("%.4f  %s\n", neighbor.similarity, files[static_cast<std::size_t>(neighbor.index)].c_str());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: explain MODEL PICTURE OUT-FOLDER [PICTURES]\n");
    return 2;
  }
  try {
    const auto model = graft::Model::load(argv[1], {.device = graft::Device::parse("auto")});
    const auto picture = graft::Image::read(argv[2]);
    draw_guesses(model, picture, argv[3]);
    if (argc > 4) find_alike(model, picture, argv[4]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "explain: %s\n", error.what());
    return 1;
  }
}
