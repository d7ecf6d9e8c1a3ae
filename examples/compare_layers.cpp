// The tutorial's exercise "which layers to fine-tune": the same data trained with several freeze points, side by side.
//
//   compare_layers resnet50.pt data/train data/val [epochs [learning_rate]]
#include <cstdio>
#include <string>

#include <graft/graft.h>

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: compare_layers MODEL TRAIN_DIR VAL_DIR [EPOCHS [LEARNING_RATE]]\n");
    return 2;
  }
  try {
    const graft::ImageFolder train(argv[2]);
    const graft::ImageFolder val(argv[3]);
    const int epochs = argc > 4 ? std::stoi(argv[4]) : 3;
    const double learning_rate = argc > 5 ? std::stod(argv[5]) : 1e-3;

    const auto stages = std::ssize(graft::Model::load(argv[1]).stages());
    std::printf("frozen          trainable parameters   val accuracy   val loss   seconds\n");
    for (auto frozen = stages; frozen >= 0; --frozen) {
      auto model = graft::Model::load(argv[1], {.device = graft::Device::parse("auto")});
      model.replace_head(graft::heads::linear({.classes = std::ssize(train.classes())}));
      model.freeze_stages(static_cast<int>(frozen));

      graft::Trainer trainer(model, {.optimizer = graft::Adam{.learning_rate = learning_rate}});
      const auto history = trainer.fit(train, val, {.epochs = epochs});
      const auto& best = history.epochs[history.best];
      double seconds = 0;
      for (const auto& epoch : history.epochs) seconds += epoch.seconds;
      std::printf("%lld of %lld stages %22lld %13.2f %% %10.4f %9.1f\n", static_cast<long long>(frozen),
                  static_cast<long long>(stages), static_cast<long long>(model.inspect().trainable),
                  100 * best.val_accuracy.value(), best.val_loss.value(), seconds);
      std::fflush(stdout);
    }
  } catch (const graft::Error& error) {
    std::fprintf(stderr, "compare_layers: %s\n", error.what());
    return 1;
  }
}
