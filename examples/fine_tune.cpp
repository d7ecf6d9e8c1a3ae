// The tutorial's second example: a pretrained base without its head, global average pooling, Dense(1024, relu),
// Dense(classes), all convolutions frozen, Adam with 0.001, categorical cross-entropy, accuracy.
//
//   fine_tune vgg16.pt data/train data/val ten_classes.pt [epochs]
#include <cstdio>
#include <string>

#include <graft/graft.h>

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: fine_tune MODEL TRAIN_DIR VAL_DIR OUT [EPOCHS]\n");
    return 2;
  }
  try {
    const graft::ImageFolder train(argv[2]);
    const graft::ImageFolder val(argv[3]);

    auto model = graft::Model::load(argv[1], {.device = graft::Device::parse("auto")});
    // Cut::features() is the last feature map: Keras' include_top=False. Pooling comes first in every head.
    model.replace_head(graft::heads::mlp({.hidden = {1024}, .classes = std::ssize(train.classes())}),
                       graft::Cut::features());
    model.freeze();  // the backbone; the head stays trainable

    graft::Trainer trainer(model, {.optimizer = graft::Adam{.learning_rate = 1e-3}});
    const auto history = trainer.fit(train, val, {.epochs = argc > 5 ? std::stoi(argv[5]) : 5, .batch_size = 32});
    std::printf("%s", graft::to_text(history).c_str());

    trainer.restore_best();
    model.save(argv[4]);  // one TorchScript file: loads here, in Python and in any TorchScript server
  } catch (const graft::Error& error) {
    std::fprintf(stderr, "fine_tune: %s\n", error.what());
    return 1;
  }
}
