// Trains a head of your own, written as a torch::nn::Module, on a frozen backbone. The saved file runs without its C++
// class: in Python, and in any TorchScript server.
//
//   custom_head resnet50.pt data/train data/val mine.pt [epochs]
#include <cstdio>
#include <string>

#include <graft/graft.h>

#include "two_branch_head.h"

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: custom_head MODEL TRAIN_DIR VAL_DIR OUT [EPOCHS]\n");
    return 2;
  }
  try {
    const graft::ImageFolder train(argv[2], {.on_bad_image = graft::OnBadImage::kSkip});
    const graft::ImageFolder val(argv[3], {.on_bad_image = graft::OnBadImage::kSkip});

    auto model = graft::Model::load(argv[1], {.device = graft::Device::parse("auto")});
    model.replace_head(two_branch_head(std::ssize(train.classes())));
    model.freeze();  // the backbone with its batch norm; the head's own batch norm trains

    graft::Trainer trainer(model, {.optimizer = graft::Adam{.learning_rate = 1e-3}});
    const auto history = trainer.fit(train, val, {.epochs = argc > 5 ? std::stoi(argv[5]) : 5});
    std::printf("%s", graft::to_text(history).c_str());

    trainer.restore_best();
    model.save(argv[4]);
  } catch (const graft::Error& error) {
    std::fprintf(stderr, "custom_head: %s\n", error.what());
    return 1;
  }
}
