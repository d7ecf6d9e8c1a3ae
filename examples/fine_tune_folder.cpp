// The tutorial's third example: your own pictures, a folder for each class below DATA/train, augmented (shear, zoom,
// horizontal flip), RMSprop, a given number of steps in each epoch; afterwards the features of new pictures.
//
//   fine_tune_folder vgg16.pt data two_classes.pt [epochs [steps_per_epoch]]
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <graft/graft.h>

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: fine_tune_folder MODEL DATA_DIR OUT [EPOCHS [STEPS_PER_EPOCH]]\n");
    return 2;
  }
  try {
    const std::filesystem::path data = argv[2];
    const graft::ImageFolder all(data / "train", {.augment = {.shear_deg = 0.2, .zoom = 0.2, .horizontal_flip = true}});
    const auto [train, val] = all.split(0.2, /*seed=*/1);

    auto model = graft::Model::load(argv[1], {.device = graft::Device::parse("auto")});
    const auto classes = std::ssize(train.classes());
    model.replace_head(
        graft::heads::mlp({.hidden = {1024}, .classes = classes, .initializer = graft::Initializer::kKeras}));
    model.freeze();

    // Keras' RMSprop is another one than PyTorch's: the numerics are chosen by name.
    graft::Trainer trainer(model, {.optimizer = graft::RmsProp{}, .numerics = graft::Numerics::kKeras});
    const auto history = trainer.fit(train, val,
                                     {.epochs = argc > 4 ? std::stoi(argv[4]) : 5,
                                      .steps_per_epoch = argc > 5 ? std::stoi(argv[5]) : 0,
                                      .batch_size = 32});
    std::printf("%s", graft::to_text(history).c_str());
    model.save(argv[3]);

    // What the new head is given for pictures it has not seen: one vector each.
    std::vector<graft::Image> pictures;
    for (std::size_t i = 0; i < std::min<std::size_t>(val.size(), 4); ++i) pictures.push_back(val.image(i));
    const at::Tensor features = model.embed(pictures);
    std::printf("features of %zu new pictures: %lld values each\n", pictures.size(),
                static_cast<long long>(features.size(1)));
  } catch (const graft::Error& error) {
    std::fprintf(stderr, "fine_tune_folder: %s\n", error.what());
    return 1;
  }
}
