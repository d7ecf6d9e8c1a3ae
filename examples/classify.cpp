// Names what is in pictures: the tutorial's first example, for VGG16, ResNet50 or any other classifier.
//
//   classify resnet50.pt elephant.jpg [more.jpg ...]
#include <cstdio>

#include <graft/graft.h>

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: classify MODEL PICTURE...\n");
    return 2;
  }
  try {
    // The file brings its preprocessing and its labels along.
    const auto model = graft::Model::load(argv[1], {.device = graft::Device::parse("auto")});
    for (int i = 2; i < argc; ++i) {
      std::printf("%s\n", argv[i]);
      for (const auto& guess : model.classify(graft::Image::read(argv[i]), {.top_k = 3}))
        std::printf("  (%s, %s, %.4f)\n", guess.id.c_str(), guess.label.c_str(), guess.probability);
    }
  } catch (const graft::Error& error) {
    std::fprintf(stderr, "classify: %s\n", error.what());
    return 1;
  }
}
