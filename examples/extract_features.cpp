// Writes a feature vector for every picture of a folder to a NumPy file, to search, cluster or plot them elsewhere.
//
//   extract_features resnet50.pt photos features.npy [layer]
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include <ATen/ops/cat.h>

#include <graft/graft.h>

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: extract_features MODEL PICTURES OUT.npy [LAYER]\n");
    return 2;
  }
  try {
    const auto model = graft::Model::load(argv[1], {.device = graft::Device::parse("auto")});
    const std::string layer = argc > 4 ? argv[4] : "";  // without a name: what the head is given
    std::vector<at::Tensor> rows;
    for (const auto& path : graft::list_images({argv[2]})) {
      const auto picture = graft::Image::read(path);
      rows.push_back(model.embed(std::span(&picture, 1), layer));
    }
    if (rows.empty()) throw graft::Error(graft::ErrorCode::kMismatch, std::string(argv[2]) + ": no pictures there");
    const at::Tensor features = at::cat(rows);
    graft::write_npy(argv[3], features);
    std::printf("%lld pictures, %lld values each: %s\n", static_cast<long long>(features.size(0)),
                static_cast<long long>(features.size(1)), argv[3]);
  } catch (const graft::Error& error) {
    std::fprintf(stderr, "extract_features: %s\n", error.what());
    return 1;
  }
}
